// SPDX-License-Identifier: Apache-2.0
// CPUID, INVLPG, WBINVD and INVD.
//
// Source: Intel SDM vol. 2A and 2B. Caches need no care: machine memory is coherent.
#include "cpu/checks.hpp"
#include "cpu/cpuid.hpp"
#include "cpu/instructions.hpp"

namespace undercroft {

bool cpuid(Vcpu& vcpu, Trap& trap) noexcept {
    static_cast<void>(trap);
    vcpu.mmu->serialise();
    auto leaf = static_cast<std::uint32_t>(vcpu.reg(Gpr::Rax));
    auto subleaf = static_cast<std::uint32_t>(vcpu.reg(Gpr::Rcx));
    CpuidResult result = vcpu.cpuid->query(vcpu, leaf, subleaf);
    vcpu.reg(Gpr::Rax) = result.eax;
    vcpu.reg(Gpr::Rbx) = result.ebx;
    vcpu.reg(Gpr::Rcx) = result.ecx;
    vcpu.reg(Gpr::Rdx) = result.edx;
    return true;
}

bool invlpg(Vcpu& vcpu, std::uint64_t address, Trap& trap) noexcept {
    if (!require_cpl0(vcpu, trap)) return false;
    if (vcpu.code_64bit() && !is_canonical(address)) return true;  // nothing is cached for it
    vcpu.mmu->flush_page(GuestVirtual{address});
    return true;
}

bool wbinvd(Vcpu& vcpu, Trap& trap) noexcept { return require_cpl0(vcpu, trap); }

}  // namespace undercroft
