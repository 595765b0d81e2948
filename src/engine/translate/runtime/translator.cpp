// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/runtime/translator.hpp"

#include "cpu/deliver.hpp"
#include "engine/translate/runtime/callbacks.hpp"
#include "engine/translate/runtime/perf_map.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace undercroft::translate {
namespace {

// What one instruction may need at most, with its cold code and records; a block is only begun with room for
// all of it.
constexpr std::size_t code_per_instruction = 512;
constexpr std::size_t records_per_instruction = 4 * sizeof(BlockExit);
constexpr std::size_t fixed_room = 4096;
constexpr unsigned peek_limit = 8;
constexpr auto every_flag = static_cast<std::uint32_t>(RFLAGS::Arithmetic);

constexpr std::size_t room_for(std::size_t per_instruction, std::size_t instructions) {
    return fixed_room + instructions * per_instruction;
}

// Of the longest block or trace.
std::size_t instructions_for(const Options& options) {
    return options.trace_heat == 0 ? options.block_limit : std::max(options.block_limit, trace_limit);
}

Assumptions assumptions_of(const Vcpu& vcpu) {
    const PagingState& control = vcpu.paging;
    Assumptions a;
    a.vector_usable = (control.cr0 & (CR0::EM | CR0::TS)) == 0 && (control.cr4 & CR4::OSFXSR) != 0;
    a.avx_usable = a.vector_usable && (control.cr4 & CR4::OSXSAVE) != 0 && (vcpu.xcr0 & XCR0::AVX) != 0;
    a.xsave_usable = (control.cr4 & CR4::OSXSAVE) != 0 && (control.cr0 & CR0::TS) == 0;
    a.user_tsc = (control.cr4 & CR4::TSD) == 0;
    a.fsgsbase = (control.cr4 & CR4::FSGSBASE) != 0;
    a.smap = (control.cr4 & CR4::SMAP) != 0;
    return a;
}

// Guest addresses near it take 64 bits to name.
bool may_be_copied_to(std::uint64_t rip) {
    return rip >= std::uint64_t{1} << 33 && rip < std::uint64_t{1} << 47;
}

}  // namespace

Result<std::unique_ptr<Translator>> Translator::create(Vcpu& vcpu, const Options& options) {
    constexpr std::size_t below_page = page_size - 1;
    std::size_t code = (options.code_bytes + below_page) & ~below_page;
    std::size_t records = (options.record_bytes + below_page) & ~below_page;
    // More than what a block may need: a third of the code is cold; thunks, and entries of indirect branches,
    // take their part.
    std::size_t longest = instructions_for(options);
    if (code < 3 * room_for(code_per_instruction, longest) ||
        records < 2 * room_for(records_per_instruction, longest))
        return Error{"code cache: too small for one block"};
    auto memory = CodeMemory::create(code, records);
    if (!memory) return std::move(memory.error());
    return std::unique_ptr<Translator>{new Translator{vcpu, options, std::move(*memory)}};
}

Translator::Translator(Vcpu& vcpu, const Options& options, std::unique_ptr<CodeMemory> memory)
    : vcpu_{vcpu},
      options_{options},
      memory_{std::move(memory)},
      cache_{*memory_, vcpu.mmu->code_pages(), vcpu.mmu->memory().page_limit()},
      instructions_(instructions_for(options)) {
    EngineFrame& frame = *new (vcpu.engine_area.data()) EngineFrame{};
    frame.vcpu = &vcpu;
    frame.engine = this;
    thunk_records_.indirect_miss.function = indirect_missed;
    thunk_records_.attention.function = attention_wanted;
    thunks_ = make_thunks(*memory_, thunk_records_);
    hot_mark_ = memory_->hot_used();
    cache_.set_indirect_miss(thunks_.indirect_miss);
    cache_.attach(frame);
    assumptions_ = assumptions_of(vcpu);
    vcpu.mmu->add_flush_observer(*this);
}

Translator::~Translator() {
    vcpu_.mmu->remove_flush_observer(*this);
    vcpu_.mmu->code_pages().set_listener(nullptr);
}

void Translator::empty_cache() {
    cache_.clear();
    memory_->reset(hot_mark_);
    fault_points_.clear();
    relocations_.clear();
    forget_exec();
    EngineFrame::of(vcpu_).leave_exit = nullptr;
}

