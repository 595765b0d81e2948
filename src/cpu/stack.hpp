// SPDX-License-Identifier: Apache-2.0
// The stack as system instructions use it: several items checked and moved at once. Private to cpu/.
//
// Items are 2, 4 or 8 bytes; a group is checked as a whole before anything is written. Faults are those that
// item by item would meet: #SS(ext) for a non-canonical address or one beyond SS's limit, else the MMU's.
// Source: Intel SDM vol. 3A section 6.14.2 and 5.3.1; vol. 1 section 6.2.

#pragma once

#include "cpu/checks.hpp"
#include "cpu/vcpu.hpp"

#include <array>
#include <cstdint>

namespace undercroft {

using StackItems = std::array<std::uint64_t, 6>;  // [0] is at the lowest address

// How a stack is addressed: by the code's mode and SS, which may be those of a handler not yet entered.
struct StackView {
    bool is_64bit = true;
    AccessMode mode = AccessMode::Supervisor;
    std::uint32_t ext = 0;
    const Segment* segment = nullptr;  // not looked at when is_64bit

    std::uint64_t mask() const noexcept {
        if (is_64bit) return ~0ull;
        return Segment::DB::get(segment->attributes) != 0 ? 0xffffffff : 0xffff;
    }
};

inline StackView current_stack(const Vcpu& vcpu) noexcept {
    return {.is_64bit = vcpu.code_64bit(), .mode = vcpu.access_mode(), .segment = &vcpu.seg(SegmentName::SS)};
}

// Reads `count` items of `size` bytes from `pointer` upwards. Does not move RSP.
[[nodiscard]] bool read_stack(Vcpu& vcpu, const StackView& stack, std::uint64_t pointer, unsigned size,
                              unsigned count, StackItems& items, Trap& trap) noexcept;

// Writes items[first .. first + count) so that they end below `top`. Does not move RSP.
[[nodiscard]] bool write_stack(Vcpu& vcpu, const StackView& stack, std::uint64_t top, unsigned size,
                               const StackItems& items, unsigned first, unsigned count, Trap& trap) noexcept;

// The same for quadwords on a 64-bit stack that lies in one page and in the software TLB (no other address
// can be found there, so nothing else needs checking). False: nothing done, go the long way.
template <unsigned Count>
[[nodiscard]] inline bool try_read_quadwords(Vcpu& vcpu, AccessMode mode, std::uint64_t pointer,
                                             StackItems& items) noexcept {
    const TlbEntry& entry = vcpu.tlb.entry(mode, pointer);
    std::uint64_t offset = pointer - entry.read_tag;
    if (offset > page_size - Count * 8) return false;
    __builtin_memcpy(items.data(), entry.host_page + offset, Count * 8);
    return true;
}
template <unsigned First, unsigned Count>
[[nodiscard]] inline bool try_write_quadwords(Vcpu& vcpu, AccessMode mode, std::uint64_t top,
                                              const StackItems& items) noexcept {
    std::uint64_t bottom = top - Count * 8;
    const TlbEntry& entry = vcpu.tlb.entry(mode, bottom);
    std::uint64_t offset = bottom - entry.write_tag;
    if (offset > page_size - Count * 8) return false;
    __builtin_memcpy(entry.host_page + offset, items.data() + First, Count * 8);
    return true;
}

// Moves RSP by `delta`, within the stack's width.
inline void move_stack_pointer(Vcpu& vcpu, const StackView& stack, std::uint64_t delta) noexcept {
    std::uint64_t& rsp = vcpu.reg(Gpr::Rsp);
    std::uint64_t mask = stack.mask();
    std::uint64_t kept = mask == 0xffff ? rsp & 0xffffffffffff0000 : 0;
    rsp = kept | ((rsp + delta) & mask);
}

}  // namespace undercroft
