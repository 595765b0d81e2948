// SPDX-License-Identifier: Apache-2.0
// Page tables of a micro-guest: 4 KiB pages wherever a test wants them.
//
// The image lies in the identity map (supervisor, 2 MiB pages) and its user alias; tests map pages of their
// own in `window` or anywhere else that those two leave free.

#pragma once

#include "runtime/cpu.hpp"

namespace micro {

inline constexpr u64 window = 1ull << 39;

// Leaf flags that tests combine.
inline constexpr u64 kernel_page = PageEntry::P | PageEntry::RW;
inline constexpr u64 user_page = PageEntry::P | PageEntry::RW | PageEntry::US;

// A zeroed page of the image's pool; its physical address is its address. Panics when the pool is used up.
u8* allocate_page();

// Entry of `virtual_address` at `level` (1: PTE … 4: PML4E), making tables above it as needed (with US and
// RW).
volatile u64& entry(u64 virtual_address, unsigned level = 1);

// Maps one 4 KiB page and invalidates its translation.
void map(u64 virtual_address, u64 physical_address, u64 flags);
inline void map(u64 virtual_address, const void* page, u64 flags) {
    map(virtual_address, reinterpret_cast<u64>(page), flags);
}
void unmap(u64 virtual_address);

}  // namespace micro
