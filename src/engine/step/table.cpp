// SPDX-License-Identifier: Apache-2.0
#include "engine/step/table.hpp"

#include <Zydis/Zydis.h>

#include <array>

namespace undercroft {
namespace {

using Table = std::array<TableEntry, ZYDIS_MNEMONIC_MAX_VALUE + 1>;

Table make_table() {
    Table table{};
    for (TableEntries entries :
         {move_entries(), stack_entries(), branch_entries(), far_branch_entries(), flag_entries(),
          string_entries(), port_entries(), arithmetic_entries(), system_entries(), segment_entries(),
          legacy_entries(), random_entries(), vector_entries(), vector_state_entries(), x87_entries()}) {
        for (const TableEntry& entry : entries) table[entry.mnemonic] = entry;
    }
    return table;
}

// Categories whose instructions do nothing but compute on their operands, flags and vector state.
bool runs_natively(const ZydisDecodedInstruction& source) {
    switch (source.meta.category) {
        case ZYDIS_CATEGORY_ADOX_ADCX:
        case ZYDIS_CATEGORY_AES:
        case ZYDIS_CATEGORY_AVX:
        case ZYDIS_CATEGORY_AVX2:
        case ZYDIS_CATEGORY_BINARY:
        case ZYDIS_CATEGORY_BITBYTE:
        case ZYDIS_CATEGORY_BLEND:
        case ZYDIS_CATEGORY_BMI1:
        case ZYDIS_CATEGORY_BMI2:
        case ZYDIS_CATEGORY_BROADCAST:
        case ZYDIS_CATEGORY_CMOV:
        case ZYDIS_CATEGORY_CONVERT:
        case ZYDIS_CATEGORY_DATAXFER:
        case ZYDIS_CATEGORY_FCMOV:
        case ZYDIS_CATEGORY_GFNI:
        case ZYDIS_CATEGORY_LOGICAL:
        case ZYDIS_CATEGORY_LOGICAL_FP:
        case ZYDIS_CATEGORY_LZCNT:
        case ZYDIS_CATEGORY_MMX:
        case ZYDIS_CATEGORY_PCLMULQDQ:
        case ZYDIS_CATEGORY_ROTATE:
        case ZYDIS_CATEGORY_SEMAPHORE:
        case ZYDIS_CATEGORY_SETCC:
        case ZYDIS_CATEGORY_SHA:
        case ZYDIS_CATEGORY_SHIFT:
        case ZYDIS_CATEGORY_SSE:
        case ZYDIS_CATEGORY_STTNI:
        case ZYDIS_CATEGORY_VAES:
        case ZYDIS_CATEGORY_VFMA:
        case ZYDIS_CATEGORY_VPCLMULQDQ:
        case ZYDIS_CATEGORY_X87_ALU: return true;
        default: return false;
    }
}

Handler move_handler(const Instruction& instruction) {
    switch (instruction.operand[0].kind) {
        case OperandKind::Segment: return move_to_segment;
        case OperandKind::Control: return move_to_control;
        case OperandKind::Debug: return move_to_debug;
        default: break;
    }
    switch (instruction.operand[1].kind) {
        case OperandKind::Segment: return move_from_segment;
        case OperandKind::Control: return move_from_control;
        case OperandKind::Debug: return move_from_debug;
        default: return move_general;
    }
}

constexpr TableEntry native{ZYDIS_MNEMONIC_INVALID, run_native, true};

}  // namespace

TableEntry handler_for(const ZydisDecodedInstruction& source, const Instruction& instruction) {
    static const Table table = make_table();
    bool is_string = source.meta.category == ZYDIS_CATEGORY_STRINGOP;
    switch (source.mnemonic) {
        case ZYDIS_MNEMONIC_MOV: return {ZYDIS_MNEMONIC_MOV, move_handler(instruction)};
        case ZYDIS_MNEMONIC_MOVSD:
        case ZYDIS_MNEMONIC_CMPSD:
            if (!is_string) return native;
            break;
        case ZYDIS_MNEMONIC_UD0:
        case ZYDIS_MNEMONIC_UD1:
        case ZYDIS_MNEMONIC_UD2: return {.undefined = true};
        default: break;
    }
    const TableEntry& entry = table[source.mnemonic];
    if (entry.handler != nullptr) return entry;
    bool encoding_known = source.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
                          source.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    return encoding_known && runs_natively(source) ? native : TableEntry{};
}

}  // namespace undercroft
