// SPDX-License-Identifier: Apache-2.0
// 4-level page-table entries. Source: Intel SDM vol. 3A section 4.5.

#pragma once

#include <cstdint>

namespace undercroft {

namespace PageEntry {
inline constexpr std::uint64_t P = 1ull << 0;
inline constexpr std::uint64_t RW = 1ull << 1;
inline constexpr std::uint64_t US = 1ull << 2;
inline constexpr std::uint64_t PWT = 1ull << 3;
inline constexpr std::uint64_t PCD = 1ull << 4;
inline constexpr std::uint64_t A = 1ull << 5;
inline constexpr std::uint64_t D = 1ull << 6;
inline constexpr std::uint64_t PS = 1ull << 7;  // a large page, in a PDPTE or PDE
inline constexpr std::uint64_t G = 1ull << 8;
inline constexpr std::uint64_t XD = 1ull << 63;
}  // namespace PageEntry

inline constexpr std::uint64_t page_size = 4096;

// Width of a guest-physical address; CPUID 0x80000008 shows it, entries with higher bits set are reserved.
inline constexpr unsigned physical_address_bits = 40;

enum class Access : std::uint8_t { Read, Write, Execute };

// Who accesses, as paging sees it; the software TLB has one array for each.
//   User: CPL 3. Supervisor: CPL 0..2 with SMAP on and AC clear (user pages are closed to data accesses).
//   SupervisorAc: CPL 0..2 with SMAP off or AC set. Implicit supervisor accesses (descriptor tables, TSS, the
//   handler's stack during delivery) count as Supervisor when SMAP is on, whatever AC is.
enum class AccessMode : std::uint8_t { User, Supervisor, SupervisorAc };
inline constexpr unsigned access_mode_count = 3;

}  // namespace undercroft
