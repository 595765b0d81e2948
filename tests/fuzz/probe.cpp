// SPDX-License-Identifier: Apache-2.0
// From a guest address to host memory: the forms of code that lowering emits for it.
#include "engine/translate/runtime/frame.hpp"
#include "proof.hpp"

namespace undercroft::fuzz {

using namespace translate;
using Kind = Value::Kind;

namespace {
constexpr std::size_t engine = offsetof(Vcpu, engine_area);
constexpr std::size_t distances = engine + offsetof(EngineFrame, distance);
static_assert(sizeof(EngineFrame::distance) == 8 * distance_count);
}  // namespace

// Forms whose effect on values matters. False: no such form.
bool Proof::special() {
    switch (i_.raw.mnemonic) {
        case ZYDIS_MNEMONIC_MOV: return move();
        case ZYDIS_MNEMONIC_LEA: return add_elements() || load_address();
        case ZYDIS_MNEMONIC_AND: return mask();
        case ZYDIS_MNEMONIC_ADD: return add_constant(1) || undo_probe() || to_host();
        case ZYDIS_MNEMONIC_SUB: return add_constant(-1) || subtract_tag() || subtract_index() || from_host();
        case ZYDIS_MNEMONIC_INC: return move_by(1);
        case ZYDIS_MNEMONIC_DEC: return counts_rounds() || move_by(-1);
        case ZYDIS_MNEMONIC_CMP: return compare();
        default: return repeat();
    }
}

bool Proof::move() {
    if (is_r64(0) && is_r64(1)) {
        const Value& from = reg(register_of(1));
        // A guest's own product, which has an address of its own.
        reg(register_of(0)) = from.kind == Kind::Scaled ? fresh() : from;
        return true;
    }
    if (is_r64(0) && is_memory(1)) return load();
    if (is_memory(0) && is_r64(1)) {
        int n = slot(memory_at(0));
        if (n < 0) return false;
        const Value& kept = reg(register_of(1));
        bool distance = kept.kind == Kind::Distance || kept.kind == Kind::Base;
        bool masked = kept.kind == Kind::Index;  // a guest's `and r11d, …` looks like a probe's
        require(n < distance_count ? distance : kept.is_guests() || masked,
                "keeps what does not belong there");
        state_.slot[static_cast<std::size_t>(n)] = masked || kept.kind == Kind::Scaled ? fresh() : kept;
        return true;
    }
    return false;
}
// Which of AbstractState::slot, or -1.
int Proof::slot(const Operand& m) {
    auto at = static_cast<std::size_t>(m.disp);
    if (!is_slot(m)) return -1;
    if (at >= distances && at < distances + 8 * distance_count && at % 8 == 0)
        return static_cast<int>((at - distances) / 8);
    if (at == engine + offsetof(EngineFrame, spill)) return distance_count;
    if (at == engine + offsetof(EngineFrame, spill_rax)) return distance_count + 1;
    if (m.disp == home_of_r10) return first_home;
    return m.disp == home_of_r10 + 8 ? first_home + 1 : -1;
}

bool Proof::load() {
    Operand from = memory_at(1);
    int to = register_of(0);
    if (int n = slot(from); n >= 0) {
        reg(to) = state_.slot[static_cast<std::size_t>(n)];
        return true;
    }
    if (to == scratch1 && is_tlb_field(from, offsetof(TlbEntry, host_page))) {
        reg(to) = {.kind = Kind::HostPage, .id = reg(to).id};
        Probe& probe = probes_[reg(to).id];
        if (reg(scratch0).kind == Kind::Bounded && reg(scratch0).id == reg(to).id) probe.resume = next_;
        return true;
    }
    if (to == scratch1 && is_tlb_field(from, offsetof(TlbEntry, distance))) {
        std::uint32_t id = reg(to).id;
        Probe& probe = probes_[id];
        Kind offset = reg(scratch0).kind;
        bool compared = (offset == Kind::Bounded || offset == Kind::End) && reg(scratch0).id == id;
        if (!compared || probe.address.kind != Kind::Symbol) return false;
        reg(to) = {
            .kind = Kind::Distance, .id = id, .symbol = probe.address.id, .offset = -probe.address.offset};
        probe.resume = next_;
        probe.by_distance = true;
        return true;
    }
    return false;
}

bool Proof::load_address() {
    const auto& m = i_.operand[1].mem;
    int to = register_of(0);
    if (m.base == ZYDIS_REGISTER_RIP) {
        auto target = reinterpret_cast<std::int64_t>(address_of(at_) + i_.raw.length) + m.disp.value;
        reg(to) = {.kind = Kind::Record, .offset = target};
        return true;
    }
    int base = m.base == ZYDIS_REGISTER_NONE ? -1 : gpr_number(m.base);
    int index = m.index == ZYDIS_REGISTER_NONE ? -1 : gpr_number(m.index);
    bool whole = is_r64(0) && i_.raw.address_width == 64;
    int scale = m.scale == 0 ? 1 : m.scale;
    auto value = whole ? sum(base, index, scale, m.disp.value) : std::nullopt;
    if (whole && to == scratch0 && base < 0 && index >= 0 && reg(index).kind == Kind::Symbol) {
        value = Value{.kind = Kind::Scaled,
                      .symbol = reg(index).id,
                      .scale = scale,
                      .offset = scale * reg(index).offset + m.disp.value};
    }
    if (!value) {
        for (int n : {base, index}) require(n < 0 || !reg(n).is_secret(), "computes with a host address");
        value = fresh();
    }
    reg(to) = *value;
    return true;
}

bool Proof::mask() {
    if (register_of(0) != scratch1 || !is_immediate(1) || i_.raw.operand_width != 32) return false;
    std::int64_t bits = i_.operand[1].imm.value.s;
    if (bits < 0) return false;
    require(!reg(scratch1).is_secret(), "masks a host address");
    reg(scratch1) = {.kind = Kind::Index, .id = next_id_++, .offset = bits};
    return true;
}

bool Proof::add_constant(int sign) {
    return is_r64(0) && is_immediate(1) && move_by(sign * i_.operand[1].imm.value.s);
}
bool Proof::move_by(std::int64_t constant) {
    if (!is_r64(0)) return false;
    Value& value = reg(register_of(0));
    require(!value.is_secret(), "adds to a host address");
    if (!value.is_guests()) value = fresh();
    value.offset += constant;
    return true;
}

// sub r10, gs:[r11 + tag]: the entry's offset of the address.
bool Proof::subtract_tag() {
    if (!is_memory(1) || register_of(0) != scratch0) return false;
    Operand tag = memory_at(1);
    bool reads = is_tlb_field(tag, offsetof(TlbEntry, read_tag));
    if (!reads && !is_tlb_field(tag, offsetof(TlbEntry, write_tag))) return false;
    require(reg(scratch0).is_guests(), "probes with what is no guest address");
    std::uint32_t id = reg(scratch1).id;
    probes_[id] = {.access = reads ? Access::Read : Access::Write, .address = reg(scratch0)};
    reg(scratch0) = {.kind = Kind::Offset, .id = id};
    return true;
}
// In a cold stub: add r10, gs:[r11 + tag] makes it the address again.
bool Proof::undo_probe() {
    if (!is_memory(1) || register_of(0) != scratch0) return false;
    Operand tag = memory_at(1);
    Value offset = reg(scratch0);
    if (offset.kind != Kind::Offset && offset.kind != Kind::Bounded) return false;
    bool writes = probes_[offset.id].access == Access::Write;
    require(is_tlb_field(tag, writes ? offsetof(TlbEntry, write_tag) : offsetof(TlbEntry, read_tag)) &&
                reg(scratch1).id == offset.id,
            "undoes another probe");
    failed_probe_ = offset.id;
    forget(scratch0);
    return true;
}
// sub r11, r10: from a host address to what stands for the base register of a group with an index.
bool Proof::subtract_index() {
    if (!is_r64(0) || !is_r64(1)) return false;
    Value& to = reg(register_of(0));
    const Value& index = reg(register_of(1));
    if (to.kind != Kind::Host || index.kind != Kind::Scaled) return false;
    to = {.kind = Kind::Base,
          .id = to.id,
          .symbol = index.symbol,
          .scale = index.scale,
          .offset = to.offset - index.offset};
    return true;
}

bool Proof::compare() {
    if (!is_r64(0) || !is_immediate(1)) return false;
    const Value& value = reg(register_of(0));
    if (value.kind != Kind::Symbol && value.kind != Kind::Offset && value.kind != Kind::End) return false;
    state_.compared_reg = static_cast<unsigned>(register_of(0));
    state_.compared_value = value;
    state_.compared_with = i_.operand[1].imm.value.s;
    compares_ = true;
    return true;
}

}  // namespace undercroft::fuzz
