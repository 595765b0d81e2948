// SPDX-License-Identifier: Apache-2.0
// The translator of one vCPU: from a guest RIP to a block, found or made.
//
// find() and what it uses is called from helpers of generated code; translate() only from the run loop.

#pragma once

#include "base/result.hpp"
#include "engine/direct/known_code.hpp"
#include "engine/translate/analyse/flags.hpp"
#include "engine/translate/cache/block_cache.hpp"
#include "engine/translate/cache/code_memory.hpp"
#include "engine/translate/decode/code_window.hpp"
#include "engine/translate/decode/decoder.hpp"
#include "engine/translate/lower/lowering.hpp"
#include "engine/translate/runtime/thunks.hpp"
#include "mmu/kept_entries.hpp"
#include "mmu/slot_set.hpp"

#include <array>
#include <memory>
#include <optional>
#include <vector>

namespace undercroft::translate {

inline constexpr unsigned trace_limit = 128;  // instructions

// When user code is executed as it is, in a guest process (docs/direct.md), if the host has one to give and
// nothing is counted. Always: for tests.
enum class DirectUse : std::uint8_t { Never, WhenComputing, Always };

struct Options {
    FlagPrecision flags = FlagPrecision::Exact;
    bool chaining = true;
    bool merging = true;                                     // accesses through one register share a check
    std::size_t code_bytes = CodeMemory::default_code_size;  // when used up, everything is forgotten;
    std::size_t record_bytes = CodeMemory::default_record_size;  // rounded up to pages, for tests
    unsigned block_limit = 64;  // instructions; one: every block is a single instruction
    // A loop that was closed so often becomes a trace (see trace.cpp); zero: none does.
    std::uint16_t trace_heat = 250;
    // Executed instructions are counted and bounded (EngineFrame::instructions), and RDTSC asks the
    // environment.
    bool counted = false;
    // A loop that changes nothing (analyse/idle.hpp) leaves with Exit::Spin when it has gone round for so
    // many ticks of the host's TSC; and when run() has been left meanwhile, for so many again. Loops are
    // found when they become traces, and not with `counted`.
    std::uint64_t spin_ticks = 60'000;
    std::uint64_t spin_again_ticks = 6'000;
    // So many PAUSEs leave with Exit::Pause; zero, or with `counted`: none do.
    std::uint32_t pause_limit = 128;
    DirectUse direct = DirectUse::WhenComputing;
    // For tests: the instruction at this address, if it is one that runs as it is, does nothing when
    // translated.
    std::optional<std::uint64_t> broken_rip{};
};

class Translator final : public FlushObserver, public direct::KnownCode {
public:
    static Result<std::unique_ptr<Translator>> create(Vcpu& vcpu, const Options& options);
    Translator(const Translator&) = delete;
    Translator& operator=(const Translator&) = delete;
    ~Translator();

    // May the instruction at vcpu.rip run translated? 64-bit code at CPL 0 or 3, no single-stepping, DF
    // clear.
    bool translatable(const Vcpu& vcpu) const noexcept {
        constexpr std::uint64_t unusual = RFLAGS::TF | RFLAGS::DF;
        return (vcpu.system_flags & unusual) == 0 && vcpu.interrupt_shadow == 0 &&
               (vcpu.cpl == 0 || vcpu.cpl == 3) && vcpu.activity == Activity::Running && vcpu.code_64bit() &&
               (vcpu.debug.dr7 & 0xff) == 0 && (vcpu.paging.cr0 & CR0::PG) != 0 && !alignment_checked(vcpu);
    }

    // RF ends with the next instruction; without hardware breakpoints, which are not translated, it may as
    // well end before it.
    static void forget_resume_flag(Vcpu& vcpu) noexcept { vcpu.system_flags &= ~RFLAGS::RF; }

    // The block at vcpu.rip in the present mode, or null: not translated, or not mapped.
    Block* find(Vcpu& vcpu, Variant variant = Variant::Merged) noexcept;
    void link(BlockExit& exit, Block& to) noexcept;
    // Is the page of `rip`, which is at `where`, the instance `id`? If so, guards know it from now on.
    bool is_page(Vcpu& vcpu, std::uint64_t rip, const Translation& where, std::uint32_t id) noexcept;
    void remember_indirect(Vcpu& vcpu, Block& block) noexcept;
    // Where generated code goes on after vcpu.rip was set: a block, or out to the run loop.
    Onward go_on_at_rip(Vcpu& vcpu) noexcept;
    const Site& last_branch(std::uint32_t record) const noexcept {
        return *static_cast<Site*>(memory_->record_at(record));
    }

    // Translates the block at vcpu.rip. Null: a fetch fault was delivered, other vCPUs had to be waited for
    // and attention comes first, or the instruction is for the single-step executor (`step_instead`).
    Block* translate(Vcpu& vcpu, bool& step_instead, Variant variant = Variant::Merged);
    // The trace that begins at vcpu.rip, in the place of the block there. Null: there is nothing to gain.
    Block* translate_trace(Vcpu& vcpu, Variant variant = Variant::Merged);
    // Discards everything if the control registers no longer are what translations assume. Call after every
    // step.
    void check_assumptions(const Vcpu& vcpu);

