// SPDX-License-Identifier: Apache-2.0
#include "host_instruction.hpp"

#include "engine/translate/runtime/frame.hpp"

namespace undercroft::fuzz {
namespace {

using namespace translate;

bool has_ordinary_registers(const HostInstruction& i) {
    for (const auto& operand : i.operands()) {
        if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        switch (ZydisRegisterGetClass(operand.reg.value)) {
            case ZYDIS_REGCLASS_SEGMENT:
            case ZYDIS_REGCLASS_CONTROL:
            case ZYDIS_REGCLASS_DEBUG:
            case ZYDIS_REGCLASS_TEST:
            case ZYDIS_REGCLASS_TABLE:
            case ZYDIS_REGCLASS_MASK:
            case ZYDIS_REGCLASS_TMM:
            case ZYDIS_REGCLASS_ZMM: return false;
            default: break;
        }
    }
    return true;
}

bool is_forbidden_category(ZydisInstructionCategory category) {
    switch (category) {
        case ZYDIS_CATEGORY_CALL:
        case ZYDIS_CATEGORY_RET:
        case ZYDIS_CATEGORY_PUSH:
        case ZYDIS_CATEGORY_POP:
        case ZYDIS_CATEGORY_INTERRUPT:
        case ZYDIS_CATEGORY_SYSCALL:
        case ZYDIS_CATEGORY_SYSRET:
        case ZYDIS_CATEGORY_SYSTEM:
        case ZYDIS_CATEGORY_IO:
        case ZYDIS_CATEGORY_IOSTRINGOP:
        case ZYDIS_CATEGORY_STRINGOP:
        case ZYDIS_CATEGORY_SEGOP:
        case ZYDIS_CATEGORY_RDWRFSGS:
        case ZYDIS_CATEGORY_XSAVE:
        case ZYDIS_CATEGORY_XSAVEOPT:
        case ZYDIS_CATEGORY_VTX:
        case ZYDIS_CATEGORY_SGX:
        case ZYDIS_CATEGORY_CET: return true;
        default: return false;
    }
}

bool is_forbidden(ZydisMnemonic mnemonic) {
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_CPUID:
        case ZYDIS_MNEMONIC_RDTSCP:
        case ZYDIS_MNEMONIC_RDPID:
        case ZYDIS_MNEMONIC_RDPMC:
        case ZYDIS_MNEMONIC_XGETBV:
        case ZYDIS_MNEMONIC_HLT:
        case ZYDIS_MNEMONIC_UD0:
        case ZYDIS_MNEMONIC_UD1:
        case ZYDIS_MNEMONIC_UD2:
        case ZYDIS_MNEMONIC_MONITOR:
        case ZYDIS_MNEMONIC_MWAIT:
        case ZYDIS_MNEMONIC_XBEGIN:
        case ZYDIS_MNEMONIC_JRCXZ:
        case ZYDIS_MNEMONIC_JECXZ:
        case ZYDIS_MNEMONIC_LOOP:
        case ZYDIS_MNEMONIC_LOOPE:
        case ZYDIS_MNEMONIC_LOOPNE: return true;
        default: return false;
    }
}

struct Field {
    std::size_t offset;
    std::size_t size;
    bool writable;
};

constexpr std::size_t engine = offsetof(Vcpu, engine_area);
constexpr std::size_t base_of(SegmentName name) {
    return offsetof(Vcpu, segment) + sizeof(Segment) * static_cast<std::size_t>(name) +
           offsetof(Segment, base);
}

// Whatever lowering adds here must be harmless whatever the guest makes of it.
constexpr Field fields[] = {
    {offsetof(Vcpu, gpr) + 80, 16, true},  // the homes of r10 and r11
    {offsetof(Vcpu, arithmetic), 2, true},
    {offsetof(Vcpu, interrupt_flag), 1, true},
    {offsetof(Vcpu, system_flags), 8, true},
    {base_of(SegmentName::FS), 8, true},
    {base_of(SegmentName::GS), 8, true},
    {offsetof(Vcpu, kernel_gs_base), 8, true},
    {engine + offsetof(EngineFrame, spill), 8, true},
    {engine + offsetof(EngineFrame, spill_rax), 8, true},
    {engine + offsetof(EngineFrame, operand), 8, true},
    {engine + offsetof(EngineFrame, x87_operand), 16, true},  // and next_x87_operand
    {engine + offsetof(EngineFrame, distance), sizeof(EngineFrame::distance), true},
    {engine + offsetof(EngineFrame, branch_record), 4, true},
    {engine + offsetof(EngineFrame, spin_exit), 8, true},  // which is only compared
    {offsetof(Vcpu, attention), 4, false},
    {offsetof(Vcpu, pending_interrupt), 1, false},
    {offsetof(Vcpu, segment), sizeof(Vcpu::segment), false},
    {offsetof(Vcpu, paging), sizeof(PagingState), false},
    {offsetof(Vcpu, cr2), 8, false},
    {offsetof(Vcpu, tsc_offset), 8, false},
    {offsetof(Vcpu, tsc_aux), 4, false},
    {engine + offsetof(EngineFrame, component_mask), 4, false},
    {engine + offsetof(EngineFrame, exec_id), sizeof(EngineFrame::exec_id), false},
};

}  // namespace

