// SPDX-License-Identifier: Apache-2.0
// String instructions on memory: MOVS, STOS, LODS, CMPS, SCAS, with and without repetition.
//
// A repeated one executes at most a page's worth of elements a step, then RIP stays for the rest. Registers
// show the progress when an element faults. Source: Intel SDM vol. 2, REP.
#include "engine/step/compare.hpp"
#include "engine/step/string_state.hpp"
#include "engine/step/table.hpp"

#include <Zydis/Mnemonic.h>

namespace undercroft {
namespace {

// Bit 0 of the opcode: bytes, or elements of the operand size.
unsigned element_size(const Context& context) {
    return (context.instruction.opcode & 1) == 0 ? 1 : context.instruction.operand_size;
}

// RAM behind a run of elements, all in one page: null if it is not that simple.
struct Run {
    std::byte* host = nullptr;
    GuestPhysical physical{};
    bool holds_code = false;
};

// False: the access faults. `elements` is cut to what lies in the page.
bool find_run(Context& context, SegmentName segment, std::uint64_t offset, const StringState& state,
              Access access, std::uint64_t& elements, Run& run) {
    std::uint64_t linear = 0;
    if (!linear_address(context, segment, offset, state.size(), access, linear)) return false;
    std::uint64_t fitting = state.in_page(linear);
    if (fitting == 0)
        return context.vcpu.mmu->check(GuestVirtual{linear}, state.size(), access, context.mode,
                                       context.trap);
    Translation where;
    if (!context.vcpu.mmu->translate(GuestVirtual{linear}, access, context.mode, where, context.trap))
        return false;
    if (where.host == nullptr) return true;
    run = {where.host, where.physical, where.holds_code};
    elements = std::min(elements, fitting);
    return true;
}

// Long runs only where every element passes the checks that one does: 64-bit code, no alignment checks, no
// breakpoints.
bool may_run(const Context& context, const StringState& state, std::uint64_t elements) {
    const Vcpu& vcpu = context.vcpu;
    bool checked = (vcpu.system_flags & RFLAGS::AC) != 0 && vcpu.cpl == 3;
    return elements > 1 && !state.backwards() && context.is_64bit() &&
           context.instruction.address_size == 8 && !checked && (vcpu.debug.dr7 & 0xff) == 0;
}

// As the instruction would do it, element by element, also where the runs overlap.
void copy_run(std::byte* to, const std::byte* from, std::uint64_t bytes, unsigned size) {
    auto distance = static_cast<std::uint64_t>(to - from);
    if (distance >= bytes) {
        std::memmove(to, from, bytes);
        return;
    }
    for (std::uint64_t done = 0; done < bytes; done += size) std::memmove(to + done, from + done, size);
}

Outcome move_one(Context& context, StringState& state) {
    std::uint64_t value = 0;
    if (!read_segment(context, context.instruction.segment, state.source(), state.size(), value) ||
        !write_segment(context, SegmentName::ES, state.target(), state.size(), value)) {
        return Outcome::Fault;
    }
    state.advance_source(1);
    state.advance_target(1);
    state.consume(1);
    return state.outcome();
}

Outcome move_string(Context& context) {
    StringState state{context, element_size(context)};
    std::uint64_t elements = state.allowance();
    if (elements == 0) return Outcome::Next;
    if (!may_run(context, state, elements)) return move_one(context, state);
    Run from;
    Run to;
    if (!find_run(context, context.instruction.segment, state.source(), state, Access::Read, elements,
                  from) ||
        !find_run(context, SegmentName::ES, state.target(), state, Access::Write, elements, to)) {
        return Outcome::Fault;
    }
    if (from.host == nullptr || to.host == nullptr) return move_one(context, state);
    std::uint64_t bytes = elements * state.size();
    copy_run(to.host, from.host, bytes, state.size());
    if (to.holds_code) context.vcpu.mmu->code_pages().wrote(to.physical, bytes);
    state.advance_source(elements);
    state.advance_target(elements);
    state.consume(elements);
    return state.outcome();
}

Outcome store_one(Context& context, StringState& state) {
    std::uint64_t value = context.vcpu.reg(Gpr::Rax) & mask_of_size(state.size());
    if (!write_segment(context, SegmentName::ES, state.target(), state.size(), value)) return Outcome::Fault;
    state.advance_target(1);
    state.consume(1);
    return state.outcome();
}

void fill_run(std::byte* to, std::uint64_t value, std::uint64_t bytes, unsigned size) {
    if (size == 1 || value == 0) {
        std::memset(to, static_cast<int>(value & 0xff), bytes);
        return;
    }
    for (std::uint64_t done = 0; done < bytes; done += size) std::memcpy(to + done, &value, size);
}

Outcome store_string(Context& context) {
    StringState state{context, element_size(context)};
    std::uint64_t elements = state.allowance();
    if (elements == 0) return Outcome::Next;
    if (!may_run(context, state, elements)) return store_one(context, state);
    Run to;
    if (!find_run(context, SegmentName::ES, state.target(), state, Access::Write, elements, to))
        return Outcome::Fault;
    if (to.host == nullptr) return store_one(context, state);
    std::uint64_t bytes = elements * state.size();
    fill_run(to.host, context.vcpu.reg(Gpr::Rax) & mask_of_size(state.size()), bytes, state.size());
    if (to.holds_code) context.vcpu.mmu->code_pages().wrote(to.physical, bytes);
    state.advance_target(elements);
    state.consume(elements);
    return state.outcome();
}

Outcome load_string(Context& context) {
    StringState state{context, element_size(context)};
    for (std::uint64_t left = state.allowance(); left > 0; left--) {
        std::uint64_t value = 0;
        if (!read_segment(context, context.instruction.segment, state.source(), state.size(), value))
            return Outcome::Fault;
        write_register(context.vcpu.reg(Gpr::Rax), value, state.size());
        state.advance_source(1);
        state.consume(1);
    }
    return state.outcome();
}

// Whether REPE or REPNE ends after the comparison just made.
bool ended(const Context& context) {
    bool equal = (context.vcpu.arithmetic_flags() & RFLAGS::ZF) != 0;
    return equal != (context.instruction.repeat == Repeat::WhileEqual);
}

Outcome compare_string(Context& context) {
    StringState state{context, element_size(context)};
    for (std::uint64_t left = state.allowance(); left > 0; left--) {
        std::uint64_t first = 0;
        std::uint64_t second = 0;
        if (!read_segment(context, context.instruction.segment, state.source(), state.size(), first) ||
            !read_segment(context, SegmentName::ES, state.target(), state.size(), second)) {
            return Outcome::Fault;
        }
        set_flags_of_comparison(context.vcpu, first, second, state.size());
        state.advance_source(1);
        state.advance_target(1);
        state.consume(1);
        if (state.repeats() && ended(context)) return Outcome::Next;
    }
    return state.outcome();
}

Outcome scan_string(Context& context) {
    StringState state{context, element_size(context)};
    for (std::uint64_t left = state.allowance(); left > 0; left--) {
        std::uint64_t value = 0;
        if (!read_segment(context, SegmentName::ES, state.target(), state.size(), value))
            return Outcome::Fault;
        set_flags_of_comparison(context.vcpu, context.vcpu.reg(Gpr::Rax), value, state.size());
        state.advance_target(1);
        state.consume(1);
        if (state.repeats() && ended(context)) return Outcome::Next;
    }
    return state.outcome();
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_MOVSB, move_string},    {ZYDIS_MNEMONIC_MOVSW, move_string},
    {ZYDIS_MNEMONIC_MOVSD, move_string},    {ZYDIS_MNEMONIC_MOVSQ, move_string},
    {ZYDIS_MNEMONIC_STOSB, store_string},   {ZYDIS_MNEMONIC_STOSW, store_string},
    {ZYDIS_MNEMONIC_STOSD, store_string},   {ZYDIS_MNEMONIC_STOSQ, store_string},
    {ZYDIS_MNEMONIC_LODSB, load_string},    {ZYDIS_MNEMONIC_LODSW, load_string},
    {ZYDIS_MNEMONIC_LODSD, load_string},    {ZYDIS_MNEMONIC_LODSQ, load_string},
    {ZYDIS_MNEMONIC_CMPSB, compare_string}, {ZYDIS_MNEMONIC_CMPSW, compare_string},
    {ZYDIS_MNEMONIC_CMPSD, compare_string}, {ZYDIS_MNEMONIC_CMPSQ, compare_string},
    {ZYDIS_MNEMONIC_SCASB, scan_string},    {ZYDIS_MNEMONIC_SCASW, scan_string},
    {ZYDIS_MNEMONIC_SCASD, scan_string},    {ZYDIS_MNEMONIC_SCASQ, scan_string},
};

}  // namespace

TableEntries string_entries() { return entries; }

}  // namespace undercroft
