// SPDX-License-Identifier: Apache-2.0
#include "engine/step/isa.hpp"

#include "cpu/cpuid.hpp"
#include "cpu/vcpu.hpp"

#include <Zydis/Zydis.h>

namespace undercroft {
namespace {

enum class Word : std::uint8_t { Eax, Ebx, Ecx, Edx };

struct Feature {
    ZydisISASet set;
    std::uint32_t leaf;
    std::uint32_t subleaf;
    Word word;
    unsigned bit;
};

// Every 64-bit processor has these.
constexpr ZydisISASet always[] = {
    ZYDIS_ISA_SET_I86,           ZYDIS_ISA_SET_I186,        ZYDIS_ISA_SET_I286REAL,
    ZYDIS_ISA_SET_I286PROTECTED, ZYDIS_ISA_SET_I386,        ZYDIS_ISA_SET_I486,
    ZYDIS_ISA_SET_I486REAL,      ZYDIS_ISA_SET_PENTIUMREAL, ZYDIS_ISA_SET_PENTIUMMMX,
    ZYDIS_ISA_SET_PPRO,          ZYDIS_ISA_SET_X87,         ZYDIS_ISA_SET_CMOV,
    ZYDIS_ISA_SET_FCMOV,         ZYDIS_ISA_SET_FAT_NOP,     ZYDIS_ISA_SET_LONGMODE,
    ZYDIS_ISA_SET_PAUSE,         ZYDIS_ISA_SET_FXSAVE,      ZYDIS_ISA_SET_FXSAVE64,
    ZYDIS_ISA_SET_PREFETCH_NOP,  ZYDIS_ISA_SET_SSE,         ZYDIS_ISA_SET_SSE2,
    ZYDIS_ISA_SET_SSE2MMX,       ZYDIS_ISA_SET_SSEMXCSR,    ZYDIS_ISA_SET_SSE_PREFETCH,
    ZYDIS_ISA_SET_PREFETCHWT1,   ZYDIS_ISA_SET_AMD,         ZYDIS_ISA_SET_RDPMC,
};

// CPUID bits. Source: Intel SDM vol. 2A CPUID; AMD APM vol. 3 appendix D.
constexpr Feature features[] = {
    {ZYDIS_ISA_SET_SSE3, 1, 0, Word::Ecx, 0},           {ZYDIS_ISA_SET_SSE3X87, 1, 0, Word::Ecx, 0},
    {ZYDIS_ISA_SET_PCLMULQDQ, 1, 0, Word::Ecx, 1},      {ZYDIS_ISA_SET_SSSE3, 1, 0, Word::Ecx, 9},
    {ZYDIS_ISA_SET_SSSE3MMX, 1, 0, Word::Ecx, 9},       {ZYDIS_ISA_SET_FMA, 1, 0, Word::Ecx, 12},
    {ZYDIS_ISA_SET_CMPXCHG16B, 1, 0, Word::Ecx, 13},    {ZYDIS_ISA_SET_SSE4, 1, 0, Word::Ecx, 19},
    {ZYDIS_ISA_SET_SSE42, 1, 0, Word::Ecx, 20},         {ZYDIS_ISA_SET_MOVBE, 1, 0, Word::Ecx, 22},
    {ZYDIS_ISA_SET_POPCNT, 1, 0, Word::Ecx, 23},        {ZYDIS_ISA_SET_AES, 1, 0, Word::Ecx, 25},
    {ZYDIS_ISA_SET_XSAVE, 1, 0, Word::Ecx, 26},         {ZYDIS_ISA_SET_AVX, 1, 0, Word::Ecx, 28},
    {ZYDIS_ISA_SET_AVXAES, 1, 0, Word::Ecx, 28},        {ZYDIS_ISA_SET_F16C, 1, 0, Word::Ecx, 29},
    {ZYDIS_ISA_SET_RDRAND, 1, 0, Word::Ecx, 30},        {ZYDIS_ISA_SET_CLFSH, 1, 0, Word::Edx, 19},
    {ZYDIS_ISA_SET_RDWRFSGS, 7, 0, Word::Ebx, 0},       {ZYDIS_ISA_SET_BMI1, 7, 0, Word::Ebx, 3},
    {ZYDIS_ISA_SET_AVX2, 7, 0, Word::Ebx, 5},           {ZYDIS_ISA_SET_AVX2GATHER, 7, 0, Word::Ebx, 5},
    {ZYDIS_ISA_SET_BMI2, 7, 0, Word::Ebx, 8},           {ZYDIS_ISA_SET_INVPCID, 7, 0, Word::Ebx, 10},
    {ZYDIS_ISA_SET_RDSEED, 7, 0, Word::Ebx, 18},        {ZYDIS_ISA_SET_ADOX_ADCX, 7, 0, Word::Ebx, 19},
    {ZYDIS_ISA_SET_SMAP, 7, 0, Word::Ebx, 20},          {ZYDIS_ISA_SET_CLFLUSHOPT, 7, 0, Word::Ebx, 23},
    {ZYDIS_ISA_SET_CLWB, 7, 0, Word::Ebx, 24},          {ZYDIS_ISA_SET_SHA, 7, 0, Word::Ebx, 29},
    {ZYDIS_ISA_SET_GFNI, 7, 0, Word::Ecx, 8},           {ZYDIS_ISA_SET_AVX_GFNI, 7, 0, Word::Ecx, 8},
    {ZYDIS_ISA_SET_VAES, 7, 0, Word::Ecx, 9},           {ZYDIS_ISA_SET_VPCLMULQDQ, 7, 0, Word::Ecx, 10},
    {ZYDIS_ISA_SET_RDPID, 7, 0, Word::Ecx, 22},         {ZYDIS_ISA_SET_XSAVEOPT, 0xd, 1, Word::Eax, 0},
    {ZYDIS_ISA_SET_LAHF, 0x80000001, 0, Word::Ecx, 0},  {ZYDIS_ISA_SET_LZCNT, 0x80000001, 0, Word::Ecx, 5},
    {ZYDIS_ISA_SET_SSE4A, 0x80000001, 0, Word::Ecx, 6}, {ZYDIS_ISA_SET_RDTSCP, 0x80000001, 0, Word::Edx, 27},
};

std::uint32_t word_of(const CpuidResult& result, Word word) {
    switch (word) {
        case Word::Eax: return result.eax;
        case Word::Ebx: return result.ebx;
        case Word::Ecx: return result.ecx;
        case Word::Edx: return result.edx;
    }
    return 0;
}

}  // namespace

IsaSets shown_isa_sets(const Vcpu& vcpu) {
    IsaSets sets;
    for (ZydisISASet set : always) sets.set(set);
    for (const Feature& feature : features) {
        bool shown = true;
        if (vcpu.cpuid != nullptr) {
            std::uint32_t word =
                word_of(vcpu.cpuid->query(vcpu, feature.leaf, feature.subleaf), feature.word);
            shown = (word >> feature.bit & 1) != 0;
        }
        sets.set(feature.set, shown);
    }
    return sets;
}

}  // namespace undercroft
