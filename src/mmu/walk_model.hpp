// SPDX-License-Identifier: Apache-2.0
// For tests: 4-level paging written down a second time, rule by rule and without regard to speed.
//
// Source: Intel SDM vol. 3A sections 4.5 to 4.7. It shares nothing with page_walk.cpp but the names of bits.

#pragma once

#include "mmu/test_machine.hpp"

#include <optional>

namespace undercroft::test {

struct ModelAnswer {
    bool ok = false;
    std::uint64_t physical = 0;
    std::uint32_t error = 0;
    unsigned leaf_level = 0;
    std::vector<std::uint64_t> used;  // physical addresses of the entries, PML4E first
};

inline std::uint64_t bits(std::uint64_t value, unsigned high, unsigned low) {
    return value >> low & (high - low == 63 ? ~0ull : (1ull << (high - low + 1)) - 1);
}

inline bool has_reserved_bit(std::uint64_t entry, unsigned level, bool no_execute) {
    if (bits(entry, 51, 40) != 0) return true;
    if (!no_execute && bits(entry, 63, 63) != 0) return true;
    if (level == 3 && bits(entry, 7, 7) != 0) return true;
    if (level == 2 && bits(entry, 7, 7) != 0 && bits(entry, 29, 13) != 0) return true;
    if (level == 1 && bits(entry, 7, 7) != 0 && bits(entry, 20, 13) != 0) return true;
    return false;
}

inline bool rights_allow(const PagingState& state, bool user_page, bool writable, bool executable,
                         Access access, AccessMode mode) {
    bool wp = bits(state.cr0, 16, 16) != 0;
    bool smep = bits(state.cr4, 20, 20) != 0;
    if (mode == AccessMode::User) {
        if (!user_page) return false;
        if (access == Access::Read) return true;
        if (access == Access::Write) return writable;
        return executable;
    }
    if (access == Access::Execute) {
        if (user_page && smep) return false;
        return executable;
    }
    if (user_page && mode == AccessMode::Supervisor) return false;
    if (access == Access::Write && wp) return writable;
    return true;
}

inline ModelAnswer model_walk(TestMachine& machine, std::uint64_t address, Access access, AccessMode mode) {
    ModelAnswer answer;
    const PagingState& state = machine.state;
    bool nxe = bits(state.efer, 11, 11) != 0;
    bool smep = bits(state.cr4, 20, 20) != 0;
    std::uint32_t about = (access == Access::Write ? 2u : 0u) | (mode == AccessMode::User ? 4u : 0u) |
                          (access == Access::Execute && (nxe || smep) ? 16u : 0u);
    bool user_page = true;
    bool writable = true;
    bool executable = true;
    std::uint64_t table = bits(state.cr3, 39, 12) << 12;
    for (unsigned level = 3;; level--) {
        unsigned shift = level == 3 ? 39 : level == 2 ? 30 : level == 1 ? 21 : 12;
        std::uint64_t at = table + 8 * bits(address, shift + 8, shift);
        std::uint64_t entry = machine.memory->is_ram(GuestPhysical{at}) ? machine.word(at) : ~0ull;
        answer.used.push_back(at);
        answer.leaf_level = level;
        if (bits(entry, 0, 0) == 0) {
            answer.error = about;
            return answer;
        }
        if (has_reserved_bit(entry, level, nxe)) {
            answer.error = about | 1u | 8u;
            return answer;
        }
        writable = writable && bits(entry, 1, 1) != 0;
        user_page = user_page && bits(entry, 2, 2) != 0;
        executable = executable && (!nxe || bits(entry, 63, 63) == 0);
        table = bits(entry, 39, 12) << 12;
        if (level == 0 || bits(entry, 7, 7) != 0) {
            answer.physical = bits(entry, 39, shift) << shift | bits(address, shift - 1, 0);
            break;
        }
    }
    answer.ok = rights_allow(state, user_page, writable, executable, access, mode);
    if (!answer.ok) answer.error = about | 1u;
    return answer;
}

}  // namespace undercroft::test
