// SPDX-License-Identifier: Apache-2.0
// CompressedStore: where pages lie that nobody has used for long: made smaller (page_compression.hpp),
// several in a frame of the pool. Much nearer than a file: a page is back within some two microseconds.
//
// A frame holds places of one size, each for one page. It is taken from the pool with the first of them and
// given back with the last, so pages here never have more frames than pages.

#pragma once

#include "base/spin_lock.hpp"
#include "memory/frame_pool.hpp"
#include "memory/reservation.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

namespace undercroft {

class CompressedStore {
public:
    // The pool outlives it.
    explicit CompressedStore(FramePool& pool);

    // None: the page does not become small, or there is no room. What it returns fits into PmapEntry.
    std::optional<std::uint32_t> put(const std::byte* page);

    // In helpers of translated code, too. Of a place that was released meanwhile, anything.
    void get(std::uint32_t place, std::byte* page) noexcept;
    void release(std::uint32_t place) noexcept;

    std::uint64_t pages() const noexcept;
    std::uint64_t frames() const noexcept;

private:
    // Sizes and how many fit into a frame.
    static constexpr std::array<std::uint16_t, 6> sizes{256, 512, 768, 1024, 1344, 2048};
    static constexpr std::size_t largest = sizes.back();
    static constexpr unsigned place_bits = 4;  // of a place's number in its frame: up to 16 in one

    struct Group {
        std::uint32_t frame;
        std::uint32_t next;      // on the list of groups of this kind that have room, or of unused ones
        std::uint32_t previous;  // on the former
        std::uint16_t in_use;    // a bit for each place
        std::uint16_t kind;      // an index of `sizes`
    };
    static std::uint16_t all_of(unsigned kind) {
        return static_cast<std::uint16_t>((1u << 4096 / sizes[kind]) - 1);
    }
    Group& group(std::uint32_t number) const noexcept {
        return reinterpret_cast<Group*>(groups_.data())[number];
    }
    std::span<std::byte> bytes(const Group& group, std::uint32_t place) const noexcept;
    bool make_room(unsigned kind);
    void link(std::uint32_t number) noexcept;
    void unlink(std::uint32_t number) noexcept;

    FramePool& pool_;
    std::mutex putting_;  // one at a time, and protects the next
    FrameBatch stash_;
    Reservation groups_;  // counted from 1
    std::uint32_t most_groups_ = 0;
    mutable SpinLock lock_;                           // of all below, and the groups
    std::array<std::uint32_t, sizes.size()> room_{};  // of each kind, the first with room; zero: none
    std::uint32_t unused_ = 0;
    std::uint32_t fresh_ = 1;
    std::uint64_t pages_ = 0;
    std::uint64_t frames_ = 0;
};

}  // namespace undercroft
