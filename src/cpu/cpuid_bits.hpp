// SPDX-License-Identifier: Apache-2.0
// CPUID's feature bits that we show: the allow-list. Private to cpu/; docs/machine.md has it in words.
//
// `native`: executed by the host's processor, shown where it has them. `ours`: implemented by the monitor.
// Source: Intel SDM vol. 2A tables 3-10, 3-11; AMD APM vol. 3 appendix E.

#pragma once

#include <cstdint>

namespace undercroft {

namespace Cpuid1Ecx {
inline constexpr std::uint32_t SSE3 = 1u << 0;
inline constexpr std::uint32_t PCLMULQDQ = 1u << 1;
inline constexpr std::uint32_t SSSE3 = 1u << 9;
inline constexpr std::uint32_t FMA = 1u << 12;
inline constexpr std::uint32_t CX16 = 1u << 13;
inline constexpr std::uint32_t PCID = 1u << 17;
inline constexpr std::uint32_t SSE4_1 = 1u << 19;
inline constexpr std::uint32_t SSE4_2 = 1u << 20;
inline constexpr std::uint32_t X2APIC = 1u << 21;
inline constexpr std::uint32_t MOVBE = 1u << 22;
inline constexpr std::uint32_t POPCNT = 1u << 23;
inline constexpr std::uint32_t TSC_DEADLINE = 1u << 24;
inline constexpr std::uint32_t AES = 1u << 25;
inline constexpr std::uint32_t XSAVE = 1u << 26;
inline constexpr std::uint32_t AVX = 1u << 28;
inline constexpr std::uint32_t F16C = 1u << 29;
inline constexpr std::uint32_t RDRAND = 1u << 30;
inline constexpr std::uint32_t HYPERVISOR = 1u << 31;
inline constexpr std::uint32_t native = SSE3 | PCLMULQDQ | SSSE3 | FMA | CX16 | SSE4_1 | SSE4_2 | MOVBE |
                                        POPCNT | AES | XSAVE | AVX | F16C | RDRAND;
inline constexpr std::uint32_t ours = PCID | X2APIC | TSC_DEADLINE | HYPERVISOR;
}  // namespace Cpuid1Ecx

namespace Cpuid1Edx {
inline constexpr std::uint32_t FPU = 1u << 0;
inline constexpr std::uint32_t DE = 1u << 2;
inline constexpr std::uint32_t PSE = 1u << 3;
inline constexpr std::uint32_t TSC = 1u << 4;
inline constexpr std::uint32_t MSR = 1u << 5;
inline constexpr std::uint32_t PAE = 1u << 6;
inline constexpr std::uint32_t CX8 = 1u << 8;
inline constexpr std::uint32_t APIC = 1u << 9;
inline constexpr std::uint32_t SEP = 1u << 11;
inline constexpr std::uint32_t PGE = 1u << 13;
inline constexpr std::uint32_t CMOV = 1u << 15;
inline constexpr std::uint32_t PAT = 1u << 16;
inline constexpr std::uint32_t PSE36 = 1u << 17;
inline constexpr std::uint32_t CLFLUSH = 1u << 19;
inline constexpr std::uint32_t MMX = 1u << 23;
inline constexpr std::uint32_t FXSR = 1u << 24;
inline constexpr std::uint32_t SSE = 1u << 25;
inline constexpr std::uint32_t SSE2 = 1u << 26;
inline constexpr std::uint32_t HTT = 1u << 28;
inline constexpr std::uint32_t native = FPU | CX8 | CMOV | CLFLUSH | MMX | FXSR | SSE | SSE2;
inline constexpr std::uint32_t ours = DE | PSE | TSC | MSR | PAE | APIC | SEP | PGE | PAT | PSE36;
}  // namespace Cpuid1Edx

namespace Cpuid7Ebx {
inline constexpr std::uint32_t FSGSBASE = 1u << 0;
inline constexpr std::uint32_t BMI1 = 1u << 3;
inline constexpr std::uint32_t AVX2 = 1u << 5;
inline constexpr std::uint32_t FDP_EXCPTN_ONLY = 1u << 6;  // how x87 keeps its data pointer: the host's way
inline constexpr std::uint32_t SMEP = 1u << 7;
inline constexpr std::uint32_t BMI2 = 1u << 8;
inline constexpr std::uint32_t ERMS = 1u << 9;
inline constexpr std::uint32_t INVPCID = 1u << 10;
inline constexpr std::uint32_t ZERO_FCS_FDS = 1u << 13;  // the host's way, too
inline constexpr std::uint32_t RDSEED = 1u << 18;
inline constexpr std::uint32_t ADX = 1u << 19;
inline constexpr std::uint32_t SMAP = 1u << 20;
inline constexpr std::uint32_t CLFLUSHOPT = 1u << 23;
inline constexpr std::uint32_t CLWB = 1u << 24;
inline constexpr std::uint32_t SHA = 1u << 29;
inline constexpr std::uint32_t native =
    BMI1 | AVX2 | FDP_EXCPTN_ONLY | BMI2 | ERMS | ZERO_FCS_FDS | RDSEED | ADX | CLFLUSHOPT | CLWB | SHA;
inline constexpr std::uint32_t ours = FSGSBASE | SMEP | INVPCID | SMAP;
}  // namespace Cpuid7Ebx

namespace Cpuid7Ecx {
inline constexpr std::uint32_t UMIP = 1u << 2;
inline constexpr std::uint32_t VAES = 1u << 9;
inline constexpr std::uint32_t VPCLMULQDQ = 1u << 10;
inline constexpr std::uint32_t RDPID = 1u << 22;
inline constexpr std::uint32_t native = VAES | VPCLMULQDQ;
inline constexpr std::uint32_t ours = UMIP | RDPID;
}  // namespace Cpuid7Ecx

namespace Cpuid7Edx {
inline constexpr std::uint32_t FSRM = 1u << 4;
inline constexpr std::uint32_t ARCH_CAPABILITIES = 1u << 29;
inline constexpr std::uint32_t native = FSRM;
inline constexpr std::uint32_t ours = ARCH_CAPABILITIES;
}  // namespace Cpuid7Edx

namespace Cpuid81Ecx {
inline constexpr std::uint32_t LAHF_LM = 1u << 0;
inline constexpr std::uint32_t CMP_LEGACY = 1u << 1;
inline constexpr std::uint32_t ABM = 1u << 5;
inline constexpr std::uint32_t PREFETCHW = 1u << 8;
inline constexpr std::uint32_t TOPOEXT = 1u << 22;
inline constexpr std::uint32_t native = LAHF_LM | ABM | PREFETCHW;
inline constexpr std::uint32_t ours = 0;
}  // namespace Cpuid81Ecx

namespace Cpuid81Edx {
inline constexpr std::uint32_t SYSCALL = 1u << 11;
inline constexpr std::uint32_t NX = 1u << 20;
inline constexpr std::uint32_t MMXEXT = 1u << 22;  // AMD only
inline constexpr std::uint32_t PAGE1GB = 1u << 26;
inline constexpr std::uint32_t RDTSCP = 1u << 27;
inline constexpr std::uint32_t LM = 1u << 29;
inline constexpr std::uint32_t native = MMXEXT;
inline constexpr std::uint32_t ours = SYSCALL | NX | PAGE1GB | RDTSCP | LM;
}  // namespace Cpuid81Edx

}  // namespace undercroft
