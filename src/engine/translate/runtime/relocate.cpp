// SPDX-License-Identifier: Apache-2.0
// A translation for one virtual page, copied for another that shows the same memory.
//
// Libraries and programs lie at other addresses in each process, so most of what a system's many short
// processes execute was translated before. Its bytes are the same, or the block would have been discarded;
// what depends on its place was noted (lower/relocation.cpp).
#include "engine/translate/runtime/perf_map.hpp"
#include "engine/translate/runtime/translator.hpp"

namespace undercroft::translate {
namespace {

// From the place of a block to that of its copy.
class Move {
public:
    Move(const Block& from, const Block& to) : from_{from}, to_{to} {}

    std::uint64_t of_guest() const { return to_.rip - from_.rip; }
    std::ptrdiff_t of_records() const { return bytes(&to_) - bytes(&from_); }
    HostCode begin(Relocation::Part part) const { return begin(to_, part); }
    HostCode old_begin(Relocation::Part part) const { return begin(from_, part); }

    // What the copy has in the place of code or a record of the block; other things stay.
    HostCode place(HostCode old) const {
        if (old == nullptr) return nullptr;
        if (old >= from_.code_begin && old <= from_.code_end)
            return to_.code_begin + (old - from_.code_begin);
        if (old >= from_.cold_begin && old <= from_.cold_end)
            return to_.cold_begin + (old - from_.cold_begin);
        if (old >= bytes(&from_) && old < bytes(&from_) + from_.record_bytes) return old + of_records();
        return old;
    }

private:
    static const std::byte* bytes(const Block* block) { return reinterpret_cast<const std::byte*>(block); }
    static HostCode begin(const Block& block, Relocation::Part part) {
        switch (part) {
            case Relocation::Part::Hot: return block.code_begin;
            case Relocation::Part::Cold: return block.cold_begin;
            default: return bytes(&block);
        }
    }

    const Block& from_;
    const Block& to_;
};

template <class Record>
Record& record_in(Block& block, Relocation relocation) {
    return *reinterpret_cast<Record*>(reinterpret_cast<std::byte*>(&block) + relocation.offset());
}

void relocate(Site& site, const Move& move) {
    site.rip += move.of_guest();
    site.resume = move.place(site.resume);
}

void relocate(BlockExit& exit, const Move& move, Block& block) {
    exit.from = &block;
    exit.target += move.of_guest();
    exit.jump = move.place(exit.jump);
    exit.guard = move.place(exit.guard);
    exit.stub = move.place(exit.stub);
}

// The displacement of the exec_id slot of a page, so many pages farther on.
std::int32_t moved_exec_id(std::int32_t displacement, AccessMode mode, std::uint64_t pages) {
    std::int32_t array = exec_id_field(mode, 0).disp;
    auto slot = static_cast<std::uint64_t>((displacement - array) / 4);
    return exec_id_field(mode, (slot + pages) << 12).disp;
}

}  // namespace

Block* Translator::copy_block(const Block& from, const Block& properties) {
    Block& block = *reinterpret_cast<Block*>(memory_->copy_records(&from, from.record_bytes));
    block.rip = properties.rip;
    block.page_id = properties.page_id;
    block.incoming = nullptr;
    block.next_in_page = nullptr;
    block.indirect_entry = nullptr;
    // The entry of indirect branches runs on into what lies behind it.
    EngineFrame& frame = EngineFrame::of(vcpu_);
    bool indirect = std::exchange(frame.reached_indirectly, false);
    if (indirect && from.frame_entry == from.code_begin) {
        Assembler as = memory_->assemble(CodeMemory::Part::Hot);
        as.align(16);
        block.indirect_entry = as.here();
        emit_indirect_entry(as, thunks_, block, options_.counted);
        memory_->take(CodeMemory::Part::Hot, as.size());
    }
    auto hot = static_cast<std::size_t>(from.code_end - from.code_begin);
    auto cold = static_cast<std::size_t>(from.cold_end - from.cold_begin);
    block.code_begin = memory_->copy(CodeMemory::Part::Hot, from.code_begin, hot);
    block.code_end = block.code_begin + hot;
    block.cold_begin = memory_->copy(CodeMemory::Part::Cold, from.cold_begin, cold);
    block.cold_end = block.cold_begin + cold;
    Move move{from, block};
    block.frame_entry = move.place(from.frame_entry);
    block.host_entry = move.place(from.host_entry);

    way_on_ = nullptr;
    unsigned ways_on = 0;  // that the other block went
    for (Relocation relocation : relocations_.of(from.first_relocation, from.relocations)) {
        HostCode at = move.begin(relocation.part()) + relocation.offset();
        HostCode old = move.old_begin(relocation.part()) + relocation.offset();
        switch (relocation.kind()) {
            case Relocation::Kind::Relative:
                memory_->patch_jump(at, move.place(memory_->target_of(old)));
                break;
            case Relocation::Kind::GuestAddress:
                memory_->write(at, memory_->read<std::uint64_t>(at) + move.of_guest());
                break;
            case Relocation::Kind::ExecId:
                memory_->write(
                    at, moved_exec_id(memory_->read<std::int32_t>(at), block.mode, move.of_guest() >> 12));
                break;
            case Relocation::Kind::RecordOffset:
                memory_->write(
                    at, memory_->read<std::uint32_t>(at) + static_cast<std::uint32_t>(move.of_records()));
                break;
            case Relocation::Kind::Site: relocate(record_in<Site>(block, relocation), move); break;
            case Relocation::Kind::Exit: {
                auto& exit = record_in<BlockExit>(block, relocation);
                if (exit.to != nullptr) way_on_ = ++ways_on == 1 ? &exit : nullptr;
                relocate(exit, move, block);
                cache_.unlink(exit);
                break;
            }
        }
    }
    block.first_fault_point = static_cast<std::uint32_t>(fault_points_.size());
    for (std::uint32_t n = 0; n < from.fault_points; ++n) {
        FaultPoint point = fault_points_[from.first_fault_point + n];
        auto moved = static_cast<std::uint32_t>(block.code_begin - from.code_begin);
        point.begin += moved;
        point.end += moved;
        point.rip += move.of_guest();
        fault_points_.push_back(point);
    }
    cache_.add(&block);
    ++cache_.statistics.copies;
    if (indirect) remember_indirect(vcpu_, block);
    PerfMap::add(block);
    return &block;
}

}  // namespace undercroft::translate
