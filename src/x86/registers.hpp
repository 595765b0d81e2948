// SPDX-License-Identifier: Apache-2.0
// Control registers, RFLAGS, EFER and model-specific registers, spelled as the manuals spell them.
//
// Source: Intel SDM vol. 3A section 2.5, vol. 4; AMD APM vol. 2 chapter 3. Only what our processor shows.

#pragma once

#include <cstdint>

namespace undercroft {

// General registers in encoding order.
enum class Gpr : std::uint8_t {
    Rax,
    Rcx,
    Rdx,
    Rbx,
    Rsp,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15
};

namespace RFLAGS {
inline constexpr std::uint64_t CF = 1u << 0;
inline constexpr std::uint64_t Fixed = 1u << 1;  // reads as one
inline constexpr std::uint64_t PF = 1u << 2;
inline constexpr std::uint64_t AF = 1u << 4;
inline constexpr std::uint64_t ZF = 1u << 6;
inline constexpr std::uint64_t SF = 1u << 7;
inline constexpr std::uint64_t TF = 1u << 8;
inline constexpr std::uint64_t IF = 1u << 9;
inline constexpr std::uint64_t DF = 1u << 10;
inline constexpr std::uint64_t OF = 1u << 11;
inline constexpr std::uint64_t IOPL = 3u << 12;
inline constexpr std::uint64_t NT = 1u << 14;
inline constexpr std::uint64_t RF = 1u << 16;
inline constexpr std::uint64_t VM = 1u << 17;
inline constexpr std::uint64_t AC = 1u << 18;
inline constexpr std::uint64_t VIF = 1u << 19;
inline constexpr std::uint64_t VIP = 1u << 20;
inline constexpr std::uint64_t ID = 1u << 21;
inline constexpr std::uint64_t Arithmetic = CF | PF | AF | ZF | SF | OF;
}  // namespace RFLAGS

namespace CR0 {
inline constexpr std::uint64_t PE = 1u << 0;
inline constexpr std::uint64_t MP = 1u << 1;
inline constexpr std::uint64_t EM = 1u << 2;
inline constexpr std::uint64_t TS = 1u << 3;
inline constexpr std::uint64_t ET = 1u << 4;
inline constexpr std::uint64_t NE = 1u << 5;
inline constexpr std::uint64_t WP = 1u << 16;
inline constexpr std::uint64_t AM = 1u << 18;
inline constexpr std::uint64_t NW = 1u << 29;
inline constexpr std::uint64_t CD = 1u << 30;
inline constexpr std::uint64_t PG = 1u << 31;
}  // namespace CR0

namespace CR4 {
inline constexpr std::uint64_t VME = 1u << 0;
inline constexpr std::uint64_t PVI = 1u << 1;
inline constexpr std::uint64_t TSD = 1u << 2;
inline constexpr std::uint64_t DE = 1u << 3;
inline constexpr std::uint64_t PSE = 1u << 4;
inline constexpr std::uint64_t PAE = 1u << 5;
inline constexpr std::uint64_t MCE = 1u << 6;
inline constexpr std::uint64_t PGE = 1u << 7;
inline constexpr std::uint64_t PCE = 1u << 8;
inline constexpr std::uint64_t OSFXSR = 1u << 9;
inline constexpr std::uint64_t OSXMMEXCPT = 1u << 10;
inline constexpr std::uint64_t UMIP = 1u << 11;
inline constexpr std::uint64_t LA57 = 1u << 12;
inline constexpr std::uint64_t FSGSBASE = 1u << 16;
inline constexpr std::uint64_t PCIDE = 1u << 17;
inline constexpr std::uint64_t OSXSAVE = 1u << 18;
inline constexpr std::uint64_t SMEP = 1u << 20;
inline constexpr std::uint64_t SMAP = 1u << 21;
}  // namespace CR4

namespace EFER {
inline constexpr std::uint64_t SCE = 1u << 0;
inline constexpr std::uint64_t LME = 1u << 8;
inline constexpr std::uint64_t LMA = 1u << 10;
inline constexpr std::uint64_t NXE = 1u << 11;
}  // namespace EFER

namespace XCR0 {
inline constexpr std::uint64_t X87 = 1u << 0;
inline constexpr std::uint64_t SSE = 1u << 1;
inline constexpr std::uint64_t AVX = 1u << 2;
inline constexpr std::uint64_t Supported = X87 | SSE | AVX;
}  // namespace XCR0

enum class Msr : std::uint32_t {
    IA32_TSC = 0x10,
    IA32_PLATFORM_ID = 0x17,
    IA32_APIC_BASE = 0x1b,
    IA32_FEATURE_CONTROL = 0x3a,
    IA32_TSC_ADJUST = 0x3b,
    IA32_SPEC_CTRL = 0x48,
    IA32_PRED_CMD = 0x49,
    IA32_BIOS_SIGN_ID = 0x8b,
    IA32_MTRRCAP = 0xfe,
    IA32_ARCH_CAPABILITIES = 0x10a,
    IA32_SYSENTER_CS = 0x174,
    IA32_SYSENTER_ESP = 0x175,
    IA32_SYSENTER_EIP = 0x176,
    IA32_MCG_CAP = 0x179,
    IA32_MCG_STATUS = 0x17a,
    IA32_MISC_ENABLE = 0x1a0,
    IA32_DEBUGCTL = 0x1d9,
    IA32_PAT = 0x277,
    IA32_MTRR_DEF_TYPE = 0x2ff,
    IA32_TSC_DEADLINE = 0x6e0,
    X2APIC_FIRST = 0x800,
    X2APIC_LAST = 0x8ff,
    IA32_EFER = 0xc0000080,
    IA32_STAR = 0xc0000081,
    IA32_LSTAR = 0xc0000082,
    IA32_CSTAR = 0xc0000083,
    IA32_FMASK = 0xc0000084,
    IA32_FS_BASE = 0xc0000100,
    IA32_GS_BASE = 0xc0000101,
    IA32_KERNEL_GS_BASE = 0xc0000102,
    IA32_TSC_AUX = 0xc0000103,
    AMD_SYSCFG = 0xc0010010,
    AMD_HWCR = 0xc0010015,
    AMD_NB_CFG = 0xc001001f,
    AMD_PATCH_LEVEL = 0x8b,
    AMD_OSVW_ID_LENGTH = 0xc0010140,
    AMD_OSVW_STATUS = 0xc0010141,
    AMD_VIRT_SPEC_CTRL = 0xc001011f,
    AMD_LS_CFG = 0xc0011020,
    AMD_DE_CFG = 0xc0011029,
    KVM_WALL_CLOCK_NEW = 0x4b564d00,
    KVM_SYSTEM_TIME_NEW = 0x4b564d01,
    KVM_STEAL_TIME = 0x4b564d03,
};

// A 64-bit address is canonical when bits 63..47 are equal (4-level paging).
constexpr bool is_canonical(std::uint64_t address) {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(address << 16) >> 16) == address;
}

}  // namespace undercroft
