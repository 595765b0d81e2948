// SPDX-License-Identifier: Apache-2.0
// Traces: what a hot loop executes, as one block.
//
// A loop whose backward branch was taken `Options::trace_heat` times is translated anew from its head on. The
// trace goes on past branches, the way they seem to go (only what has been executed has blocks), into calls
// and back from them, all within the page. When it comes back to its head it goes round again, as often as
// fits: accesses of several rounds through one moving register then share a check, and so do those through
// registers that stand still. A loop that only waits is an exception: one round of it is enough.
#include "engine/translate/analyse/idle.hpp"
#include "engine/translate/runtime/translator.hpp"

#include <algorithm>

namespace undercroft::translate {
namespace {
constexpr unsigned round_limit = 8;
constexpr std::size_t call_limit = 4;
}  // namespace

// Where a trace goes on after `branch`. False: it ends there.
bool Translator::follow(Instruction& branch, std::uint32_t page_id,
                        std::span<const std::uint64_t> returns) const {
    auto here = [&](std::uint64_t rip) { return (rip ^ branch.rip) >> 12 == 0; };
    auto ran = [&](std::uint64_t rip) {
        return here(rip) && cache_.find(page_id, rip, Variant::Merged) != nullptr;
    };
    switch (branch.kind) {
        case Kind::JumpConditional: {
            bool taken = ran(branch.branch_target());
            bool next = ran(branch.next_rip());
            bool backward = branch.branch_target() <= branch.rip;
            if (taken && (backward || !next))
                branch.follow = Follow::Taken;
            else if (next)
                branch.follow = Follow::Next;
            break;
        }
        case Kind::JumpDirect:
            if (here(branch.branch_target())) branch.follow = Follow::Taken;
            break;
        case Kind::CallDirect:
            if (ran(branch.branch_target()) && here(branch.next_rip()) && returns.size() < call_limit)
                branch.follow = Follow::Taken;
            break;
        case Kind::Return:
            if (!returns.empty()) {
                branch.follow = Follow::Taken;
                branch.predicted = returns.back();
                branch.exit_live = static_cast<std::uint32_t>(RFLAGS::Arithmetic);
            }
            break;
        default: break;
    }
    return branch.follow != Follow::Nothing;
}

std::span<Instruction> Translator::decode_trace(Block& block) {
    const std::uint64_t head = block.rip;
    std::array<std::uint64_t, call_limit> returns;
    std::size_t depth = 0;
    std::size_t count = 0;
    std::size_t round = 0;  // where the present one began
    unsigned rounds = 0;
    bool follows = false;
    std::uint64_t rip = head;
    while (count < trace_limit && (rip ^ head) >> 12 == 0) {
        Instruction& i = instructions_[count];
        std::size_t offset = rip & 0xfff;
        if (!decode(window_.bytes(offset, ZYDIS_MAX_INSTRUCTION_LENGTH), rip, block.mode, i)) break;
        ++count;
        block.granules |= CodePages::mask_of(offset, i.length);
        rip = i.next_rip();
        if (!ends_block(i.kind)) continue;
        bool in_shadow = count > 1 && instructions_[count - 2].kind == Kind::Sti;
        if (in_shadow || count == trace_limit || !follow(i, block.page_id, {returns.data(), depth})) break;
        if (i.kind == Kind::CallDirect) returns[depth++] = i.next_rip();
        if (i.kind == Kind::Return) --depth;
        if (i.follow == Follow::Taken) rip = i.kind == Kind::Return ? i.predicted : i.branch_target();
        bool again = rip == head;
        block.idle = again && i.follow == Follow::Taken && rounds == 0 && !options_.counted &&
                     only_waits({instructions_.data(), count});
        if (block.idle) {  // its end counts as all of its PAUSEs
            for (std::size_t n = 0; n < count; ++n) {
                if (instructions_[n].kind == Kind::Helper) instructions_[n].kind = Kind::Copy;
            }
            break;
        }
        bool fits = !again || (++rounds < round_limit && 2 * count - round <= trace_limit);
        // Another loop inside this one, or the end of this.
        bool inner = !again && (i.kind == Kind::JumpDirect || i.kind == Kind::JumpConditional) &&
                     std::any_of(instructions_.begin() + static_cast<std::ptrdiff_t>(round),
                                 instructions_.begin() + static_cast<std::ptrdiff_t>(count),
                                 [&](const Instruction& earlier) { return earlier.rip == rip; });
        if (!fits || inner) break;
        if (again) round = count;
        follows = true;
    }
    if (count == 0) return {};
    Instruction& last = instructions_[count - 1];
    if (last.kind == Kind::Sti) last.kind = Kind::Step;  // its shadow must be in its block
    last.follow = Follow::Nothing;                       // what was to follow may lie across the page's end
    return {instructions_.data(), follows || block.idle ? count : 0};
}

Block* Translator::translate_trace(Vcpu& vcpu, Variant variant) {
    AccessMode mode = vcpu.access_mode();
    Translation where;
    Trap trap;
    bool mapped = vcpu.mmu->translate(GuestVirtual{vcpu.rip}, Access::Execute, mode, where, trap);
    if (!mapped || where.host == nullptr || !make_room(trace_limit)) return nullptr;
    CodePages& pages = vcpu.mmu->code_pages();
    std::uint64_t pfn = where.physical.page();
    if (!pages.is_claimed(pfn)) return nullptr;  // all of its blocks were discarded meanwhile
    window_.open(where.host - where.physical.page_offset(), pages, GuestPhysical{pfn << 12});
    Block block = block_at(vcpu, where, mode);
    auto instructions = decode_trace(block);
    if (instructions.empty() || instructions.front().kind == Kind::Step) return nullptr;
    block.trace = true;
    block.variant = variant;
    for (const Instruction& i : instructions)
        block.length = static_cast<std::uint16_t>(block.length + i.length);
    if (Block* present = cache_.find(block.page_id, vcpu.rip, variant)) cache_.replace(*present);
    return make_block(vcpu, instructions, block);
}

}  // namespace undercroft::translate
