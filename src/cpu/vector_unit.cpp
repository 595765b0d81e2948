// SPDX-License-Identifier: Apache-2.0
// Who may use x87, MMX, SSE and AVX; XGETBV and XSETBV.
//
// Source: Intel SDM vol. 3A section 2.5 and tables 9-3, 13-1; vol. 2C XSETBV, XGETBV; vol. 2A table 2-21.
#include "cpu/checks.hpp"
#include "cpu/cpuid.hpp"
#include "cpu/instructions.hpp"

namespace undercroft {
namespace {

bool os_uses_xsave(const Vcpu& vcpu) noexcept { return (vcpu.paging.cr4 & CR4::OSXSAVE) != 0; }

bool is_undefined(const Vcpu& vcpu, VectorUnit unit) noexcept {
    constexpr std::uint64_t avx_state = XCR0::SSE | XCR0::AVX;
    switch (unit) {
        case VectorUnit::Mmx: return (vcpu.paging.cr0 & CR0::EM) != 0;
        case VectorUnit::Sse: return (vcpu.paging.cr0 & CR0::EM) != 0 || (vcpu.paging.cr4 & CR4::OSFXSR) == 0;
        case VectorUnit::Avx:
            return !protected_mode(vcpu) || !os_uses_xsave(vcpu) || (vcpu.xcr0 & avx_state) != avx_state;
        case VectorUnit::X87:
        case VectorUnit::Wait: break;
    }
    return false;
}

bool is_unavailable(const Vcpu& vcpu, VectorUnit unit) noexcept {
    std::uint64_t cr0 = vcpu.paging.cr0;
    if (unit == VectorUnit::X87) return (cr0 & (CR0::EM | CR0::TS)) != 0;
    if (unit == VectorUnit::Wait) return (cr0 & CR0::MP) != 0 && (cr0 & CR0::TS) != 0;
    return (cr0 & CR0::TS) != 0;
}

}  // namespace

bool may_use_vector_unit(const Vcpu& vcpu, VectorUnit unit, Trap& trap) noexcept {
    if (is_undefined(vcpu, unit)) return raise(trap, Vector::UD);
    return is_unavailable(vcpu, unit) ? raise(trap, Vector::NM) : true;
}

bool xsetbv(Vcpu& vcpu, Trap& trap) noexcept {
    if (!os_uses_xsave(vcpu)) return raise(trap, Vector::UD);
    if (!require_cpl0(vcpu, trap)) return false;
    auto index = static_cast<std::uint32_t>(vcpu.reg(Gpr::Rcx));
    std::uint64_t value = vcpu.reg(Gpr::Rdx) << 32 | (vcpu.reg(Gpr::Rax) & 0xffffffff);
    std::uint64_t shown = vcpu.cpuid->query(vcpu, 0xd, 0).eax;
    bool good = index == 0 && (value & XCR0::X87) != 0 && (value & ~shown) == 0 &&
                !((value & XCR0::AVX) != 0 && (value & XCR0::SSE) == 0);
    if (!good) return raise(trap, Vector::GP, 0);
    vcpu.xcr0 = value;
    return true;
}

// XGETBV with ECX = 1 is not shown by CPUID 0xD.1: #GP(0).
bool xgetbv(Vcpu& vcpu, Trap& trap) noexcept {
    if (!os_uses_xsave(vcpu)) return raise(trap, Vector::UD);
    if (static_cast<std::uint32_t>(vcpu.reg(Gpr::Rcx)) != 0) return raise(trap, Vector::GP, 0);
    vcpu.reg(Gpr::Rax) = vcpu.xcr0 & 0xffffffff;
    vcpu.reg(Gpr::Rdx) = vcpu.xcr0 >> 32;
    return true;
}

}  // namespace undercroft
