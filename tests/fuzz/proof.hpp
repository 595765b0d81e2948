// SPDX-License-Identifier: Apache-2.0
// The abstract interpreter behind unproven(): one Proof per block.
//
// Two files: control flow and ordinary instructions (confinement.cpp), and the forms that make up a probe of
// the software TLB and what follows from one (probe.cpp).

#pragma once

#include "abstract_state.hpp"
#include "confinement.hpp"
#include "engine/translate/decode/registers.hpp"
#include "host_instruction.hpp"
#include "resuming_helper.hpp"

#include <fmt/core.h>

#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace undercroft::fuzz {

using translate::gpr_number;
using translate::scratch0;
using translate::scratch1;

inline constexpr std::int64_t home_of_r10 = offsetof(Vcpu, gpr) + 8 * scratch0;
inline constexpr std::int64_t tlb_mask = (Tlb::entry_count - 1) * sizeof(TlbEntry);

struct Operand {  // a memory operand
    int base = -1;
    int index = -1;
    int scale = 1;
    std::int64_t disp = 0;  // of a field of the frame: its offset in the vCPU
    bool frame = false;
    unsigned size = 0;
    Access access = Access::Read;
};

class Proof {
public:
    // The code of both parts lies at block.code_begin and block.cold_begin; `cold` may be empty.
    Proof(const translate::Translator& translator, const translate::Block& block,
          std::span<const std::byte> hot, std::span<const std::byte> cold)
        : translator_{translator}, block_{block}, hot_{hot}, cold_{cold} {}

    std::string run();
    // Where the block's direct exits go.
    const std::vector<std::uint64_t>& targets() const { return targets_; }

private:
    // --- places: offsets in the hot part and, behind it, in the cold one
    std::size_t size() const { return hot_.size() + cold_.size(); }
    translate::HostCode address_of(std::size_t offset) const {
        return offset < hot_.size() ? block_.code_begin + offset : block_.cold_begin + (offset - hot_.size());
    }
    std::optional<std::size_t> offset_of(translate::HostCode address) const {
        if (address >= block_.code_begin && address < block_.code_begin + hot_.size())
            return static_cast<std::size_t>(address - block_.code_begin);
        if (!cold_.empty() && address >= block_.cold_begin && address < block_.cold_begin + cold_.size())
            return hot_.size() + static_cast<std::size_t>(address - block_.cold_begin);
        return std::nullopt;
    }
    std::span<const std::byte> code_at(std::size_t offset) const {
        return offset < hot_.size() ? hot_.subspan(offset) : cold_.subspan(offset - hot_.size());
    }

    // --- values
    Value fresh() { return {.id = next_id_++}; }
    void enter() {
        for (Value& value : state_.reg) value = fresh();
        for (Value& value : state_.slot) value = fresh();
        state_.compared = false;
        reachable_ = true;
    }
    Value& reg(int n) { return state_.reg[static_cast<std::size_t>(n)]; }
    void forget(int n) { reg(n) = fresh(); }
    void fail(const char* what) {
        if (problem_.empty()) problem_ = fmt::format("+{:#x}: {}", at_, what);
    }
    void require(bool holds, const char* what) {
        if (!holds) fail(what);
    }

    // The value of base + index + disp, where it is one that we follow.
    std::optional<Value> sum(int base, int index, int scale, std::int64_t disp) {
        if (base < 0) return std::nullopt;
        Value a = reg(base);
        if (index >= 0 && a.kind == Value::Kind::Base) {
            Value b = reg(index);
            if (b.kind != Value::Kind::Symbol || b.id != a.symbol || scale != a.scale) return std::nullopt;
            return Value{.kind = Value::Kind::Host, .id = a.id, .offset = a.offset + scale * b.offset + disp};
        }
        if (scale != 1) return std::nullopt;
        if (index < 0) {
            bool moves = a.kind == Value::Kind::Symbol || a.kind == Value::Kind::Host;
            if (!moves) return std::nullopt;
            a.offset += disp;
            return a;
        }
        Value b = reg(index);
        if (b.kind == Value::Kind::Bounded || b.kind == Value::Kind::Symbol) std::swap(a, b);
        if (a.kind == Value::Kind::Bounded && b.kind == Value::Kind::HostPage && a.id == b.id)
            return Value{.kind = Value::Kind::Host, .id = a.id, .offset = disp};
        if (a.kind == Value::Kind::Symbol && b.kind == Value::Kind::Distance && b.symbol == a.id)
            return Value{.kind = Value::Kind::Host, .id = b.id, .offset = a.offset + b.offset + disp};
        return std::nullopt;
    }

