// SPDX-License-Identifier: Apache-2.0
#include "confinement.hpp"

#include "proof.hpp"

namespace undercroft::fuzz {

using namespace translate;
using Kind = Value::Kind;

namespace {
constexpr std::size_t engine = offsetof(Vcpu, engine_area);
}

std::string Proof::run() {
    enter();
    while (at_ < size() && problem_.empty()) {
        join();
        if (address_of(at_) == block_.frame_entry || address_of(at_) == block_.host_entry) {
            if (reachable_) leaves();
            enter();
        }
        if (!reachable_) enter();  // behind a jump that nothing leads to: host_entry, or a resumption
        step();
        if (problem_.empty() && reachable_ && (at_ == hot_.size() || at_ == size()))
            fail("runs out of the block");
    }
    if (problem_.empty() && !pending_.empty()) fail("jumps into an instruction");
    return problem_;
}

void Proof::step() {
    if (!i_.decode(code_at(at_))) return fail("not an instruction");
    std::string against = objection(i_);
    if (!against.empty()) return fail(against.c_str());
    next_ = at_ + i_.raw.length;
    compares_ = false;
    bool known = i_.raw.meta.category == ZYDIS_CATEGORY_UNCOND_BR ? jump()
                 : i_.raw.meta.category == ZYDIS_CATEGORY_COND_BR ? jump_conditional()
                                                                  : special() || plain();
    require(known, "not understood");
    if (i_.writes_flags()) state_.compared = compares_;
    at_ = next_;
}

// Everything else: guest instructions, flags, frame fields. Reads no secret but as an address.
bool Proof::plain() {
    for (unsigned n = 0; n < i_.raw.operand_count; ++n) {
        const auto& operand = i_.operand[n];
        if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type != ZYDIS_MEMOP_TYPE_AGEN) {
            check_access(operand, memory_at(n));
            if (memory_at(n).frame && i_.writes(operand)) overwrite(memory_at(n));
        }
        if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER || register_of(n) < 0) continue;
        if (i_.reads(operand)) require(!reg(register_of(n)).is_secret(), "computes with a host address");
    }
    for (unsigned n = 0; n < i_.raw.operand_count; ++n) {
        if (register_of(n) >= 0 && i_.writes(i_.operand[n])) forget(register_of(n));
    }
    return true;
}

// What else than special() writes a slot.
void Proof::overwrite(const Operand& m) {
    std::int64_t first = m.disp - home_of_r10;
    bool of_home = first > -8 && first < 16;
    require(!of_home || first % 8 == 0, "writes a part of a register's home");
    if (int n = slot(m); n >= 0) state_.slot[static_cast<std::size_t>(n)] = fresh();
}

void Proof::check_access(const ZydisDecodedOperand& operand, const Operand& m) {
    if (operand.mem.segment == ZYDIS_REGISTER_FS) return fail("touches the host's thread");
    if (m.frame) {
        require(is_slot(m) && frame_allows(static_cast<std::uint64_t>(m.disp), m.size, m.access),
                "touches a field that is not its own");
        return;
    }
    auto address = i_.raw.address_width == 64 ? sum(m.base, m.index, m.scale, m.disp) : std::nullopt;
    if (!address || address->kind != Kind::Host) return fail("unchecked access");
    const Probe& probe = probes_[address->id];
    require(probe.limit >= 0 && address->offset >= 0 && address->offset + m.size <= probe.size(),
            "access beyond what was checked");
    require(m.access == Access::Read || probe.access == Access::Write, "write where a read was checked");
}

