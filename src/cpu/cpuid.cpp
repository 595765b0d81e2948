// SPDX-License-Identifier: Apache-2.0
// Building the table that CPUID answers from.
//
// Two kinds of features: those that guest code executes natively are shown only where the host has them;
// those that the monitor implements itself (paging, privileged instructions, the local APIC) are shown
// always. Source: Intel SDM vol. 2A CPUID; AMD APM vol. 3 appendix E; Linux
// Documentation/virt/kvm/x86/cpuid.rst.
#include "cpu/cpuid.hpp"

#include "cpu/cpuid_bits.hpp"
#include "x86/paging.hpp"
#include "x86/software_tlb.hpp"

#include <cpuid.h>

#include <algorithm>
#include <bit>

namespace undercroft {
namespace {

CpuidResult ask_host(std::uint32_t leaf, std::uint32_t subleaf) {
    CpuidResult result;
    __cpuid_count(leaf, subleaf, result.eax, result.ebx, result.ecx, result.edx);
    return result;
}

// Collects leaves; each function below fills in one group.
class Builder {
public:
    Builder(CpuidTable::Host host, std::uint64_t tsc_khz, unsigned vcpu_count, std::uint32_t paravirtual)
        : host_{host}, tsc_khz_{tsc_khz}, vcpu_count_{vcpu_count}, paravirtual_{paravirtual} {
        CpuidResult vendor = host_(0, 0);
        is_amd_ = (vendor.ebx == 0x68747541 && vendor.edx == 0x69746e65 &&
                   vendor.ecx == 0x444d4163) ||  // AuthenticAMD
                  (vendor.ebx == 0x6f677948 && vendor.edx == 0x6e65476e &&
                   vendor.ecx == 0x656e6975);  // HygonGenuine
        host_max_basic_ = vendor.eax;
        host_max_extended_ = host_(0x80000000, 0).eax;
        features_1_ = host_(1, 0);
        features_7_ = host_max_basic_ >= 7 ? host_(7, 0) : CpuidResult{};
        features_81_ = host_(0x80000001, 0);
        // The size for the host's own XCR0 tells whether the host's kernel has switched AVX on.
        bool has_avx =
            (features_1_.ecx & Cpuid1Ecx::AVX) != 0 && host_max_basic_ >= 0xd && host_(0xd, 0).ebx >= 832;
        xcr0_ = has_avx ? 7 : 3;
    }

    void basic_leaves();
    void cache_leaves();
    void topology_leaves();
    void xsave_leaves();
    void hypervisor_leaves();
    void extended_leaves();
    std::vector<CpuidTable::Leaf> take();

    bool is_amd() const { return is_amd_; }
    std::uint32_t max_basic() const { return is_amd_ ? 0xd : 0x16; }
    std::uint32_t max_extended() const {
        return is_amd_ ? std::min(host_max_extended_, 0x80000021u) : 0x80000008;
    }

private:
    bool has_avx() const { return (xcr0_ & 4) != 0; }
    std::uint32_t id_bits() const { return static_cast<std::uint32_t>(std::bit_width(vcpu_count_ - 1)); }
    CpuidResult host_extended(std::uint32_t leaf, std::uint32_t subleaf = 0) const {
        return leaf <= host_max_extended_ ? host_(leaf, subleaf) : CpuidResult{};
    }
    void add(std::uint32_t leaf, const CpuidResult& result) { leaves_.push_back({leaf, 0, false, result}); }
    void add(std::uint32_t leaf, std::uint32_t subleaf, const CpuidResult& result) {
        leaves_.push_back({leaf, subleaf, true, result});
    }
    void cache_parameters(std::uint32_t leaf);