void Translator::check_assumptions(const Vcpu& vcpu) {
    Assumptions now = assumptions_of(vcpu);
    if (now == assumptions_) return;
    assumptions_ = now;
    empty_cache();
}

std::uint32_t Translator::page_instance(std::uint64_t rip, const Translation& where, AccessMode mode) {
    std::uint64_t virtual_page = rip >> 12;
    std::uint32_t id = cache_.find_page(virtual_page, where.physical.page(), mode);
    if (id == no_page_instance) id = cache_.add_page(virtual_page, where.physical.page(), mode);
    remember_exec(EngineFrame::of(vcpu_), mode, rip, id, where.global);
    return id;
}

void Translator::add_user_pages(std::vector<std::uint64_t>& pages) const {
    constexpr auto user = static_cast<unsigned>(AccessMode::User);
    const auto& ids = EngineFrame::of(vcpu_).exec_id[user];
    non_global_[user].for_each([&](unsigned slot) {
        if (ids[slot] != no_page_instance) pages.push_back(cache_.page(ids[slot]).virtual_page << 12);
    });
}

bool Translator::decode(std::span<const std::byte> bytes, std::uint64_t rip, AccessMode mode,
                        Instruction& out) {
    if (!decoder_.decode(bytes, rip, assumptions_, mode == AccessMode::User, out)) return false;
    bool pauses = out.mnemonic == ZYDIS_MNEMONIC_PAUSE && out.kind == Kind::Copy;
    if (pauses && options_.pause_limit != 0 && !options_.counted) out.kind = Kind::Helper;
    if (options_.broken_rip == rip && out.kind == Kind::Copy) {
        out.kind = Kind::Nop;
        out.flags = {};
        out.memory_operand = -1;
        out.may_fault = false;
    }
    return true;
}

// The instructions from vcpu.rip to the end of a block; empty when the first is not for us.
std::span<Instruction> Translator::decode_block(const Vcpu& vcpu, AccessMode mode, std::size_t limit) {
    std::size_t offset = vcpu.rip & 0xfff;
    std::size_t count = 0;
    while (count < limit && offset < page_size) {
        Instruction& i = instructions_[count];
        auto bytes = window_.bytes(offset, ZYDIS_MAX_INSTRUCTION_LENGTH);
        if (!decode(bytes, (vcpu.rip & ~0xfffull) + offset, mode, i)) break;
        ++count;
        offset += i.length;
        if (ends_block(i.kind)) break;
    }
    // The shadow of STI must be in its block.
    if (count > 0 && instructions_[count - 1].kind == Kind::Sti) instructions_[count - 1].kind = Kind::Step;
    return {instructions_.data(), count};
}

// The instruction at vcpu.rip, which crosses the end of the page: a block of its own. Empty when it is not
// for us, or when fetching the rest faults: the single-step executor finds out how.
std::span<Instruction> Translator::decode_crossing(Vcpu& vcpu, AccessMode mode, Translation& tail,
                                                   bool& waited) {
    std::array<std::byte, ZYDIS_MAX_INSTRUCTION_LENGTH> bytes;
    std::size_t here = page_size - (vcpu.rip & 0xfff);
    if (here >= bytes.size()) return {};
    Trap trap;
    GuestVirtual next{(vcpu.rip | 0xfff) + 1};
    if (!vcpu.mmu->translate(next, Access::Execute, mode, tail, trap) || tail.host == nullptr) return {};
    CodePages& pages = vcpu.mmu->code_pages();
    waited = pages.claim(tail.physical.page());
    if (waited) return {};
    pages.about_to_read(tail.physical, bytes.size() - here);
    std::memcpy(bytes.data(), window_.bytes(vcpu.rip & 0xfff, here).data(), here);
    std::memcpy(bytes.data() + here, tail.host, bytes.size() - here);
    Instruction& i = instructions_.front();
    bool decoded = decode(bytes, vcpu.rip, mode, i);
    if (!decoded || i.length <= here || i.kind == Kind::Sti) return {};
    return {&i, 1};
}

void Translator::add_tail(Block& block, const Translation& tail) {
    auto* stand_in = memory_->record<Block>();
    stand_in->pfn = tail.physical.page();
    stand_in->granules = CodePages::mask_of(0, block.offset + block.length - page_size);
    stand_in->whole = &block;
    cache_.add_tail(stand_in);
}