// --- control flow
void Proof::leaves() {
    for (int n = 0; n < 16; ++n) {
        if (n != scratch0 && n != scratch1 && !reg(n).is_guests())
            fail("leaves with a host address in a register of the guest's");
    }
}
void Proof::flow_to(std::size_t offset) {
    auto [found, is_new] = pending_.try_emplace(offset, state_);
    if (!is_new) merge(found->second, state_);
}
void Proof::merge(AbstractState& into, const AbstractState& from) {
    for (std::size_t n = 0; n < into.reg.size(); ++n) {
        if (into.reg[n] == from.reg[n]) continue;
        bool secret = into.reg[n].is_secret() || from.reg[n].is_secret();
        into.reg[n] = secret ? Value{.kind = Kind::Host} : fresh();
    }
    for (std::size_t n = 0; n < into.slot.size(); ++n) {
        if (into.slot[n] != from.slot[n]) into.slot[n] = fresh();
    }
    into.compared = false;
    if (into.few != from.few || into.few_limit != from.few_limit) into.few = {};
}
void Proof::join() {
    auto found = pending_.find(at_);
    if (found == pending_.end()) return;
    if (reachable_) merge(found->second, state_);
    state_ = found->second;
    reachable_ = true;
    pending_.erase(found);
}

bool Proof::jump() {
    if (i_.raw.mnemonic != ZYDIS_MNEMONIC_JMP) return false;
    reachable_ = false;
    if (is_memory(0)) {
        leaves();
        return jumps_through_cache(memory_at(0));
    }
    if (!is_immediate(0)) return false;
    return go_to(address_of(at_) + i_.raw.length + i_.operand[0].imm.value.s);
}
bool Proof::jumps_through_cache(const Operand& m) {
    constexpr std::size_t bytes = EngineFrame::jump_cache_size * sizeof(HostCode);
    std::size_t cache =
        engine + offsetof(EngineFrame, jump_cache) + static_cast<std::size_t>(block_.mode) * bytes;
    return m.frame && m.base < 0 && m.index == scratch1 && m.scale == 8 && reg(scratch0).is_guests() &&
           reg(scratch1).kind == Kind::Index && reg(scratch1).offset == EngineFrame::jump_cache_size - 1 &&
           m.disp == static_cast<std::int64_t>(cache);
}
// dec dword [rip + x]: `rounds_left` of an exit of this block, whose code this is.
bool Proof::counts_rounds() {
    static const BlockExit sample;
    const auto& operand = i_.operand[0];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.mem.base != ZYDIS_REGISTER_RIP) return false;
    auto offset =
        reinterpret_cast<const std::byte*>(&sample.rounds_left) - reinterpret_cast<const std::byte*>(&sample);
    const std::byte* at = address_of(next_) + operand.mem.disp.value - offset;
    const CodeMemory& memory = translator_.memory();
    auto* first = static_cast<const std::byte*>(memory.record_at(0));
    if (at < first || at + sizeof(BlockExit) > first + memory.records_used() ||
        reinterpret_cast<std::uintptr_t>(at) % alignof(BlockExit) != 0)
        return false;
    const auto& exit = *reinterpret_cast<const BlockExit*>(at);
    return operand.size == 32 && exit.from == &block_ && exit.counts && exit.count() == address_of(at_);
}
bool Proof::jump_conditional() {
    if (!is_immediate(0)) return false;
    if (!go_to(address_of(at_) + i_.raw.length + i_.operand[0].imm.value.s)) return false;
    bool above = i_.raw.mnemonic == ZYDIS_MNEMONIC_JNBE;
    if (above && state_.compared && state_.reg[state_.compared_reg] == state_.compared_value)
        not_above(state_.reg[state_.compared_reg], state_.compared_with);
    return true;
}
void Proof::not_above(Value& value, std::int64_t limit) {
    switch (value.kind) {
        case Kind::Offset:
            value.kind = Kind::Bounded;
            require(limit >= 0 && limit < 4096, "checks nothing");
            probes_[value.id].limit = limit;
            break;
        case Kind::End: elements_end(value, limit); break;
        default: state_.few = value; state_.few_limit = limit;
    }
}
bool Proof::go_to(HostCode target) {
    if (target == translator_.thunks().attention) {
        leaves();
        return reg(scratch0).is_guests();
    }
    const Thunks& thunks = translator_.thunks();
    HostCode thunk = ends_like(target);
    if (thunk == thunks.call || thunk == thunks.call_outside || thunk == thunks.call_for_distance)
        return call(thunk);
    if (target == block_.frame_entry || target == block_.host_entry) {
        leaves();
        return true;
    }
    auto offset = offset_of(target);
    if (!offset || *offset < next_) return false;
    flow_to(*offset);
    return true;
}

