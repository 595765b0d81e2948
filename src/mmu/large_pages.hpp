// SPDX-License-Identifier: Apache-2.0
// Where in the virtual address space the TLBs may hold pieces of a large page.
//
// Hardware keeps one TLB entry for a large page, and INVLPG of any address in it drops it. Our TLBs hold its
// 4 KiB pieces, which takes a scan to drop; this small hash says when there is nothing to scan for. It errs
// on the safe side: a bucket with more than one region counts for every region that selects it.

#pragma once

#include "mmu/zeroed_array.hpp"

#include <cstdint>

namespace undercroft {

class LargePages {
public:
    enum class Size : std::uint8_t { Of2M = 21, Of1G = 30 };  // log2 of the bytes

    LargePages() : buckets_{bucket_count} {}

    void note(std::uint64_t address, Size size) noexcept {
        std::uint64_t key = key_of(address, size);
        std::uint64_t& bucket = buckets_[index_of(key)];
        if (bucket != key) bucket = bucket == none ? key : several;
    }
    bool may_hold(std::uint64_t address, Size size) const noexcept {
        std::uint64_t key = key_of(address, size);
        std::uint64_t bucket = buckets_[index_of(key)];
        return bucket == key || bucket == several;
    }
    // No TLB holds a piece of the large page at `address` any more.
    void forget(std::uint64_t address, Size size) noexcept {
        std::uint64_t key = key_of(address, size);
        std::uint64_t& bucket = buckets_[index_of(key)];
        if (bucket == key) bucket = none;
    }
    // The TLBs are empty.
    void forget_all() noexcept {
        for (unsigned index = 0; index < bucket_count; index++) buckets_[index] = none;
    }

private:
    static constexpr unsigned bucket_bits = 10;
    static constexpr unsigned bucket_count = 1u << bucket_bits;
    static constexpr std::uint64_t none = 0;
    static constexpr std::uint64_t several = ~0ull;

    static constexpr std::uint64_t key_of(std::uint64_t address, Size size) {
        auto shift = static_cast<unsigned>(size);
        return address >> shift << shift | shift;  // never `none`, never `several`
    }
    static constexpr unsigned index_of(std::uint64_t key) {
        return static_cast<unsigned>(key * 0x9e3779b97f4a7c15 >> (64 - bucket_bits));
    }

    ZeroedArray<std::uint64_t> buckets_;
};

}  // namespace undercroft
