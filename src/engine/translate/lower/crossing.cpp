// SPDX-License-Identifier: Apache-2.0
// Across page borders: an instruction that lies on both sides, and one that writes to both. See
// runtime/crossing_callback.
#include "engine/translate/lower/lowering.hpp"

namespace undercroft::translate {

// Flags are in the frame: nothing was executed yet.
void Lowering::check_tail(const Instruction& i) {
    immovable();
    auto* site = memory_.record<TailSite>();
    site->function = tail_missed;
    site->rip = i.rip;
    site->length = i.length;
    site->page_id = block_.tail_page_id;
    site->remaining = static_cast<std::uint8_t>(remaining_);
    as_.cmp32_imm_patchable(exec_id_field(block_.mode, i.next_rip()), block_.tail_page_id);
    cold_.push_back({.jumps = {as_.address(as_.jcc(Condition::NE))}, .record = site});
    site->resume = as_.here();
}

// An operand of these that crosses a page is misaligned, which is found before paging is asked.
static bool wants_alignment(const Instruction& i) {
    switch (i.mnemonic) {
        case ZYDIS_MNEMONIC_MOVUPS:
        case ZYDIS_MNEMONIC_MOVUPD:
        case ZYDIS_MNEMONIC_MOVDQU:
        case ZYDIS_MNEMONIC_LDDQU: return false;
        case ZYDIS_MNEMONIC_VMOVAPS:
        case ZYDIS_MNEMONIC_VMOVAPD:
        case ZYDIS_MNEMONIC_VMOVDQA:
        case ZYDIS_MNEMONIC_VMOVNTPS:
        case ZYDIS_MNEMONIC_VMOVNTPD:
        case ZYDIS_MNEMONIC_VMOVNTDQ:
        case ZYDIS_MNEMONIC_VMOVNTDQA: return true;
        default: return i.memory()->size >= 128 && i.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX;
    }
}

// Locked instructions are not split: the single-step executor has them. XCHG is locked without the prefix.
bool Lowering::may_cross(const Instruction& i, Access access) {
    if (i.kind != Kind::Copy) return access == Access::Read;
    if (i.memory()->size / 8 > int{Bounce::most} || wants_alignment(i)) return false;
    bool locked = i.has_prefix(ZYDIS_ATTRIB_HAS_LOCK) || i.mnemonic == ZYDIS_MNEMONIC_XCHG;
    return access == Access::Read || !locked;
}

void Lowering::copy_across(const Instruction& i) {
    const auto& operand = *i.memory();
    save_flags(live_before(i));
    effective_address(i, operand.mem);
    hand_over(new_site(i, begin_write_across, operand.size / 8u, Access::Write, 0));
    run_on(i, Mem{.base = scratch0, .index = scratch1});
    if (i.flags.modifies) flags_written();
    save_flags(i.live_after);
    hand_over(new_site(i, end_write_across, 0, Access::Write, 0));
}

}  // namespace undercroft::translate
