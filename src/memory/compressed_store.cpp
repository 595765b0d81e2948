// SPDX-License-Identifier: Apache-2.0
#include "memory/compressed_store.hpp"

#include "memory/page_compression.hpp"
#include "memory/pmap_entry.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace undercroft {

CompressedStore::CompressedStore(FramePool& pool) : pool_{pool} {
    constexpr std::uint64_t most = std::uint64_t{1} << (PmapEntry::frame_bits - place_bits);
    // Frames of the stash, and one that is taken before the page's own is given back.
    if (!pool_.promise(FrameBatch::most + 1)) return;
    groups_ = Reservation{most * sizeof(Group)};
    most_groups_ = groups_ ? static_cast<std::uint32_t>(most) : 0;
}

std::optional<std::uint32_t> CompressedStore::put(const std::byte* page) {
    std::array<std::byte, largest> small;
    std::size_t size = compress_page(page, small);
    if (size == 0) return std::nullopt;
    auto kind = static_cast<unsigned>(std::lower_bound(sizes.begin(), sizes.end(), size) - sizes.begin());
    std::lock_guard putting{putting_};
    if (stash_.count == 0) pool_.take(stash_);
    std::lock_guard lock{lock_};
    if (room_[kind] == 0 && !make_room(kind)) return std::nullopt;
    std::uint32_t number = room_[kind];
    Group& chosen = group(number);
    auto place = static_cast<unsigned>(std::countr_one(chosen.in_use));
    chosen.in_use = static_cast<std::uint16_t>(chosen.in_use | 1u << place);
    if (chosen.in_use == all_of(kind)) unlink(number);
    std::memcpy(bytes(chosen, place).data(), small.data(), size);
    ++pages_;
    return number << place_bits | place;
}

// Under both locks.
bool CompressedStore::make_room(unsigned kind) {
    std::uint32_t number = unused_;
    if (number != 0) {
        unused_ = group(number).next;
    } else {
        if (fresh_ >= most_groups_) return false;
        number = fresh_++;
    }
    auto frame = static_cast<std::uint32_t>(stash_.frames[--stash_.count]);
    group(number) = {
        .frame = frame, .next = 0, .previous = 0, .in_use = 0, .kind = static_cast<std::uint16_t>(kind)};
    ++frames_;
    link(number);
    return true;
}

std::uint64_t CompressedStore::pages() const noexcept {
    std::lock_guard lock{lock_};
    return pages_;
}

std::uint64_t CompressedStore::frames() const noexcept {
    std::lock_guard lock{lock_};
    return frames_;
}

}  // namespace undercroft