    // --- one instruction
    void step();
    int register_of(unsigned n) const {
        const auto& operand = i_.operand[n];
        return operand.type == ZYDIS_OPERAND_TYPE_REGISTER ? gpr_number(operand.reg.value) : -1;
    }
    bool is_r64(unsigned n) const {
        return i_.operand[n].type == ZYDIS_OPERAND_TYPE_REGISTER &&
               ZydisRegisterGetClass(i_.operand[n].reg.value) == ZYDIS_REGCLASS_GPR64;
    }
    bool is_memory(unsigned n) const { return i_.operand[n].type == ZYDIS_OPERAND_TYPE_MEMORY; }
    bool is_immediate(unsigned n) const { return i_.operand[n].type == ZYDIS_OPERAND_TYPE_IMMEDIATE; }

    Operand memory_at(unsigned n) const {
        const auto& operand = i_.operand[n];
        Operand m;
        m.base = operand.mem.base == ZYDIS_REGISTER_NONE ? -1 : gpr_number(operand.mem.base);
        m.index = operand.mem.index == ZYDIS_REGISTER_NONE ? -1 : gpr_number(operand.mem.index);
        m.scale = operand.mem.scale == 0 ? 1 : operand.mem.scale;
        m.disp = operand.mem.disp.value;
        m.frame = operand.mem.segment == ZYDIS_REGISTER_GS;
        if (m.frame) m.disp += translate::gs_origin;
        m.size = operand.size / 8u;
        m.access = i_.writes(operand) ? Access::Write : Access::Read;
        return m;
    }
    // Emitted for the frame: gs:[constant], or gs:[r11 + constant].
    static bool is_slot(const Operand& m) { return m.frame && m.base < 0 && m.index < 0; }
    bool is_tlb_field(const Operand& m, std::size_t field) {
        return m.frame && m.base == scratch1 && m.index < 0 && reg(scratch1).kind == Value::Kind::Index &&
               reg(scratch1).offset == tlb_mask &&
               m.disp == static_cast<std::int64_t>(translate::gs_origin + translate::tlb_offset(block_.mode) +
                                                   field);
    }

    // --- probe.cpp: forms whose effect on values matters. False: no such form.
    bool special();
    bool move();
    bool load();
    bool load_address();
    bool mask();
    bool add_constant(int sign);
    bool move_by(std::int64_t constant);
    bool subtract_tag();
    bool undo_probe();
    bool subtract_index();
    bool compare();
    static int slot(const Operand& m);  // which of AbstractState::slot, or -1

    // --- string.cpp: a string instruction on elements that have been checked
    bool add_elements();
    void elements_end(const Value& end, std::int64_t limit);
    bool to_host();
    bool repeat();
    bool passes(int pointer, Access access, int width);
    bool from_host();

    // --- confinement.cpp
    bool plain();
    void overwrite(const Operand& m);
    void check_access(const ZydisDecodedOperand& operand, const Operand& m);
    void leaves();
    void flow_to(std::size_t offset);
    void merge(AbstractState& into, const AbstractState& from);
    void join();
    bool jump();
    bool jumps_through_cache(const Operand& m);
    bool jump_conditional();
    bool counts_rounds();
    void not_above(Value& value, std::int64_t limit);
    bool go_to(translate::HostCode target);
    translate::HostCode ends_like(translate::HostCode thunk) const;
    bool call(translate::HostCode thunk);
    void resume_here(const translate::Site& site);

    const translate::Translator& translator_;
    const translate::Block& block_;
    std::span<const std::byte> hot_;
    std::span<const std::byte> cold_;
    std::vector<std::uint64_t> targets_;
    std::string problem_;
    AbstractState state_;
    bool reachable_ = true;
    bool compares_ = false;
    std::uint32_t next_id_ = 1;
    std::map<std::uint32_t, Probe> probes_;
    std::map<std::size_t, AbstractState> pending_;  // what jumps bring to places further on
    std::optional<std::uint32_t> failed_probe_;
    std::set<std::size_t> behind_strings_;  // where a callback that did the instruction may go on
    HostInstruction i_;
    std::size_t at_ = 0;
    std::size_t next_ = 0;
};

}  // namespace undercroft::fuzz
