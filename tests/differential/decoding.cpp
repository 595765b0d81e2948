// SPDX-License-Identifier: Apache-2.0
#include "decoding.hpp"

#include "base/check.hpp"
#include "cpu/cpuid.hpp"
#include "cpu/vcpu.hpp"
#include "engine/absolute_operand.hpp"
#include "engine/step/isa.hpp"

#include <algorithm>
#include <memory>

namespace undercroft::differential {
namespace {

struct Processor {
    ZydisDecoder decoder;
    IsaSets shown;

    Processor() {
        auto vcpu = std::make_unique<Vcpu>();
        CpuidTable cpuid{1'000'000, 1};
        vcpu->cpuid = &cpuid;
        vcpu->paging.cr4 = CR4::OSXSAVE | CR4::OSFXSR;
        vcpu->xcr0 = XCR0::Supported;
        shown = shown_isa_sets(*vcpu);
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        auto set = [&](ZydisDecoderMode mode, bool on) {
            ZydisDecoderEnableMode(&decoder, mode, on ? ZYAN_TRUE : ZYAN_FALSE);
        };
        set(ZYDIS_DECODER_MODE_AMD_BRANCHES, cpuid.is_amd());
        set(ZYDIS_DECODER_MODE_LZCNT, shown[ZYDIS_ISA_SET_LZCNT]);
        set(ZYDIS_DECODER_MODE_TZCNT, shown[ZYDIS_ISA_SET_BMI1]);
        for (auto mode : {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET, ZYDIS_DECODER_MODE_CLDEMOTE,
                          ZYDIS_DECODER_MODE_WBNOINVD}) {
            set(mode, false);
        }
    }
};

const Processor& processor() {
    static const Processor one;
    return one;
}

const char* left_out_by_name(const Decoded& i) {
    switch (i.raw.mnemonic) {
        case ZYDIS_MNEMONIC_SYSCALL:
        case ZYDIS_MNEMONIC_SYSENTER: return "enters the host's kernel";
        case ZYDIS_MNEMONIC_INT:
            return i.operand[0].imm.value.u == 0x80 ? "enters the host's kernel" : nullptr;
        case ZYDIS_MNEMONIC_CPUID:
        case ZYDIS_MNEMONIC_XGETBV: return "answers for the machine (cpuid_test, micro.features)";
        case ZYDIS_MNEMONIC_RDTSC:
        case ZYDIS_MNEMONIC_RDTSCP:
        case ZYDIS_MNEMONIC_RDPID:
        case ZYDIS_MNEMONIC_RDPMC:
        case ZYDIS_MNEMONIC_RDRAND:
        case ZYDIS_MNEMONIC_RDSEED: return "answers differently each time";
        case ZYDIS_MNEMONIC_SGDT:
        case ZYDIS_MNEMONIC_SIDT:
        case ZYDIS_MNEMONIC_SLDT:
        case ZYDIS_MNEMONIC_STR:
        case ZYDIS_MNEMONIC_SMSW: return "UMIP: the host's kernel answers in the processor's place";
        case ZYDIS_MNEMONIC_LAR:
        case ZYDIS_MNEMONIC_LSL:
        case ZYDIS_MNEMONIC_VERR:
        case ZYDIS_MNEMONIC_VERW:
        case ZYDIS_MNEMONIC_LFS:
        case ZYDIS_MNEMONIC_LGS:
        case ZYDIS_MNEMONIC_LSS:
        case ZYDIS_MNEMONIC_IRET:
        case ZYDIS_MNEMONIC_IRETD:
        case ZYDIS_MNEMONIC_IRETQ:
            return "looks into the host's descriptor tables (micro.privileged, returns)";
        case ZYDIS_MNEMONIC_XSAVEOPT:
        case ZYDIS_MNEMONIC_XSAVEOPT64: return "leaves out what it likes (micro.xsave)";
        case ZYDIS_MNEMONIC_INT1: return "hypervisors report it with other addresses (micro.traps)";
        case ZYDIS_MNEMONIC_VMCALL:
        case ZYDIS_MNEMONIC_VMMCALL: return "calls the host's hypervisor";
        case ZYDIS_MNEMONIC_INVPCID: return "guests have it where the host has not (micro.pcid)";
        default: return nullptr;
    }
}

bool loads_segment(const Decoded& i) {
    if (i.raw.mnemonic != ZYDIS_MNEMONIC_MOV && i.raw.mnemonic != ZYDIS_MNEMONIC_POP) return false;
    return i.operand[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(i.operand[0].reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

const char* class_name(ZydisRegisterClass which) {
    switch (which) {
        case ZYDIS_REGCLASS_GPR8: return "r8";
        case ZYDIS_REGCLASS_GPR16: return "r16";
        case ZYDIS_REGCLASS_GPR32: return "r32";
        case ZYDIS_REGCLASS_GPR64: return "r64";
        case ZYDIS_REGCLASS_X87: return "st";
        case ZYDIS_REGCLASS_MMX: return "mm";
        case ZYDIS_REGCLASS_XMM: return "xmm";
        case ZYDIS_REGCLASS_YMM: return "ymm";
        case ZYDIS_REGCLASS_SEGMENT: return "sreg";
        case ZYDIS_REGCLASS_CONTROL: return "cr";
        case ZYDIS_REGCLASS_DEBUG: return "dr";
        default: return "?";
    }
}

std::uint64_t operand_code(const ZydisDecodedOperand& operand) {
    std::uint64_t type = operand.type;
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER)
        return type << 8 | static_cast<std::uint64_t>(ZydisRegisterGetClass(operand.reg.value));
    return type << 8 | std::min(operand.size / 8u, 255u);
}

}  // namespace

const ZydisDecodedOperand* Decoded::memory() const {
    for (const auto& each : visible()) {
        if (each.type == ZYDIS_OPERAND_TYPE_MEMORY && each.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
            return &each;
    }
    return nullptr;
}

Decoding decode_all(std::span<const std::uint8_t> bytes, Decoded& out) {
    ZyanStatus status = ZydisDecoderDecodeFull(&processor().decoder, bytes.data(), bytes.size(), &out.raw,
                                               out.operand.data());
    if (status == ZYDIS_STATUS_NO_MORE_DATA) return Decoding::Truncated;
    if (!ZYAN_SUCCESS(status)) return Decoding::Unknown;
    correct_absolute_operand(out.raw, {out.operand.data(), out.raw.operand_count});
    return Decoding::Good;
}

const char* left_out(const Decoded& i) {
    if (!processor().shown[i.raw.meta.isa_set]) return "CPUID does not show it (micro.features)";
    if (i.raw.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR && i.raw.meta.category != ZYDIS_CATEGORY_INTERRUPT)
        return "looks into the host's descriptor tables (micro.privileged, returns)";
    if (loads_segment(i)) return "looks into the host's descriptor tables (micro.privileged, returns)";
    return left_out_by_name(i);
}

std::uint64_t form_of(const Decoded& i) {
    std::uint64_t form = i.raw.mnemonic;
    for (const auto& each : i.visible()) form = form * 0x9e3779b97f4a7c15 + operand_code(each) + 1;
    constexpr auto repeated = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE;
    form = form * 8 + (i.has(ZYDIS_ATTRIB_HAS_LOCK) ? 1 : 0) + (i.has(repeated) ? 2 : 0) +
           (i.has(ZYDIS_ATTRIB_HAS_REPNE) ? 4 : 0);
    return form;
}

std::string form_name(const Decoded& i) {
    std::string name;
    if (i.has(ZYDIS_ATTRIB_HAS_LOCK)) name += "lock ";
    if (i.has(ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) name += "rep ";
    if (i.has(ZYDIS_ATTRIB_HAS_REPNE)) name += "repne ";
    name += ZydisMnemonicGetString(i.raw.mnemonic);
    const char* separator = " ";
    for (const auto& each : i.visible()) {
        name += separator;
        separator = ", ";
        std::string bits = std::to_string(each.size);
        switch (each.type) {
            case ZYDIS_OPERAND_TYPE_REGISTER:
                name += class_name(ZydisRegisterGetClass(each.reg.value));
                break;
            case ZYDIS_OPERAND_TYPE_MEMORY: name += "m" + bits; break;
            case ZYDIS_OPERAND_TYPE_IMMEDIATE: name += "imm"; break;
            default: name += "?"; break;
        }
    }
    return name;
}

std::string disassemble(std::span<const std::uint8_t> bytes, std::uint64_t address) {
    Decoded i;
    if (!decode(bytes, i)) return "(bad)";
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    std::array<char, 160> text;
    ZydisFormatterFormatInstruction(&formatter, &i.raw, i.operand.data(), i.raw.operand_count_visible,
                                    text.data(), text.size(), address, nullptr);
    return text.data();
}

}  // namespace undercroft::differential
