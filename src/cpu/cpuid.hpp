// SPDX-License-Identifier: Apache-2.0
// The processor that the guest is shown: the host's vendor, family and model, then features by allow-list.
//
// The list is docs/machine.md's; every bit shown has an implementation in both engines.
// Source: Intel SDM vol. 2A CPUID; AMD APM vol. 3 appendix E; Linux arch/x86/include/uapi/asm/kvm_para.h.

#pragma once

#include "cpu/paravirtual.hpp"

#include <cstdint>
#include <vector>

namespace undercroft {

struct Vcpu;

struct CpuidResult {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

class CpuidTable {
public:
    // From the host's processor; `tsc_khz` for leaf 0x15 and the hypervisor's timing leaf; `vcpu_count` for
    // topology; `paravirtual` as in cpu/paravirtual.hpp.
    CpuidTable(std::uint64_t tsc_khz, unsigned vcpu_count, std::uint32_t paravirtual = Paravirtual::All);
    // From another processor, for tests.
    using Host = CpuidResult (*)(std::uint32_t leaf, std::uint32_t subleaf);
    CpuidTable(Host host, std::uint64_t tsc_khz, unsigned vcpu_count,
               std::uint32_t paravirtual = Paravirtual::All);

    // With what depends on the vCPU filled in: APIC id, OSXSAVE, sizes by XCR0. Out-of-range leaves answer as
    // the vendor's do.
    CpuidResult query(const Vcpu& vcpu, std::uint32_t leaf, std::uint32_t subleaf) const noexcept;

    struct Leaf {
        std::uint32_t leaf = 0;
        std::uint32_t subleaf = 0;
        bool has_subleaves = false;
        CpuidResult result;
    };
    const std::vector<Leaf>& leaves() const { return leaves_; }
    bool is_amd() const { return is_amd_; }

private:
    std::vector<Leaf> leaves_;  // sorted by leaf, subleaf
    bool is_amd_ = false;
    std::uint32_t max_basic_ = 0;
    std::uint32_t max_extended_ = 0;
};

}  // namespace undercroft
