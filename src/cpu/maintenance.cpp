// SPDX-License-Identifier: Apache-2.0
// CPUID, INVLPG, INVPCID, WBINVD and INVD.
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

bool invpcid(Vcpu& vcpu, std::uint64_t type, const InvpcidDescriptor& descriptor, Trap& trap) noexcept {
    if (!require_cpl0(vcpu, trap)) return false;
    constexpr std::uint64_t one_page = 0, one_space = 1, everything = 2, all_but_global = 3;
    constexpr std::uint64_t greatest_pcid = 0xfff;
    bool names_space = type == one_page || type == one_space;
    bool tagged = (vcpu.paging.cr4 & CR4::PCIDE) != 0;
    if (type > all_but_global || descriptor.pcid > greatest_pcid ||
        (names_space && !tagged && descriptor.pcid != 0) ||
        (type == one_page && !is_canonical(descriptor.address)))
        return raise(trap, Vector::GP, 0);
    auto pcid = static_cast<unsigned>(descriptor.pcid);
    switch (type) {
        case one_page: vcpu.mmu->flush_page_of(pcid, GuestVirtual{descriptor.address}); break;
        case one_space: vcpu.mmu->flush_address_space(pcid); break;
        case everything: vcpu.mmu->flush_all(); break;
        default: vcpu.mmu->flush_non_global(); break;
    }
    return true;
}

bool wbinvd(Vcpu& vcpu, Trap& trap) noexcept { return require_cpl0(vcpu, trap); }

}  // namespace undercroft