bool HostInstruction::decode(std::span<const std::byte> bytes) {
    static const ZydisDecoder decoder = [] {
        ZydisDecoder made;
        ZydisDecoderInit(&made, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        return made;
    }();
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &raw, operand.data()));
}

bool HostInstruction::writes_flags() const {
    const auto* flags = raw.cpu_flags;
    return flags != nullptr && (flags->modified | flags->set_0 | flags->set_1 | flags->undefined) != 0;
}

bool HostInstruction::repeats() const {
    if ((raw.attributes & ZYDIS_ATTRIB_HAS_REP) == 0 || raw.address_width != 64) return false;
    switch (raw.mnemonic) {
        case ZYDIS_MNEMONIC_MOVSB:
        case ZYDIS_MNEMONIC_MOVSW:
        case ZYDIS_MNEMONIC_MOVSD:
        case ZYDIS_MNEMONIC_MOVSQ:
        case ZYDIS_MNEMONIC_STOSB:
        case ZYDIS_MNEMONIC_STOSW:
        case ZYDIS_MNEMONIC_STOSD:
        case ZYDIS_MNEMONIC_STOSQ: return true;
        default: return false;
    }
}

std::string objection(const HostInstruction& i) {
    bool may_be = i.repeats() ||                               // judged elsewhere
                  i.raw.mnemonic == ZYDIS_MNEMONIC_RDTSC ||    // any program may
                  i.raw.mnemonic == ZYDIS_MNEMONIC_RDTSCP ||   // ... and rcx is overwritten
                  i.raw.mnemonic == ZYDIS_MNEMONIC_XSAVE ||    // x87, SSE and AVX state is the guest's, and
                  i.raw.mnemonic == ZYDIS_MNEMONIC_XSAVE64 ||  // the mask in eax leaves the rest alone
                  i.raw.mnemonic == ZYDIS_MNEMONIC_XRSTOR || i.raw.mnemonic == ZYDIS_MNEMONIC_XRSTOR64;
    if (!may_be && (is_forbidden_category(i.raw.meta.category) || is_forbidden(i.raw.mnemonic)))
        return "forbidden instruction";
    if ((i.raw.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) != 0) return "privileged instruction";
    if (i.raw.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return "far branch";
    if (!has_ordinary_registers(i)) return "names a register that is the host's";
    if (const auto* flags = i.raw.cpu_flags) {
        constexpr std::uint32_t arithmetic = ZYDIS_CPUFLAG_CF | ZYDIS_CPUFLAG_PF | ZYDIS_CPUFLAG_AF |
                                             ZYDIS_CPUFLAG_ZF | ZYDIS_CPUFLAG_SF | ZYDIS_CPUFLAG_OF;
        if (((flags->modified | flags->set_0 | flags->set_1) & ~arithmetic) != 0)
            return "changes flags that are the host's";
    }
    for (const auto& operand : i.operands()) {
        if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && !i.repeats() &&
            operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
            return "implicit access to memory";
    }
    return {};
}

bool frame_allows(std::uint64_t offset, unsigned size, Access access) {
    for (const Field& field : fields) {
        if (offset >= field.offset && offset + size <= field.offset + field.size)
            return field.writable || access == Access::Read;
    }
    return false;
}

}  // namespace undercroft::fuzz
