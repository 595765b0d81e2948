// SPDX-License-Identifier: Apache-2.0
// MOV to and from the debug registers.
//
// Source: Intel SDM vol. 2B MOV (debug registers); vol. 3B section 17.2.
#include "cpu/checks.hpp"
#include "cpu/instructions.hpp"

namespace undercroft {
namespace {

constexpr std::uint64_t dr7_general_detect = 1u << 13;
constexpr std::uint64_t dr6_general_detect = 1u << 13;
constexpr std::uint64_t dr6_writable = 0xe00f;  // B0..B3, BD, BS, BT
constexpr std::uint64_t dr6_ones = 0xffff0ff0;
constexpr std::uint64_t dr7_writable = 0xffff23ff;
constexpr std::uint64_t dr7_ones = 0x400;

// On success `number` is 0..3, 6 or 7.
bool may_access(const Vcpu& vcpu, unsigned& number, Trap& trap) noexcept {
    if (number > 7) return raise(trap, Vector::UD);
    if (number == 4 || number == 5) {
        if ((vcpu.paging.cr4 & CR4::DE) != 0) return raise(trap, Vector::UD);
        number += 2;
    }
    if (!require_cpl0(vcpu, trap)) return false;
    if ((vcpu.debug.dr7 & dr7_general_detect) != 0) {
        trap = {.vector = Vector::DB, .kind = TrapKind::Fault, .address = dr6_general_detect};
        return false;
    }
    return true;
}

}  // namespace

bool read_debug(Vcpu& vcpu, unsigned number, std::uint64_t& value, Trap& trap) noexcept {
    if (!may_access(vcpu, number, trap)) return false;
    if (number == 6) {
        value = vcpu.debug.dr6;
    } else if (number == 7) {
        value = vcpu.debug.dr7;
    } else {
        value = vcpu.debug.address[number];
    }
    return true;
}

bool write_debug(Vcpu& vcpu, unsigned number, std::uint64_t value, Trap& trap) noexcept {
    if (!may_access(vcpu, number, trap)) return false;
    if (number < 4) {
        vcpu.debug.address[number] = value;
        return true;
    }
    if (value >> 32 != 0) return raise(trap, Vector::GP, 0);
    if (number == 6) {
        vcpu.debug.dr6 = (value & dr6_writable) | dr6_ones;
    } else {
        vcpu.debug.dr7 = (value & dr7_writable) | dr7_ones;
    }
    return true;
}

}  // namespace undercroft
