// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/runtime/frame.hpp"
#include "engine/translate/runtime/perf_map.hpp"
#include "engine/translate/runtime/thunks.hpp"

namespace undercroft::translate {

void emit_indirect_entry(Assembler& as, const Thunks& thunks, const Block& block, bool counted) {
    as.cmp_constant(scratch0, block.rip, scratch1);
    as.bind_to(as.jcc(Condition::NE), thunks.indirect_miss);
    as.cmp32_imm_patchable(exec_id_field(block.mode, block.rip), block.page_id);
    as.bind_to(as.jcc(Condition::NE), thunks.indirect_miss);
    as.cmp32_imm(frame_attention, 0);
    as.bind_to(as.jcc(Condition::NE), thunks.attention);
    if (counted) {
        as.load(scratch1, engine_field(offsetof(EngineFrame, instructions)));
        as.alu(Alu::Cmp, scratch1, engine_field(offsetof(EngineFrame, instruction_limit)));
        as.bind_to(as.jcc(Condition::GE), thunks.attention);
    }
}

HostCode make_indirect_entry(CodeMemory& memory, const Thunks& thunks, const Block& block, bool counted) {
    constexpr std::size_t room = 128;
    if (memory.code_left() < room) return nullptr;
    Assembler as = memory.assemble(CodeMemory::Part::Hot);
    as.align(16);
    HostCode entry = as.here();
    emit_indirect_entry(as, thunks, block, counted);
    as.jmp(block.frame_entry);
    PerfMap::add(entry, as.here(), "_entry", block.mode, block.rip);
    memory.take(CodeMemory::Part::Hot, as.size());
    return entry;
}

}  // namespace undercroft::translate
