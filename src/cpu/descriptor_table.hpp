// SPDX-License-Identifier: Apache-2.0
// Finding, reading and marking descriptors in the GDT and LDT. Private to cpu/.
//
// Source: Intel SDM vol. 3A sections 3.4.5, 3.5 and 8.1.2.2 (the accessed bit).

#pragma once

#include "cpu/checks.hpp"
#include "cpu/system_memory.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace undercroft {

// Where the descriptor of `selector` lies. False when its `size` bytes are not within its table.
[[nodiscard]] inline bool locate_descriptor(const Vcpu& vcpu, std::uint16_t selector, unsigned size,
                                            std::uint64_t& address) noexcept {
    bool local = (selector & 4) != 0;
    if (local && !vcpu.ldtr.present()) return false;
    std::uint64_t limit = local ? vcpu.ldtr.limit : vcpu.gdtr.limit;
    std::uint64_t offset = selector & 0xfff8u;
    if (offset + size - 1 > limit) return false;
    address = (local ? vcpu.ldtr.base : vcpu.gdtr.base) + offset;
    if (!vcpu.long_mode()) address &= 0xffffffff;
    return true;
}

// Reads a code or data segment's descriptor; #GP(selector + ext) when it is not within its table.
[[nodiscard]] inline bool read_descriptor(Vcpu& vcpu, std::uint16_t selector, std::uint32_t ext,
                                          std::uint64_t& raw, Trap& trap) noexcept {
    std::uint64_t address = 0;
    if (!locate_descriptor(vcpu, selector, 8, address)) {
        return raise(trap, Vector::GP, selector_error(selector) | ext);
    }
    return read_system(vcpu, address, raw, trap);
}

// Sets the accessed bit in memory.
[[nodiscard]] bool set_accessed(Vcpu& vcpu, std::uint16_t selector, std::uint64_t raw, Trap& trap) noexcept;

// Loading a code or data segment sets its accessed bit, if it is not set. The last check before the
// instruction's effects, because the write may fault.
[[nodiscard]] inline bool mark_accessed(Vcpu& vcpu, std::uint16_t selector, std::uint64_t raw,
                                        Trap& trap) noexcept {
    constexpr std::uint64_t accessed = 1ull << 40;
    return (raw & accessed) != 0 ? true : set_accessed(vcpu, selector, raw, trap);
}

// The hidden part that loading leaves: with the accessed bit set.
// Put together in registers, because a copy of fields just written one by one waits for the stores.
inline Segment loaded_segment(std::uint64_t raw, std::uint16_t selector) noexcept {
    constexpr std::uint64_t granularity = 1ull << 55;
    std::uint64_t attributes = (raw >> 40 & 0xf0ff) | 1;
    std::uint64_t limit = Descriptor::LimitLow::get(raw) | Descriptor::LimitHigh::get(raw) << 16;
    if ((raw & granularity) != 0) limit = limit << 12 | 0xfff;
    std::uint64_t visible = selector | attributes << 16 | limit << 32;
    std::uint64_t base = Descriptor::BaseLow::get(raw) | Descriptor::BaseHigh::get(raw) << 24;
    return std::bit_cast<Segment>(std::array{visible, base});
}
static_assert(offsetof(Segment, attributes) == 2 && offsetof(Segment, limit) == 4 &&
                  offsetof(Segment, base) == 8,
              "loaded_segment() puts the fields together by their places");

// A code segment for 64-bit code has L set and D clear; both set are reserved.
inline bool has_reserved_size(const Vcpu& vcpu, const Segment& code) noexcept {
    return vcpu.long_mode() && Segment::L::get(code.attributes) != 0 &&
           Segment::DB::get(code.attributes) != 0;
}

inline bool is_conforming(const Segment& code) noexcept {
    return (Segment::Type::get(code.attributes) & 4) != 0;
}
inline bool is_writable_data(const Segment& segment) noexcept {
    return Segment::S::get(segment.attributes) != 0 && (Segment::Type::get(segment.attributes) & 0xa) == 2;
}
inline bool is_readable(const Segment& segment) noexcept {  // data, or code that may be read
    return Segment::S::get(segment.attributes) != 0 && (Segment::Type::get(segment.attributes) & 0xa) != 8;
}

// A target address in `code`: #GP(0) when not canonical in 64-bit code, or beyond the limit elsewhere.
[[nodiscard]] inline bool check_target(const Vcpu& vcpu, const Segment& code, std::uint64_t rip,
                                       Trap& trap) noexcept {
    bool good = vcpu.long_mode() && code.is_64bit_code() ? is_canonical(rip) : rip <= code.limit;
    return good ? true : raise(trap, Vector::GP, 0);
}

}  // namespace undercroft