// A thunk for failed checks goes on behind the check on its own, if all that is accessed lies at the distance
// of its first page: it asks for what a call that goes on there gives.
HostCode Proof::ends_like(HostCode thunk) const {
    if (!failed_probe_) return thunk;
    const Thunks& thunks = translator_.thunks();
    Access access = probes_.at(*failed_probe_).access;
    const Thunks::Missed& missed = thunks.missed[Thunks::missed_index(block_.mode, access)];
    return thunk == missed.for_host       ? thunks.call
           : thunk == missed.for_distance ? thunks.call_for_distance
                                          : thunk;
}
// To the thunk, with a record in r11.
bool Proof::call(HostCode thunk) {
    leaves();
    if (reg(scratch1).kind != Kind::Record) return false;
    auto& record = *reinterpret_cast<Callback*>(reg(scratch1).offset);
    if (record.function == exit_taken || record.function == round_closed) {
        const auto& exit = static_cast<const BlockExit&>(record);
        targets_.push_back(exit.target);
        return exit.from == &block_ && thunk == translator_.thunks().call;
    }
    const auto& site = static_cast<const Site&>(record);
    bool missed = record.function == access_missed || record.function == range_missed;
    std::optional<std::uint32_t> failed = std::exchange(failed_probe_, std::nullopt);
    if (missed != failed.has_value() || (!missed && thunk == translator_.thunks().call_for_distance))
        return false;
    if (missed) {
        const Probe& probe = probes_[*failed];
        bool wants_distance = thunk == translator_.thunks().call_for_distance;
        return wants_distance == probe.by_distance && probe.resume != 0 &&
               site.resume == address_of(probe.resume) && site.size == probe.size() &&
               site.access == probe.access;
    }
    if (record.function == string_instruction) {
        auto resume = offset_of(site.resume);
        return resume && behind_strings_.count(*resume) != 0;
    }
    if (site.resume == address_of(at_) + i_.raw.length) resume_here(site);
    return true;
}
// A helper did the instruction, or its part of it; what it may have changed is forgotten.
void Proof::resume_here(const Site& site) {
    std::optional<ResumingHelper> helper = resuming_helper(site);
    if (!helper) return;
    reachable_ = true;
    forget(scratch0);
    forget(scratch1);
    for (int n = 0; n < 16; ++n) {
        if ((helper->changes >> n & 1) != 0) forget(n);
    }
    if (helper->region == 0 && !helper->operand) return;
    // r10 is the host address of bytes that the helper has checked, or of a copy of them, and r11 is zero: as
    // good as the end of a probe.
    std::uint32_t id = next_id_++;
    std::int64_t size = helper->operand ? site.size : helper->region;
    probes_[id] = {.access = site.access, .limit = 4096 - size};
    reg(scratch0) = {.kind = Kind::Bounded, .id = id};
    reg(scratch1) = {.kind = Kind::HostPage, .id = id};
    if (!helper->operand) reg(scratch0) = {.kind = Kind::Host, .id = id};
}

std::string unproven(const Translator& translator, const Block& block, std::vector<std::uint64_t>* targets) {
    Proof proof{translator, block, {block.code_begin, block.code_end}, {block.cold_begin, block.cold_end}};
    std::string problem = proof.run();
    if (targets != nullptr) *targets = proof.targets();
    return problem;
}

std::string unproven(const Translator& translator, const Block& block, std::span<const std::byte> code) {
    return Proof{translator, block, code, {}}.run();
}

}  // namespace undercroft::fuzz