    CpuidTable::Host host_;
    std::uint64_t tsc_khz_;
    unsigned vcpu_count_;
    std::uint32_t paravirtual_;
    bool is_amd_ = false;
    std::uint32_t host_max_basic_ = 0;
    std::uint32_t host_max_extended_ = 0;
    CpuidResult features_1_;
    CpuidResult features_7_;
    CpuidResult features_81_;
    std::uint32_t xcr0_ = 3;
    std::vector<CpuidTable::Leaf> leaves_;
};

void Builder::basic_leaves() {
    CpuidResult vendor = host_(0, 0);
    vendor.eax = max_basic();
    add(0, vendor);

    CpuidResult one = features_1_;
    one.ebx = (one.ebx & 0xff00) | std::min(vcpu_count_, 255u) << 16;  // CLFLUSH line, logical processors
    one.ecx = (one.ecx & Cpuid1Ecx::native) | Cpuid1Ecx::ours;
    one.edx = (one.edx & Cpuid1Edx::native) | Cpuid1Edx::ours;
    if (!has_avx()) one.ecx &= ~(Cpuid1Ecx::AVX | Cpuid1Ecx::FMA | Cpuid1Ecx::F16C);
    if (vcpu_count_ > 1) one.edx |= Cpuid1Edx::HTT;
    add(1, one);
    if (!is_amd_) add(2, host_(2, 0));

    add(6, {.eax = 1u << 2});  // ARAT: the APIC timer always runs
    CpuidResult seven;
    seven.ebx = (features_7_.ebx & Cpuid7Ebx::native) | Cpuid7Ebx::ours;
    seven.ecx = (features_7_.ecx & Cpuid7Ecx::native) | Cpuid7Ecx::ours;
    seven.edx = (features_7_.edx & Cpuid7Edx::native) | Cpuid7Edx::ours;
    if (!has_avx()) {
        seven.ebx &= ~Cpuid7Ebx::AVX2;
        seven.ecx &= ~(Cpuid7Ecx::VAES | Cpuid7Ecx::VPCLMULQDQ);
    }
    add(7, 0, seven);

    std::uint64_t tsc_hz = tsc_khz_ * 1000;
    if (!is_amd_ && tsc_hz <= 0xffffffff) {  // a crystal of the same frequency
        add(0x15, {.eax = 1, .ebx = 1, .ecx = static_cast<std::uint32_t>(tsc_hz)});
    }
}

// The host's caches: first and second level private to a core, the third shared by all.
void Builder::cache_parameters(std::uint32_t leaf) {
    for (std::uint32_t subleaf = 0; subleaf < 8; ++subleaf) {
        CpuidResult cache = host_(leaf, subleaf);
        if ((cache.eax & 0x1f) == 0) break;
        std::uint32_t level = cache.eax >> 5 & 7;
        std::uint32_t sharing = level >= 3 ? vcpu_count_ - 1 : 0;
        cache.eax = (cache.eax & 0x3ff) | sharing << 14;
        if (!is_amd_) cache.eax |= std::min(vcpu_count_ - 1, 63u) << 26;
        add(leaf, subleaf, cache);
    }
}

void Builder::cache_leaves() {
    if (!is_amd_ && host_max_basic_ >= 4) cache_parameters(4);
    if (is_amd_ && max_extended() >= 0x8000001d) cache_parameters(0x8000001d);
}

void Builder::topology_leaves() {
    constexpr std::uint32_t thread_level = 1;
    constexpr std::uint32_t core_level = 2;
    add(0xb, 0, {.eax = 0, .ebx = 1, .ecx = thread_level << 8});
    add(0xb, 1, {.eax = id_bits(), .ebx = vcpu_count_, .ecx = core_level << 8 | 1});
}

void Builder::xsave_leaves() {
    std::uint32_t size = has_avx() ? 832 : 576;
    std::uint32_t xsaveopt = host_max_basic_ >= 0xd ? host_(0xd, 1).eax & 1 : 0;
    add(0xd, 0, {.eax = xcr0_, .ebx = 576, .ecx = size});
    add(0xd, 1, {.eax = xsaveopt});
    if (has_avx()) add(0xd, 2, {.eax = 256, .ebx = 576});
}

void Builder::hypervisor_leaves() {
    constexpr std::uint32_t nop_io_delay = 1u << 1;
    constexpr std::uint32_t clocksource2 = 1u << 3;
    constexpr std::uint32_t clocksource_stable = 1u << 24;
    add(0x40000000, {.eax = 0x40000010, .ebx = 0x4b4d564b, .ecx = 0x564b4d56, .edx = 0x4d});  // KVMKVMKVM
    add(0x40000001, {.eax = nop_io_delay | clocksource2 | clocksource_stable | paravirtual_});
    add(0x40000010, {.eax = static_cast<std::uint32_t>(tsc_khz_)});
    add(software_tlb::signature_leaf, {.eax = software_tlb::features_leaf,
                                       .ebx = 0x65646e55,  // UndercroftVM
                                       .ecx = 0x6f726372,
                                       .edx = 0x4d567466});
    add(software_tlb::features_leaf, {.eax = software_tlb::has_software_tlb});
}

void Builder::extended_leaves() {
    CpuidResult first = host_(0x80000000, 0);
    first.eax = max_extended();
    add(0x80000000, first);

    CpuidResult one = features_81_;
    one.ecx = (one.ecx & Cpuid81Ecx::native) | Cpuid81Ecx::ours;
    one.edx = (one.edx & Cpuid81Edx::native) | Cpuid81Edx::ours;
    if (is_amd_) {  // the low word repeats leaf 1
        constexpr std::uint32_t repeated = 0x0183f3ff;
        one.edx |= ((features_1_.edx & Cpuid1Edx::native) | Cpuid1Edx::ours) & repeated;
        if (vcpu_count_ > 1) one.ecx |= Cpuid81Ecx::CMP_LEGACY;
        if (max_extended() >= 0x8000001e) one.ecx |= Cpuid81Ecx::TOPOEXT;
    } else {
        one.eax = one.ebx = 0;
        one.edx &= ~Cpuid81Edx::MMXEXT;
    }
    add(0x80000001, one);

    for (std::uint32_t leaf = 0x80000002; leaf <= 0x80000006; ++leaf) add(leaf, host_extended(leaf));
    add(0x80000007, {.edx = host_extended(0x80000007).edx & (1u << 8)});  // invariant TSC

    CpuidResult sizes{.eax = physical_address_bits | 48u << 8};
    if (is_amd_) {
        constexpr std::uint32_t xsaveerptr = 1u << 2;
        sizes.ebx = host_extended(0x80000008).ebx & xsaveerptr;
        sizes.ecx = (vcpu_count_ - 1) | id_bits() << 12;
    }
    add(0x80000008, sizes);
    if (!is_amd_) return;
    add(0x80000019, host_extended(0x80000019));
    add(0x8000001a, {.eax = host_extended(0x8000001a).eax & 7});
    if (max_extended() >= 0x8000001e) add(0x8000001e, CpuidResult{});
    // LFENCE always serialises; a null selector clears the base.
    if (max_extended() >= 0x80000021)
        add(0x80000021, {.eax = host_(0x80000021, 0).eax & (1u << 2 | 1u << 6)});
}

std::vector<CpuidTable::Leaf> Builder::take() {
    std::sort(leaves_.begin(), leaves_.end(), [](const CpuidTable::Leaf& a, const CpuidTable::Leaf& b) {
        return a.leaf != b.leaf ? a.leaf < b.leaf : a.subleaf < b.subleaf;
    });
    return std::move(leaves_);
}

}  // namespace

CpuidTable::CpuidTable(std::uint64_t tsc_khz, unsigned vcpu_count, std::uint32_t paravirtual)
    : CpuidTable{ask_host, tsc_khz, vcpu_count, paravirtual} {}

CpuidTable::CpuidTable(Host host, std::uint64_t tsc_khz, unsigned vcpu_count, std::uint32_t paravirtual) {
    Builder builder{host, tsc_khz, std::max(vcpu_count, 1u), paravirtual};
    builder.basic_leaves();
    builder.cache_leaves();
    builder.topology_leaves();
    builder.xsave_leaves();
    builder.hypervisor_leaves();
    builder.extended_leaves();
    is_amd_ = builder.is_amd();
    max_basic_ = builder.max_basic();
    max_extended_ = builder.max_extended();
    leaves_ = builder.take();
}

}  // namespace undercroft
