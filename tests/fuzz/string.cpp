// SPDX-License-Identifier: Apache-2.0
// REP MOVS and REP STOS on host addresses: of rcx elements, all of which lie in the page that was probed.
//
// Lowering emits, for each pointer: rcx is compared with a number of elements that fill a page at most, so
// that no sum wraps; r10, the first byte's offset in the page, is compared with 4095; r10 plus the elements'
// bytes is compared with 4096. Then the distance is added to the pointer, and taken off behind the
// instruction.
#include "engine/translate/runtime/frame.hpp"
#include "proof.hpp"

namespace undercroft::fuzz {

using namespace translate;
using Kind = Value::Kind;

namespace {
constexpr int rcx = 1;
constexpr int rsi = 6;
constexpr int rdi = 7;
}  // namespace

// lea r10, [r10 + count * width]
bool Proof::add_elements() {
    const auto& m = i_.operand[1].mem;
    if (!is_r64(0) || register_of(0) != scratch0 || i_.raw.address_width != 64) return false;
    if (m.base != ZYDIS_REGISTER_R10 || m.index == ZYDIS_REGISTER_NONE || m.disp.value != 0) return false;
    const Value& count = reg(gpr_number(m.index));
    if (reg(scratch0).kind != Kind::Bounded || count.kind != Kind::Symbol) return false;
    reg(scratch0) = {.kind = Kind::End,
                     .id = reg(scratch0).id,
                     .symbol = count.id,
                     .scale = m.scale,
                     .offset = count.offset};
    return true;
}

// The end is at most `limit`, which a page's end has to be.
void Proof::elements_end(const Value& end, std::int64_t limit) {
    Value count{.id = end.symbol, .offset = end.offset};
    bool few = state_.few == count && state_.few_limit >= 0 && state_.few_limit * end.scale <= 4096;
    require(few && limit >= 0 && limit <= 4096, "checks nothing of a string");
    probes_[end.id].count = count;
    probes_[end.id].width = end.scale;
}

// add pointer, distance
bool Proof::to_host() {
    if (!is_r64(0) || !is_r64(1)) return false;
    Value& to = reg(register_of(0));
    const Value& distance = reg(register_of(1));
    bool fits = to.kind == Kind::Symbol && distance.kind == Kind::Distance && distance.symbol == to.id;
    if (!fits) return false;
    to = {.kind = Kind::Host, .id = distance.id, .offset = to.offset + distance.offset};
    return true;
}

bool Proof::passes(int pointer, Access access, int width) {
    const Value& host = reg(pointer);
    const Value& count = reg(rcx);
    if (host.kind != Kind::Host || host.offset != 0 || count.kind != Kind::Symbol) return false;
    const Probe& probe = probes_[host.id];
    return probe.count.id != 0 && probe.count == count && probe.width == width &&
           (access == Access::Read || probe.access == Access::Write);
}

bool Proof::repeat() {
    if (!i_.repeats()) return false;
    int width = i_.raw.operand_width / 8;
    bool moves = i_.raw.opcode == 0xa4 || i_.raw.opcode == 0xa5;
    if ((i_.raw.opcode & 1) == 0) width = 1;
    require(passes(rdi, Access::Write, width), "a string's target is not checked");
    require(!moves || passes(rsi, Access::Read, width), "a string's source is not checked");
    forget(rcx);
    reg(rdi).kind = Kind::Passed;
    if (moves) reg(rsi).kind = Kind::Passed;
    return true;
}

// sub pointer, distance: behind the last one the instruction is done, as after a callback that did it. That
// has left other values in the scratch registers.
bool Proof::from_host() {
    if (!is_r64(0) || !is_r64(1)) return false;
    Value& to = reg(register_of(0));
    const Value& distance = reg(register_of(1));
    if (to.kind != Kind::Passed || distance.kind != Kind::Distance || distance.id != to.id) return false;
    to = fresh();
    if (reg(rdi).kind == Kind::Passed || reg(rsi).kind == Kind::Passed) return true;
    reg(scratch0) = reg(scratch1) = {.kind = Kind::Host};
    state_.slot[distance_count - 1] = fresh();
    behind_strings_.insert(next_);
    return true;
}

}  // namespace undercroft::fuzz
