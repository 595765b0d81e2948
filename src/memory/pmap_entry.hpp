// SPDX-License-Identifier: Apache-2.0
// PmapEntry: what the monitor knows of one page of a machine's physical memory, as one word.

#pragma once

#include "base/bits.hpp"
#include "x86/address.hpp"

#include <cstdint>

namespace undercroft {

enum class PageState : std::uint8_t {
    Unbacked,    // never written, or not RAM at all: the regions tell
    Private,     // has a frame of its own
    Zero,        // has been written, and is all zeroes now: has none
    Swapped,     // is in the swap file
    Shared,      // shows a frame that others show, too, and nobody writes
    Compressed,  // is kept in less than a frame (CompressedStore)
    Ballooned,   // given up by the guest, which does without it: has none, and is zero if it is used all the
                 // same
};

// Those who want to know whether a page has been used since they last looked.
enum class UseWatcher : std::uint8_t { Reclaim, Sharing };

class PmapEntry {
public:
    static constexpr unsigned frame_bits = 27;  // 512 GiB of frames

    constexpr PmapEntry() = default;  // Unbacked
    static constexpr PmapEntry from_word(std::uint32_t word) { return PmapEntry{word}; }
    static constexpr PmapEntry of(PageState state) {
        return PmapEntry{State::set(std::uint32_t{0}, static_cast<std::uint32_t>(state))};
    }
    static constexpr PmapEntry of(PageState state, MachineFrame frame) {
        return PmapEntry{Number::set(of(state).word_, static_cast<std::uint32_t>(frame))};
    }

    static constexpr PmapEntry swapped(std::uint32_t slot) {
        return PmapEntry{Number::set(of(PageState::Swapped).word_, slot)};
    }
    static constexpr PmapEntry compressed(std::uint32_t place) {
        return PmapEntry{Number::set(of(PageState::Compressed).word_, place)};
    }

    constexpr std::uint32_t word() const { return word_; }
    constexpr PageState state() const { return static_cast<PageState>(State::get(word_)); }
    constexpr bool is_private() const { return state() == PageState::Private; }
    constexpr bool is_shared() const { return state() == PageState::Shared; }
    constexpr bool is_swapped() const { return state() == PageState::Swapped; }
    constexpr std::uint32_t slot() const { return Number::get(word_); }
    constexpr bool is_compressed() const { return state() == PageState::Compressed; }
    constexpr std::uint32_t place() const { return Number::get(word_); }
    // Its contents are not in a frame at the moment.
    constexpr bool is_out() const { return is_swapped() || is_compressed(); }
    // A bit for each watcher, set since it has last looked: of a private page, a TLB was filled with it.
    static constexpr std::uint32_t used_since(UseWatcher watcher) {
        return std::uint32_t{1} << (frame_bits + static_cast<unsigned>(watcher));
    }
    static constexpr std::uint32_t used = std::uint32_t{3} << frame_bits;  // of all
    constexpr PmapEntry in_use() const { return PmapEntry{word_ | used}; }
    constexpr bool is_used_to_all() const { return (word_ & used) == used; }
    constexpr bool was_used(UseWatcher watcher) const { return (word_ & used_since(watcher)) != 0; }
    // Of a page that is private or shared.
    constexpr MachineFrame frame() const { return MachineFrame{Number::get(word_)}; }

    constexpr bool operator==(const PmapEntry&) const = default;

private:
    using Number = Bits<frame_bits - 1, 0>;
    using State = Bits<31, 29>;

    constexpr explicit PmapEntry(std::uint32_t word) : word_{word} {}

    std::uint32_t word_ = 0;
};

}  // namespace undercroft
