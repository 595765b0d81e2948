// SPDX-License-Identifier: Apache-2.0
// What helpers of translated code call.
#include "memory/compressed_store.hpp"

#include "memory/page_compression.hpp"

namespace undercroft {

std::span<std::byte> CompressedStore::bytes(const Group& group, std::uint32_t place) const noexcept {
    std::size_t size = sizes[group.kind];
    std::size_t offset = place * size;
    if (offset > 4096 - size) offset = 0;  // not a place of this group any more
    return {pool_.host(MachineFrame{group.frame}) + offset, size};
}

void CompressedStore::get(std::uint32_t place, std::byte* page) noexcept {
    constexpr std::uint32_t within = (1u << place_bits) - 1;
    lock_.lock();
    std::span<const std::byte> small = bytes(group(place >> place_bits), place & within);
    lock_.unlock();
    expand_page(small, page);
}

void CompressedStore::release(std::uint32_t place) noexcept {
    constexpr std::uint32_t within = (1u << place_bits) - 1;
    std::uint32_t number = place >> place_bits;
    lock_.lock();
    Group& its = group(number);
    bool had_room = its.in_use != all_of(its.kind);
    its.in_use = static_cast<std::uint16_t>(its.in_use & ~(1u << (place & within)));
    --pages_;
    std::uint32_t frame = 0;
    if (its.in_use != 0) {
        if (!had_room) link(number);
    } else {
        if (had_room) unlink(number);
        frame = its.frame;
        its.next = unused_;
        unused_ = number;
        --frames_;
    }
    lock_.unlock();
    if (frame != 0) pool_.give_back(MachineFrame{frame});
}

void CompressedStore::link(std::uint32_t number) noexcept {
    Group& its = group(number);
    its.previous = 0;
    its.next = room_[its.kind];
    if (its.next != 0) group(its.next).previous = number;
    room_[its.kind] = number;
}

void CompressedStore::unlink(std::uint32_t number) noexcept {
    const Group& its = group(number);
    if (its.next != 0) group(its.next).previous = its.previous;
    if (its.previous != 0)
        group(its.previous).next = its.next;
    else
        room_[its.kind] = its.next;
}

}  // namespace undercroft