// Flags that may be read at `target` before they are written, looking a few instructions ahead. What was
// looked at is added to `granules`, so that a change there discards the block that relied on it.
std::uint32_t Translator::peek_live(const Vcpu& vcpu, std::uint64_t target, AccessMode mode,
                                    std::uint64_t& granules) {
    if ((target ^ vcpu.rip) >> 12 != 0) return every_flag;
    std::size_t offset = target & 0xfff;
    std::uint32_t live = 0;
    std::uint32_t killed = 0;
    Instruction i;
    for (unsigned n = 0; n < peek_limit && offset < page_size && (live | killed) != every_flag; ++n) {
        std::uint64_t rip = (target & ~0xfffull) + offset;
        if (!decode(window_.bytes(offset, ZYDIS_MAX_INSTRUCTION_LENGTH), rip, mode, i)) break;
        i.live_after = 0;
        live |= analyse_flags({&i, 1}, 0, options_.flags) & ~killed;
        killed |= i.flags.written;
        granules |= CodePages::mask_of(offset, i.length);
        offset += i.length;
        if (ends_block(i.kind)) break;
    }
    return live | (every_flag & ~killed);
}

Block* Translator::translate(Vcpu& vcpu, bool& step_instead, Variant variant) {
    step_instead = false;
    if (variant == Variant::UnmergedTrace) {
        if (Block* trace = translate_trace(vcpu, variant)) return trace;
    }
    AccessMode mode = vcpu.access_mode();
    Translation where;
    Trap trap;
    if (!vcpu.mmu->translate(GuestVirtual{vcpu.rip}, Access::Execute, mode, where, trap)) {
        ++EngineFrame::of(vcpu).instructions;
        deliver(vcpu, trap);
        return nullptr;
    }
    step_instead = where.host == nullptr;
    if (step_instead) return nullptr;
    make_room(options_.block_limit);
    Block* block = translate_at(vcpu, where, step_instead, variant);
    if (block != nullptr && variant == Variant::Merged && options_.chaining) translate_ahead(vcpu, *block);
    // A page table that is code, too, may have changed with a look ahead.
    return block != nullptr && block->valid ? block : nullptr;
}

Block* Translator::translate_at(Vcpu& vcpu, const Translation& where, bool& step_instead, Variant variant) {
    AccessMode mode = vcpu.access_mode();
    if (variant == Variant::Merged && may_be_copied_to(vcpu.rip)) {
        const Block* known = cache_.find_movable(where.physical, mode);
        if (known != nullptr) return copy_block(*known, block_at(vcpu, where, mode));
    }
    CodePages& pages = vcpu.mmu->code_pages();
    std::uint64_t pfn = where.physical.page();
    if (pages.claim(pfn)) return nullptr;
    window_.open(where.host - where.physical.page_offset(), pages, GuestPhysical{pfn << 12});
    std::size_t limit = variant == Variant::Crossing ? 1 : options_.block_limit;
    std::span<Instruction> instructions = decode_block(vcpu, mode, limit);
    Translation tail;
    bool crosses = instructions.empty();
    bool waited = false;
    if (crosses) instructions = decode_crossing(vcpu, mode, tail, waited);
    if (waited) return nullptr;
    step_instead = instructions.empty() || instructions.front().kind == Kind::Step;
    if (step_instead) {
        cache_.release_unused(pfn);
        if (tail.host != nullptr) cache_.release_unused(tail.physical.page());
        return nullptr;
    }

    Block block = block_at(vcpu, where, mode);
    block.variant = variant;
    block.length = static_cast<std::uint16_t>(instructions.back().next_rip() - vcpu.rip);
    block.granules =
        CodePages::mask_of(block.offset, std::min<std::uint64_t>(block.length, page_size - block.offset));
    if (crosses) block.tail_page_id = page_instance((vcpu.rip | 0xfff) + 1, tail, mode);
    Block* made = make_block(vcpu, instructions, block);
    if (crosses) add_tail(*made, tail);
    return made;
}

bool Translator::has_room(std::size_t instructions) const {
    return memory_->code_left() >= room_for(code_per_instruction, instructions) &&
           memory_->record_left() >= room_for(records_per_instruction, instructions);
}

