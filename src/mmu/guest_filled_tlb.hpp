// SPDX-License-Identifier: Apache-2.0
// The TLB of a guest that fills it by itself (docs/softtlb.md), and the monitor's larger one behind it.
//
// The first is small, as a processor's: the 64 entries that the guest has written last, replaced in turn.
// So whatever one instruction needs fits, and it gets done. The second is what the chapter and Disco call the
// software TLB: it remembers far more of what the guest has written, so that a miss of the first need not go
// to the guest.
//
// What is in here follows from the guest's writes and flushes alone, not from what it accesses. So a miss,
// which the guest can see, comes at the same instruction with every engine; those who keep translations
// elsewhere have to drop what insert() says is gone.
//
// Owned by one vCPU. Called from helpers of translated code: general registers only.

#pragma once

#include "mmu/zeroed_array.hpp"
#include "x86/software_tlb.hpp"

#include <array>
#include <cstdint>

namespace undercroft {

class GuestFilledTlb {
public:
    static constexpr unsigned first_level_entries = 64;
    static constexpr unsigned way_count = 4;
    static constexpr unsigned set_bits = 12;
    static constexpr unsigned second_level_entries = way_count << set_bits;

    struct Entry {
        std::uint64_t key;         // page | who(), see there
        std::uint64_t low;         // EntryLo
        std::uint64_t generation;  // of its address space; zero: never filled, or removed
    };
    struct Found {
        const Entry* entry = nullptr;  // valid until the next change
        bool in_second_level = false;
    };
    // The pages of entries that had to make room; 1 where there was none.
    using Displaced = std::array<std::uint64_t, 2>;
    static constexpr std::uint64_t no_page = 1;

    GuestFilledTlb() noexcept { flush_all(); }

    Found find(std::uint64_t page, unsigned asid) const noexcept;
    Displaced insert(std::uint64_t page, unsigned asid, std::uint64_t low) noexcept;
    // The page's entry in this address space, and a global one.
    void remove(std::uint64_t page, unsigned asid) noexcept;
    void flush_address_space(unsigned asid) noexcept { generations_[asid] = ++last_generation_; }
    void flush_all() noexcept;
    void use_second_level(bool use) noexcept;

private:
    using Set = std::array<Entry, way_count>;

    // Below the page's address: the address space, or the number behind the last one.
    static constexpr unsigned global = software_tlb::asid_count;
    static std::uint64_t key_of(std::uint64_t page, unsigned who) noexcept { return page | who; }
    static unsigned who(std::uint64_t key) noexcept { return key & (2 * global - 1); }
    // Programs lie at the same addresses in all address spaces: their pages must not meet in one set.
    static unsigned index_of(std::uint64_t key) noexcept {
        std::uint64_t number = (key >> 12) + who(key) * 0x9e5ull;
        return static_cast<unsigned>(number ^ number >> set_bits ^ number >> 2 * set_bits) &
               ((1u << set_bits) - 1);
    }
    bool alive(const Entry& entry) const noexcept { return entry.generation == generations_[who(entry.key)]; }
    const Entry* find_in_set(std::uint64_t key) const noexcept;
    std::uint64_t insert_first(const Entry& entry) noexcept;
    std::uint64_t insert_second(const Entry& entry) noexcept;
    void remove_key(std::uint64_t key) noexcept;

    std::array<Entry, first_level_entries> first_{};
    unsigned next_ = 0;
    bool second_level_ = true;
    ZeroedArray<Set> sets_{1u << set_bits};
    std::array<std::uint64_t, software_tlb::asid_count + 1> generations_{};
    std::uint64_t last_generation_ = 0;
};

}  // namespace undercroft