    Vcpu& vcpu() const noexcept { return vcpu_; }
    const Options& options() const noexcept { return options_; }
    const Thunks& thunks() const noexcept { return thunks_; }
    const CacheStatistics& statistics() const { return cache_.statistics; }
    const CodeMemory& memory() const { return *memory_; }
    std::uint64_t guest_instructions() const { return guest_instructions_; }
    void add_starts(std::uint64_t pfn, std::vector<std::uint16_t>& offsets) const override {
        cache_.add_starts(pfn, offsets);
    }
    void add_user_pages(std::vector<std::uint64_t>& pages) const override;

    // The fault point that covers host code at `pc`, or null. async-signal-safe.
    const FaultPoint* fault_point(HostCode pc) const noexcept;

    // The x87 pointers in vcpu.xsave, which are the host's after translated x87 code, as the guest is to see
    // them. (Processors differ in when they record any.)
    void correct_x87_pointers();

    void flushed_all() noexcept override;
    void flushed_non_global() noexcept override;
    void flushed_range(GuestVirtual start, std::uint64_t length) noexcept override;
    void switched_address_space(unsigned from, unsigned to, OldEntries of_to) noexcept override;
    void flushed_address_space(unsigned pcid) noexcept override;
    void frames_forgotten() noexcept override {}  // it keeps no host addresses

private:
    Translator(Vcpu& vcpu, const Options& options, std::unique_ptr<CodeMemory> memory);

    static bool alignment_checked(const Vcpu& vcpu) noexcept {
        return vcpu.cpl == 3 && (vcpu.system_flags & RFLAGS::AC) != 0 && (vcpu.paging.cr0 & CR0::AM) != 0;
    }
    void empty_cache();
    std::uint32_t page_instance(std::uint64_t rip, const Translation& where, AccessMode mode);
    bool decode(std::span<const std::byte> bytes, std::uint64_t rip, AccessMode mode, Instruction& out);
    std::span<Instruction> decode_crossing(Vcpu& vcpu, AccessMode mode, Translation& tail, bool& waited);
    void add_tail(Block& block, const Translation& tail);
    std::span<Instruction> decode_block(const Vcpu& vcpu, AccessMode mode, std::size_t limit);
    std::uint32_t peek_live(const Vcpu& vcpu, std::uint64_t target, AccessMode mode, std::uint64_t& granules);
    bool has_room(std::size_t instructions) const;
    bool make_room(std::size_t instructions);
    // translate() once it is known where the code lies, and that there is room.
    Block* translate_at(Vcpu& vcpu, const Translation& where, bool& step_instead, Variant variant);
    void translate_ahead(Vcpu& vcpu, const Block& made);
    Block* block_ahead(Vcpu& vcpu, std::uint64_t rip, bool indirectly);
    // From decoded instructions to a block that can be found; `block` has its place, granules and variant.
    Block* make_block(const Vcpu& vcpu, std::span<Instruction> instructions, const Block& block);
    // From a block for one virtual page to one for another; `properties` has its place.
    Block* copy_block(const Block& from, const Block& properties);
    Block block_at(const Vcpu& vcpu, const Translation& where, AccessMode mode);
    std::span<Instruction> decode_trace(Block& block);  // adds its granules, and whether it is idle
    bool follow(Instruction& branch, std::uint32_t page_id, std::span<const std::uint64_t> returns) const;
    // The instance of the page of `rip`, if exec_id says, or no_page_instance.
    std::uint32_t known_page(const EngineFrame& frame, AccessMode mode, std::uint64_t rip) const noexcept;
    void remember_exec(EngineFrame& frame, AccessMode mode, std::uint64_t rip, std::uint32_t id,
                       bool global) noexcept;
    template <class Action>
    void drain_non_global(Action action) noexcept;
    void forget_exec() noexcept;

    Vcpu& vcpu_;
    Options options_;
    std::unique_ptr<CodeMemory> memory_;
    BlockCache cache_;
    ThunkRecords thunk_records_;
    Thunks thunks_;
    std::size_t hot_mark_ = 0;
    Decoder decoder_;
    CodeWindow window_;
    Assumptions assumptions_;
    std::vector<Instruction> instructions_;
    std::vector<FaultPoint> fault_points_;
    BlockExit* way_on_ = nullptr;  // by which the block that was made last goes on, as far as is known
    Relocations relocations_;
    Lowering::Lists lists_;
    std::uint64_t guest_instructions_ = 0;

    // Which exec_id slots hold pages of the current address space alone, and what they have held of others.
    struct KeptExec {
        std::uint32_t id;
        std::uint16_t slot;
        std::uint16_t mode;
    };
    static_assert(SlotSet::size == EngineFrame::exec_slots);
    std::array<SlotSet, access_mode_count> non_global_;
    KeptEntries<KeptExec> kept_;
};

}  // namespace undercroft::translate
