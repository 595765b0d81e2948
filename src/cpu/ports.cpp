// SPDX-License-Identifier: Apache-2.0
// Who may use an I/O port: IOPL, then the permission bitmap of the TSS.
//
// Source: Intel SDM vol. 1 section 19.5; vol. 2A IN.
#include "cpu/checks.hpp"
#include "cpu/instructions.hpp"
#include "cpu/system_memory.hpp"

namespace undercroft {

bool may_use_port(Vcpu& vcpu, std::uint16_t port, unsigned size, Trap& trap) noexcept {
    if (!protected_mode(vcpu) || vcpu.cpl <= vcpu.iopl()) return true;
    constexpr unsigned bitmap_pointer = 0x66;  // the same offset in 32-bit and 64-bit TSSs
    std::uint16_t bitmap = 0;
    std::uint16_t bits = 0;
    if (!vcpu.tr.present() || bitmap_pointer + 1 > vcpu.tr.limit) return raise(trap, Vector::GP, 0);
    if (!read_system(vcpu, vcpu.tr.base + bitmap_pointer, bitmap, trap)) return false;
    std::uint32_t offset = bitmap + port / 8u;  // two bytes are read, because an access may straddle
    if (offset + 1 > vcpu.tr.limit) return raise(trap, Vector::GP, 0);
    if (!read_system(vcpu, vcpu.tr.base + offset, bits, trap)) return false;
    unsigned wanted = ((1u << size) - 1) << (port & 7);
    return (bits & wanted) == 0 ? true : raise(trap, Vector::GP, 0);
}

}  // namespace undercroft
