// SPDX-License-Identifier: Apache-2.0
// How an operand reaches memory: the address, and the inline probe of the software TLB.
#include "engine/translate/lower/lowering.hpp"

namespace undercroft::translate {
namespace {

Mem distance_slot(int group) {
    return engine_field(offsetof(EngineFrame, distance) + 8 * static_cast<std::size_t>(group));
}

}  // namespace

// An x87 instruction that does more than move control words leaves the address of its operand: the host's,
// where the guest's is wanted (runtime/x87_pointers).
bool Lowering::leaves_x87_operand(const Instruction& i) {
    switch (i.mnemonic) {
        case ZYDIS_MNEMONIC_FLDCW:
        case ZYDIS_MNEMONIC_FNSTCW:
        case ZYDIS_MNEMONIC_FNSTSW: return false;
        default: break;
    }
    return (i.opcode & 0xf8) == 0xd8 && i.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT;
}

// Leaves the guest address in scratch0. Reads no memory but the frame; may use scratch1. Destroys no flags
// unless there is a segment base or 32-bit addressing to add.
void Lowering::effective_address(const Instruction& i, const MemoryOperand& m) {
    take_scratch1();
    int base = m.base == ZYDIS_REGISTER_NONE || m.base == ZYDIS_REGISTER_RIP ? Mem::none : gpr_number(m.base);
    int index = m.index == ZYDIS_REGISTER_NONE ? Mem::none : gpr_number(m.index);
    bool short_address = i.address_width == 32;
    if (m.base == ZYDIS_REGISTER_RIP || m.base == ZYDIS_REGISTER_EIP) {
        std::uint64_t address = i.next_rip() + static_cast<std::uint64_t>(m.disp);
        mov_guest_address(scratch0, short_address ? address & 0xffffffff : address);
    } else if (base == Mem::none && index == Mem::none) {
        auto address = static_cast<std::uint64_t>(m.disp);
        as_.mov_imm(scratch0, short_address ? address & 0xffffffff : address);
    } else {
        if (base == scratch0 || base == scratch1) as_.load(base, home(base));
        if ((index == scratch0 || index == scratch1) && index != base) as_.load(index, home(index));
        unsigned scale = m.scale == 8 ? 3 : m.scale == 4 ? 2 : m.scale == 2 ? 1 : 0;
        Mem address{.base = base, .index = index, .scale = scale, .disp = static_cast<std::int32_t>(m.disp)};
        if (short_address) {
            as_.lea32(scratch0, address);
        } else if (index == Mem::none && address.disp == 0) {
            as_.mov(scratch0, base);
        } else {
            as_.lea(scratch0, address);
        }
    }
    if (leaves_x87_operand(i)) as_.store(engine_field(offsetof(EngineFrame, next_x87_operand)), scratch0);
    if (m.segment == ZYDIS_REGISTER_FS || m.segment == ZYDIS_REGISTER_GS) {
        as_.load(scratch1, segment_base(m.segment == ZYDIS_REGISTER_FS ? SegmentName::FS : SegmentName::GS));
        as_.lea(scratch0, Mem{.base = scratch0, .index = scratch1});
    }
}

// An offset may be refused that the base makes canonical.
static bool uses_segment_base(const Instruction& i) {
    return i.memory() != nullptr &&
           (i.memory()->mem.segment == ZYDIS_REGISTER_FS || i.memory()->mem.segment == ZYDIS_REGISTER_GS);
}

Site* Lowering::new_site(const Instruction& i, CallbackFunction function, unsigned size, Access access,
                         unsigned detail) {
    auto* site = memory_.record<Site>();
    note_record(Relocation::Kind::Site, site);
    site->function = function;
    site->rip = i.rip;
    site->length = i.length;
    site->remaining = static_cast<std::uint8_t>(remaining_);
    site->size = static_cast<std::uint16_t>(size);
    site->access = access;
    site->detail = static_cast<std::uint8_t>(detail);
    site->in_trace = block_.trace;
    site->in_shadow = in_shadow_;
    site->step_faults = i.on_x87_state || uses_segment_base(i);
    return site;
}

// The group whose distance scratch1 holds keeps it in its slot, if some of its members are yet to come.
void Lowering::take_scratch1() {
    static_assert(sizeof(EngineFrame::distance) == (AccessGroups::limit + 1) * sizeof(std::uint64_t));
    if (unsaved_group_ >= 0 && members_left_[static_cast<std::size_t>(unsaved_group_)] > 0)
        as_.store(distance_slot(unsaved_group_), scratch1);
    unsaved_group_ = -1;
    distance_in_scratch1_ = -1;
}

// scratch0 holds an address, and then its offset from the tag of the entry that scratch1 selects.
void Lowering::probe(Access access) {
    emit_entry_index(as_, scratch1, scratch0);
    as_.alu(Alu::Sub, scratch0, Mem::frame_indexed(scratch1, tag_offset(block_.mode, access)));
}

// scratch0 holds the address of `size` bytes that are checked. Destroys the host's flags: the caller has
// saved what is live.
void Lowering::check(const Instruction& i, Access access, unsigned size, Checked result) {
    CHECK(size > 0 && size <= AccessGroups::max_walk, "checked access of an odd size");
    take_scratch1();
    std::size_t array = tlb_offset(block_.mode);
    std::size_t tag = tag_offset(block_.mode, access);
    bool distance = result == Checked::Distance;
    probe(access);
    as_.alu_imm(Alu::Cmp, scratch0, static_cast<std::int32_t>(4096 - size));
    bool for_group = i.group >= 0;
    bool leader_reads =
        for_group && groups_.group[static_cast<std::size_t>(i.group)].leader_access == Access::Read;
    bool detail = for_group ? leader_reads : may_cross(i, access);
    Site* site = new_site(i, for_group ? range_missed : access_missed, size, access, detail ? 1 : 0);
    // A single access that crosses a page may have to be aligned, or is locked: that is not for here.
    bool may_go_on = for_group || detail;
    const Thunks::Missed& missed = thunks_.missed[Thunks::missed_index(block_.mode, access)];
    HostCode thunk = may_go_on  ? (distance ? missed.for_distance : missed.for_host)
                     : distance ? thunks_.call_for_distance
                                : thunks_.call;
    cold_.push_back(
        {.jumps = {as_.address(as_.jcc(Condition::A))}, .record = site, .tag_offset = tag, .thunk = thunk});
    std::size_t field = distance ? offsetof(TlbEntry, distance) : offsetof(TlbEntry, host_page);
    as_.load(scratch1, Mem::frame_indexed(scratch1, array + field));
    site->resume = as_.here();
    clobber_flags();
}

// The leader checks the range and keeps the distance to host memory; scratch1 keeps it as long as nobody
// needs scratch1. With an index the distance is what stands for the base register, since an operand has no
// room for three.
Mem Lowering::reach_in_group(const Instruction& i, int base, std::int32_t disp) {
    const AccessGroup& group = groups_.group[static_cast<std::size_t>(i.group)];
    if (i.leads_group) members_left_[static_cast<std::size_t>(i.group)] = group.members;
    --members_left_[static_cast<std::size_t>(i.group)];
    bool indexed = group.index != Mem::none;
    if (i.leads_group) {
        save_flags(live_before(i));
        if (group.bias == 0 && !indexed)
            as_.mov(scratch0, group.base);
        else
            as_.lea(scratch0,
                    Mem{.base = group.base, .index = group.index, .scale = group.scale, .disp = -group.bias});
        check(i, group.access, group.size(), indexed ? Checked::Host : Checked::Distance);
        if (indexed) {
            as_.lea(scratch1, Mem{.base = scratch0, .index = scratch1});
            as_.lea(scratch0, Mem{.index = group.index, .scale = group.scale});
            as_.alu(Alu::Sub, scratch1, scratch0);
        }
        unsaved_group_ = i.group;
    } else if (distance_in_scratch1_ != i.group) {
        take_scratch1();
        as_.load(scratch1, distance_slot(i.group));
    }
    distance_in_scratch1_ = i.group;
    if (!indexed) return Mem{.base = base, .index = scratch1, .disp = disp};
    int index = gpr_number(i.memory()->mem.index);
    return Mem{
        .base = scratch1, .index = index, .scale = group.scale, .disp = disp + group.bias + i.group_shift};
}

Mem Lowering::check_by_base(const Instruction& i, Access access, unsigned size, int base, std::int32_t disp) {
    if (disp == 0)
        as_.mov(scratch0, base);
    else
        as_.lea(scratch0, Mem{.base = base, .disp = disp});
    check(i, access, size, Checked::Distance);
    return Mem{.base = base, .index = scratch1, .disp = disp};
}

Mem Lowering::reach(const Instruction& i, Access access, unsigned size, int base, std::int32_t disp) {
    if (i.group >= 0) return reach_in_group(i, base, disp);
    save_flags(live_before(i));
    return check_by_base(i, access, size, base, disp);
}

}  // namespace undercroft::translate
