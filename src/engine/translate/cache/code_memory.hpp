// SPDX-License-Identifier: Apache-2.0
// Memory for generated code and its records: one reservation, so that code reaches its records with 32-bit
// displacements.
//
// Code is shared memory seen through two views: one writable, one executable; never both through one address.
// It is anonymous rather than a memfd, since perf looks for names (runtime/perf_map.hpp) only there. The
// records (call sites, exits) are plain memory right behind the executable view. Both are bump-allocated and
// freed all at once. Code comes in two parts, so that what is executed lies close together: hot, and cold
// (ways into the monitor). Large pages back what is used, since code and records lie scattered and are used
// all over.

#pragma once

#include "base/backing_thread.hpp"
#include "base/result.hpp"
#include "engine/translate/emit/assembler.hpp"
#include "memory/reservation.hpp"
#include "x86/paging.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>

namespace undercroft::translate {

class CodeMemory {
public:
    // Reserved; backed as used. A whole Debian's boot translates some 150 MiB, as libraries lie at other
    // addresses in each process.
    static constexpr std::size_t default_code_size = std::size_t{64} << 20;
    static constexpr std::size_t default_record_size = std::size_t{128} << 20;

    static constexpr std::size_t record_alignment = 8;

    // Whole pages each. Errors: "code cache: reason".
    static Result<std::unique_ptr<CodeMemory>> create(std::size_t code_size = default_code_size,
                                                      std::size_t record_size = default_record_size);
    CodeMemory(const CodeMemory&) = delete;
    CodeMemory& operator=(const CodeMemory&) = delete;
    ~CodeMemory();

    enum class Part : std::uint8_t { Hot, Cold };
    // For the rest of a part; then take() what was used.
    Assembler assemble(Part part) const {
        const Region& region = region_of(part);
        return {{writable_ + region.used, region.end - region.used}, executable_ + region.used};
    }
    void take(Part part, std::size_t bytes) noexcept {
        Region& region = region_of(part);
        region.used += bytes;
        if (region.used > region.ask_at) ask_for_large_page(writable_, region);
    }
    // Code once more, in the same part; what depends on its place is left to the caller.
    HostCode copy(Part part, HostCode from, std::size_t bytes) {
        HostCode copy = executable_ + region_of(part).used;
        std::memcpy(writable_ + region_of(part).used, from, bytes);
        take(part, bytes);
        return copy;
    }
    // Where the 32-bit displacement at `site` leads.
    HostCode target_of(HostCode site) const noexcept { return site + 4 + read<std::int32_t>(site); }
    template <class T>
    T read(HostCode site) const noexcept {
        T value;
        __builtin_memcpy(&value, site, sizeof value);
        return value;
    }
    // Aligned or not, x86 makes this visible as a whole unless it straddles a cache line; the only reader is
    // the thread that stores.
    template <class T>
    void write(HostCode site, T value) noexcept {
        __builtin_memcpy(writable_ + offset_of(site), &value, sizeof value);
    }
    // In either part.
    std::size_t code_left() const { return std::min(hot_.end - hot_.used, cold_.end - cold_.used); }
    std::size_t code_used() const { return hot_.used + (cold_.used - hot_.end); }
    std::size_t hot_used() const { return hot_.used; }
    std::size_t record_left() const { return record_region_.end - record_region_.used; }
    std::size_t records_used() const { return record_region_.used; }

    bool contains(HostCode code) const { return code >= executable_ && code < executable_ + code_size_; }
    std::size_t offset_of(HostCode code) const { return static_cast<std::size_t>(code - executable_); }

    // Makes the 32-bit displacement at `site` reach `target`.
    void patch_jump(HostCode site, HostCode target) noexcept {
        write(site, static_cast<std::int32_t>(target - (site + 4)));
    }
    // The same for a JMP: where it would go to what lies behind it anyway, it becomes a NOP.
    void patch_jmp(HostCode site, HostCode target) noexcept {
        if (target == site + 4) {
            write(site - 1, std::byte{0x0f});  // nop [rax + rax]
            write(site, std::uint32_t{0x0000441f});
        } else {
            write(site - 1, std::byte{0xe9});
            patch_jump(site, target);
        }
    }
    // Of the conditional jump with its displacement at `site`.
    void invert_condition(HostCode site) noexcept { writable_[offset_of(site - 1)] ^= std::byte{1}; }

    // A record that lives until reset().
    template <class T>
    T* record() {
        static_assert(alignof(T) <= record_alignment);
        return new (take_records(sizeof(T))) T{};
    }

    // Records once more, one behind the other as they were.
    std::byte* copy_records(const void* from, std::size_t bytes) {
        std::byte* copy = take_records(bytes);
        std::memcpy(copy, from, bytes);
        return copy;
    }

    std::uint32_t record_offset(const void* record) const {
        return static_cast<std::uint32_t>(static_cast<const std::byte*>(record) - records_);
    }
    void* record_at(std::uint32_t offset) const noexcept { return records_ + offset; }

    // Forgets all code but that before `hot_mark` (the thunks), and all records.
    void reset(std::size_t hot_mark);

private:
    struct Region {  // offsets in the view, or in the records
        std::size_t used;
        std::size_t end;
        std::size_t ask_at;  // when so much is used, the next large page is worth it
    };

    CodeMemory(std::size_t code_size, std::size_t record_size)
        : code_size_{code_size},
          hot_{region(0, hot_size(code_size))},
          cold_{region(hot_size(code_size), code_size)},
          record_region_{region(0, record_size)} {}
    // Blocks have twice as much hot code as cold.
    static std::size_t hot_size(std::size_t code_size) {
        std::size_t unit = code_size >= 3 * large_page_size ? large_page_size : page_size;
        return code_size * 2 / 3 / unit * unit;
    }
    // Where a guest executes little code, large pages would be mostly empty: the first one is asked for when
    // it is half full, and then each one shortly before the one before it is full.
    static Region region(std::size_t begin, std::size_t end) {
        return {begin, end, begin % large_page_size == 0 ? begin + large_page_size / 2 : end};
    }
    void ask_for_large_page(std::byte* memory, Region& region) noexcept {
        constexpr std::size_t before = large_page_size / 8;
        std::size_t page = (region.ask_at + before) / large_page_size * large_page_size;
        if (page + large_page_size <= region.end) backing_->ask(memory + page, Backing::Collapse);
        region.ask_at = page + large_page_size - before;
    }
    std::byte* take_records(std::size_t bytes) noexcept {
        std::size_t at = (record_region_.used + record_alignment - 1) / record_alignment * record_alignment;
        record_region_.used = at + bytes;
        if (record_region_.used > record_region_.ask_at) ask_for_large_page(records_, record_region_);
        return records_ + at;
    }
    Region& region_of(Part part) { return part == Part::Hot ? hot_ : cold_; }
    const Region& region_of(Part part) const { return part == Part::Hot ? hot_ : cold_; }

    std::shared_ptr<BackingThread> backing_ = BackingThread::shared();
    std::size_t code_size_;
    Reservation view_;  // the code, to be written
    Reservation all_;   // the code, to be executed, and the records
    std::byte* writable_ = nullptr;
    HostCode executable_ = nullptr;
    std::byte* records_ = nullptr;
    Region hot_;
    Region cold_;
    Region record_region_;
};

}  // namespace undercroft::translate
