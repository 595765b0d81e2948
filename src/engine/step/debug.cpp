// SPDX-License-Identifier: Apache-2.0
#include "engine/step/debug.hpp"

namespace undercroft {
namespace {

enum class Condition : std::uint8_t { Execute = 0, Write = 1, InputOutput = 2, ReadWrite = 3 };

constexpr bool wants(Condition condition, Access access) {
    switch (condition) {
        case Condition::Execute: return access == Access::Execute;
        case Condition::Write: return access == Access::Write;
        case Condition::ReadWrite: return access != Access::Execute;
        case Condition::InputOutput: return false;
    }
    return false;
}

bool is_enabled(std::uint64_t dr7, unsigned i) { return (dr7 >> (2 * i) & 3) != 0; }
Condition condition_of(std::uint64_t dr7, unsigned i) {
    return static_cast<Condition>(dr7 >> (16 + 4 * i) & 3);
}

// Does breakpoint `i`, of the length that DR7 gives it, meet [where, where + size)?
bool meets(const DebugRegisters& debug, unsigned i, std::uint64_t where, unsigned size) {
    constexpr std::uint64_t lengths[4] = {1, 2, 8, 4};
    std::uint64_t length =
        condition_of(debug.dr7, i) == Condition::Execute ? 1 : lengths[debug.dr7 >> (18 + 4 * i) & 3];
    std::uint64_t start = debug.address[i] & ~(length - 1);
    return where - start < length || start - where < size;
}

}  // namespace

std::uint8_t breakpoints_met(const Vcpu& vcpu, std::uint64_t linear, unsigned size, Access access) {
    unsigned met = 0;
    std::uint64_t dr7 = vcpu.debug.dr7;
    for (unsigned i = 0; i < 4; i++) {
        bool wanted = is_enabled(dr7, i) && wants(condition_of(dr7, i), access);
        if (wanted && meets(vcpu.debug, i, linear, size)) met |= 1u << i;
    }
    return static_cast<std::uint8_t>(met);
}

std::uint8_t port_breakpoints_met(const Vcpu& vcpu, std::uint16_t port, unsigned size) {
    unsigned met = 0;
    std::uint64_t dr7 = vcpu.debug.dr7;
    for (unsigned i = 0; i < 4 && (vcpu.paging.cr4 & CR4::DE) != 0; i++) {
        bool wanted = is_enabled(dr7, i) && condition_of(dr7, i) == Condition::InputOutput;
        if (wanted && meets(vcpu.debug, i, port, size)) met |= 1u << i;
    }
    return static_cast<std::uint8_t>(met);
}

}  // namespace undercroft
