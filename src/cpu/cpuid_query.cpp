// SPDX-License-Identifier: Apache-2.0
// Answering CPUID: the table's leaf, with what depends on the vCPU.
//
// Source: Intel SDM vol. 2A CPUID (a leaf above the highest answers as the highest basic leaf); AMD APM vol.
// 3 (zeros).
#include "cpu/cpuid.hpp"
#include "cpu/vcpu.hpp"

namespace undercroft {
namespace {

constexpr std::uint32_t osxsave = 1u << 27;

// The bytes that XSAVE writes for the components in `xcr0`, standard format.
constexpr std::uint32_t xsave_bytes(std::uint64_t xcr0) { return (xcr0 & XCR0::AVX) != 0 ? 832 : 576; }

const CpuidTable::Leaf* find(const std::vector<CpuidTable::Leaf>& leaves, std::uint32_t leaf,
                             std::uint32_t subleaf) noexcept {
    const CpuidTable::Leaf* low = leaves.data();
    std::size_t count = leaves.size();
    while (count > 0) {  // the first entry not before (leaf, subleaf)
        const CpuidTable::Leaf* middle = low + count / 2;
        bool before =
            middle->leaf != leaf ? middle->leaf < leaf : middle->has_subleaves && middle->subleaf < subleaf;
        if (before) low = middle + 1;
        count = before ? count - count / 2 - 1 : count / 2;
    }
    if (low == leaves.data() + leaves.size() || low->leaf != leaf) return nullptr;
    return !low->has_subleaves || low->subleaf == subleaf ? low : nullptr;
}

// EDX of leaf 0xB is the x2APIC id in every subleaf, ECX's low byte is the subleaf's number.
CpuidResult beyond_topology(std::uint32_t subleaf) { return {.ecx = subleaf & 0xff}; }

}  // namespace

CpuidResult CpuidTable::query(const Vcpu& vcpu, std::uint32_t leaf, std::uint32_t subleaf) const noexcept {
    const Leaf* entry = find(leaves_, leaf, subleaf);
    if (entry == nullptr && !is_amd_ && leaf > max_basic_ && (leaf & 0xc0000000) != 0x40000000 &&
        !(leaf >= 0x80000000 && leaf <= max_extended_)) {
        leaf = max_basic_;
        entry = find(leaves_, leaf, subleaf);
    }
    CpuidResult result = entry != nullptr ? entry->result : CpuidResult{};
    switch (leaf) {
        case 1:
            result.ebx |= (vcpu.apic_id & 0xff) << 24;
            if ((vcpu.paging.cr4 & CR4::OSXSAVE) != 0) result.ecx |= osxsave;
            break;
        case 0xb:
            if (entry == nullptr) result = beyond_topology(subleaf);
            result.edx = vcpu.apic_id;
            break;
        case 0xd:
            if (subleaf == 0) result.ebx = xsave_bytes(vcpu.xcr0);
            break;
        case 0x8000001e:
            if (entry == nullptr) break;
            result.eax = vcpu.apic_id;
            result.ebx |= vcpu.apic_id & 0xff;
            break;
        default: break;
    }
    return result;
}

}  // namespace undercroft
