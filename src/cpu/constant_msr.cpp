// SPDX-License-Identifier: Apache-2.0
// Source: Intel SDM vol. 4; AMD PPR for family 19h; Linux arch/x86/kernel/cpu/{amd,intel,bugs,common}.c and
// arch/x86/pci/amd_bus.c, which touch the registers below on the vendor's processors, whatever CPUID shows.
#include "cpu/constant_msr.hpp"

#include "x86/registers.hpp"

namespace undercroft {
namespace {

using Writes = ConstantMsr::Writes;

constexpr std::uint32_t number(Msr msr) { return static_cast<std::uint32_t>(msr); }
constexpr std::uint64_t bit(unsigned n) { return 1ull << n; }

// None of the known flaws: RDCL, L1TF on entry, SSB, MDS, machine check on page size change, TAA, SBDR/SSDP,
// FBSDP, PSDP, BHI, PBRSB, GDS, RFDS, ITS.
constexpr std::uint64_t flawless = bit(0) | bit(3) | bit(4) | bit(5) | bit(6) | bit(8) | bit(13) | bit(14) |
                                   bit(15) | bit(20) | bit(24) | bit(26) | bit(27) | bit(62);

constexpr ConstantMsr of_both[] = {
    {number(Msr::IA32_ARCH_CAPABILITIES), Writes::Refused, flawless},
};

constexpr ConstantMsr of_amd[] = {
    {number(Msr::AMD_PATCH_LEVEL), Writes::Ignored, 0x01000065},
    {0xc0010000, Writes::Ignored, 0},  // PERF_CTL0..3, PERF_CTR0..3: no counters
    {0xc0010001, Writes::Ignored, 0},
    {0xc0010002, Writes::Ignored, 0},
    {0xc0010003, Writes::Ignored, 0},
    {0xc0010004, Writes::Ignored, 0},
    {0xc0010005, Writes::Ignored, 0},
    {0xc0010006, Writes::Ignored, 0},
    {0xc0010007, Writes::Ignored, 0},
    {number(Msr::AMD_SYSCFG), Writes::Ignored, 0},
    {number(Msr::AMD_HWCR), Writes::Ignored, bit(24)},  // TSC counts at the P0 frequency, or Linux complains
    {0xc001001a, Writes::Ignored, 0},                   // TOP_MEM
    {0xc001001d, Writes::Ignored, 0},                   // TOP_MEM2
    {number(Msr::AMD_NB_CFG), Writes::Ignored, bit(46)},  // extended configuration space is on already
    {0xc0010055, Writes::Ignored, 0},                     // interrupt pending message
    {0xc0010058, Writes::Ignored, 0},                     // MMIO configuration base
    {0xc0010111, Writes::Ignored, 0},                     // SMM base, TSEG address and mask
    {0xc0010112, Writes::Ignored, 0},
    {0xc0010113, Writes::Ignored, 0},
    {number(Msr::AMD_OSVW_ID_LENGTH), Writes::Ignored, 0},
    {number(Msr::AMD_OSVW_STATUS), Writes::Ignored, 0},
    {0xc001100c, Writes::Ignored, 0},  // node id
    {number(Msr::AMD_LS_CFG), Writes::Ignored, 0},
    {0xc0011021, Writes::Ignored, 0},                    // IC_CFG
    {0xc0011022, Writes::Ignored, 0},                    // DC_CFG
    {0xc0011023, Writes::Ignored, 0},                    // TW_CFG
    {number(Msr::AMD_DE_CFG), Writes::Ignored, bit(1)},  // LFENCE serialises
    {0xc001102a, Writes::Ignored, 0},                    // BU_CFG2
    {0xc001102c, Writes::Ignored, 0},                    // EX_CFG
};

constexpr ConstantMsr of_intel[] = {
    {number(Msr::IA32_PLATFORM_ID), Writes::Refused, 0},
    {0x33, Writes::Ignored, 0},                                  // TEST_CTRL: no split-lock detection
    {number(Msr::IA32_FEATURE_CONTROL), Writes::Refused, 1},     // locked, all off
    {number(Msr::IA32_BIOS_SIGN_ID), Writes::Ignored, bit(32)},  // microcode revision 1
    {0xce, Writes::Refused, 0},                                  // PLATFORM_INFO
    {0x140, Writes::Ignored, 0},                                 // MISC_FEATURES_ENABLES
};

template <unsigned Size>
const ConstantMsr* find(const ConstantMsr (&table)[Size], std::uint32_t index) noexcept {
    for (const ConstantMsr& entry : table) {
        if (entry.index == index) return &entry;
    }
    return nullptr;
}

}  // namespace

const ConstantMsr* find_constant_msr(std::uint32_t index, bool is_amd) noexcept {
    if (const ConstantMsr* entry = find(of_both, index)) return entry;
    return is_amd ? find(of_amd, index) : find(of_intel, index);
}

}  // namespace undercroft
