// SPDX-License-Identifier: Apache-2.0

#include "runtime/paging.hpp"

#include "runtime/power.hpp"
#include "runtime/print.hpp"

namespace micro {

namespace {

constexpr std::size_t pool_pages = 1024;
alignas(4096) u8 pool[pool_pages][4096];
std::size_t pool_used = 0;

constexpr u64 frame_mask = 0x000ffffffffff000;

}  // namespace

u8* allocate_page() {
    if (pool_used == pool_pages) {
        print_line("FAIL page pool is used up");
        power_off();
    }
    return pool[pool_used++];
}

volatile u64& entry(u64 virtual_address, unsigned level) {
    u64 table = read_cr3() & frame_mask;
    for (unsigned at = 4;; --at) {
        auto* entries = reinterpret_cast<volatile u64*>(table);
        volatile u64& found = entries[virtual_address >> (12 + 9 * (at - 1)) & 511];
        if (at == level) return found;
        if (!(found & PageEntry::P)) found = reinterpret_cast<u64>(allocate_page()) | user_page;
        table = found & frame_mask;
    }
}

void map(u64 virtual_address, u64 physical_address, u64 flags) {
    entry(virtual_address) = physical_address | flags;
    invlpg(virtual_address);
}

void unmap(u64 virtual_address) {
    entry(virtual_address) = 0;
    invlpg(virtual_address);
}

}  // namespace micro
