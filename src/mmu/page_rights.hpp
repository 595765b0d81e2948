// SPDX-License-Identifier: Apache-2.0
// What a translation allows, and to whom. Source: Intel SDM vol. 3A section 4.6.

#pragma once

#include "mmu/paging_state.hpp"
#include "x86/paging.hpp"

#include <array>
#include <cstdint>

namespace undercroft {

// One byte that sums up all levels of a walk.
namespace PageRights {
inline constexpr std::uint8_t Write = 1u << 0;             // R/W set at all levels
inline constexpr std::uint8_t User = 1u << 1;              // U/S set at all levels
inline constexpr std::uint8_t NoExecute = 1u << 2;         // XD set at any level (and EFER.NXE)
inline constexpr std::uint8_t Dirty = 1u << 3;             // the leaf's D is set
inline constexpr std::uint8_t Global = 1u << 4;            // the leaf's G is set, and CR4.PGE
inline constexpr std::uint8_t Large2M = 1u << 5;           // the leaf maps 2 MiB
inline constexpr std::uint8_t Large1G = 1u << 6;           // the leaf maps 1 GiB
inline constexpr std::uint8_t All = Write | User | Dirty;  // with paging off
}  // namespace PageRights

namespace detail {

constexpr bool decide(unsigned rights, Access access, AccessMode mode, bool write_protect, bool smep) {
    bool user_page = (rights & PageRights::User) != 0;
    bool writable = (rights & PageRights::Write) != 0;
    if (access == Access::Execute && (rights & PageRights::NoExecute) != 0) return false;
    if (mode == AccessMode::User) return user_page && (access != Access::Write || writable);
    if (access == Access::Execute) return !(smep && user_page);
    if (mode == AccessMode::Supervisor && user_page) return false;  // SMAP
    return access != Access::Write || writable || !write_protect;
}

// Bit r of decisions[WP, SMEP][mode][access] answers for the three low bits r of the rights.
using Decisions = std::array<std::array<std::array<std::uint8_t, 4>, 4>, 4>;
constexpr Decisions make_decisions() {
    Decisions decisions{};
    for (unsigned control = 0; control < 4; control++)
        for (unsigned mode = 0; mode < access_mode_count; mode++)
            for (unsigned access = 0; access < 3; access++)
                for (unsigned rights = 0; rights < 8; rights++)
                    if (decide(rights, Access{static_cast<std::uint8_t>(access)},
                               AccessMode{static_cast<std::uint8_t>(mode)}, (control & 2) != 0,
                               (control & 1) != 0))
                        decisions[control][mode][access] |= static_cast<std::uint8_t>(1u << rights);
    return decisions;
}
inline constexpr Decisions decisions = make_decisions();

}  // namespace detail

// Whether an access to a page with `rights` is allowed now. That a write needs D set first is not looked at.
inline bool permits(std::uint8_t rights, Access access, AccessMode mode, const PagingState& state) noexcept {
    unsigned control = (state.write_protect() ? 2u : 0u) | (state.smep() ? 1u : 0u);
    unsigned allowed = detail::decisions[control][static_cast<unsigned>(mode)][static_cast<unsigned>(access)];
    return (allowed >> (rights & 7u) & 1u) != 0;
}

}  // namespace undercroft