// Room for a block of so many instructions. False: everything was forgotten to make it.
bool Translator::make_room(std::size_t instructions) {
    if (has_room(instructions)) return true;
    empty_cache();
    return false;
}

Block Translator::block_at(const Vcpu& vcpu, const Translation& where, AccessMode mode) {
    Block block;
    block.rip = vcpu.rip;
    block.pfn = where.physical.page();
    block.page_id = page_instance(vcpu.rip, where, mode);
    block.offset = static_cast<std::uint16_t>(vcpu.rip & 0xfff);
    block.mode = mode;
    return block;
}

Block* Translator::make_block(const Vcpu& vcpu, std::span<Instruction> instructions,
                              const Block& properties) {
    auto* block = memory_->record<Block>();
    *block = properties;
    const Instruction& last = instructions.back();
    Lowering::Edges edges{every_flag, every_flag};
    auto live_at = [&](std::uint64_t rip) { return peek_live(vcpu, rip, block->mode, block->granules); };
    bool direct =
        last.kind == Kind::JumpDirect || last.kind == Kind::JumpConditional || last.kind == Kind::CallDirect;
    bool falls = last.kind == Kind::JumpConditional || !ends_block(last.kind) || last.kind == Kind::StacClac;
    if (direct) edges.taken_live = live_at(last.branch_target());
    if (falls) edges.next_live = live_at(last.next_rip());
    for (Instruction& i : instructions) {
        if (i.kind == Kind::JumpConditional && i.follow != Follow::Nothing)
            i.exit_live = live_at(i.follow == Follow::Taken ? i.next_rip() : i.branch_target());
    }
    std::uint32_t live_out = direct && !falls ? edges.taken_live
                             : direct         ? edges.taken_live | edges.next_live
                             : falls          ? edges.next_live
                                              : every_flag;
    std::uint32_t live_in = analyse_flags(instructions, live_out, options_.flags);
    AccessGroups groups;
    if (block->variant == Variant::Merged && options_.merging && !block->idle)
        groups = merge_accesses(instructions);
    else
        for (Instruction& i : instructions) i.group = -1;
    EngineFrame& frame = EngineFrame::of(vcpu_);
    bool indirect = std::exchange(frame.reached_indirectly, false) && block->variant == Variant::Merged;
    // User code lies at other addresses in each process; kernels stay where they are.
    bool may_move = block->mode == AccessMode::User && block->variant == Variant::Merged && !block->trace &&
                    !options_.broken_rip;
    relocations_.begin_block();
    block->first_fault_point = static_cast<std::uint32_t>(fault_points_.size());
    Lowering::Settings settings{.counted = options_.counted,
                                .trace_heat = options_.trace_heat,
                                .indirect_entry = indirect,
                                .relocations = may_move ? &relocations_ : nullptr};
    Lowering lowering{*memory_, thunks_, *block, fault_points_, lists_, settings};
    lowering.lower(instructions, groups, live_in, edges);
    block->calls = last.kind == Kind::CallDirect || last.kind == Kind::CallIndirect;
    way_on_ = lowering.only_exit();
    if (block->movable) {
        block->first_relocation = relocations_.first();
        block->relocations = relocations_.count();
        block->record_bytes =
            static_cast<std::uint32_t>(memory_->records_used() - memory_->record_offset(block));
        block->fault_points = static_cast<std::uint32_t>(fault_points_.size()) - block->first_fault_point;
    } else {
        relocations_.forget_block();
    }
    cache_.add(block);
    if (indirect) cache_.remember_indirect(frame, *block);
    PerfMap::add(*block);
    guest_instructions_ += instructions.size();
    return block;
}

const FaultPoint* Translator::fault_point(HostCode pc) const noexcept {
    if (!memory_->contains(pc)) return nullptr;
    auto offset = static_cast<std::uint32_t>(memory_->offset_of(pc));
    std::size_t low = 0;
    std::size_t high = fault_points_.size();
    while (low < high) {  // in the order of their code
        std::size_t middle = (low + high) / 2;
        if (fault_points_[middle].end <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == fault_points_.size() || offset < fault_points_[low].begin) return nullptr;
    return &fault_points_[low];
}

}  // namespace undercroft::translate
