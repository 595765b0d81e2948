// SPDX-License-Identifier: Apache-2.0
// Segment registers and descriptors. Source: Intel SDM vol. 3A sections 3.4, 3.5, 5.2, 7.2.

#pragma once

#include "base/bits.hpp"

#include <cstdint>

namespace undercroft {

// Segment registers in encoding order (mov sreg, r/m).
enum class SegmentName : std::uint8_t { ES, CS, SS, DS, FS, GS };

// The visible selector and the hidden part.
struct Segment {
    std::uint16_t selector = 0;
    // Bits 55..40 of the descriptor: type 3..0, S 4, DPL 6..5, P 7, AVL 12, L 13, D/B 14, G 15.
    // (Bits 11..8 hold the limit's top in a descriptor and are zero here.)
    std::uint16_t attributes = 0;
    std::uint32_t limit = 0;  // in bytes, granularity applied
    std::uint64_t base = 0;

    using Type = Bits<3, 0>;
    using S = Bits<4>;  // one: code or data; zero: system
    using DPL = Bits<6, 5>;
    using P = Bits<7>;
    using L = Bits<13>;
    using DB = Bits<14>;
    using G = Bits<15>;

    constexpr unsigned dpl() const { return DPL::get(attributes); }
    constexpr bool present() const { return P::get(attributes) != 0; }
    constexpr bool is_code() const { return S::get(attributes) != 0 && (Type::get(attributes) & 8) != 0; }
    constexpr bool is_64bit_code() const { return is_code() && L::get(attributes) != 0; }
};

struct TableRegister {  // GDTR, IDTR
    std::uint64_t base = 0;
    std::uint16_t limit = 0;
};

// An 8-byte descriptor as it lies in the GDT or LDT.
struct Descriptor {
    using LimitLow = Bits<15, 0>;
    using BaseLow = Bits<39, 16>;
    using Attributes = Bits<55, 40>;  // includes the limit's bits 19..16 at 51..48
    using LimitHigh = Bits<51, 48>;
    using BaseHigh = Bits<63, 56>;

    // The hidden part that loading `raw` gives; `selector` is stored as is.
    static constexpr Segment expand(std::uint64_t raw, std::uint16_t selector) {
        Segment segment;
        segment.selector = selector;
        segment.attributes = static_cast<std::uint16_t>(Attributes::get(raw) & 0xf0ff);
        auto limit = static_cast<std::uint32_t>(LimitLow::get(raw) | LimitHigh::get(raw) << 16);
        segment.limit = Segment::G::get(segment.attributes) ? (limit << 12 | 0xfff) : limit;
        segment.base = BaseLow::get(raw) | BaseHigh::get(raw) << 24;
        return segment;
    }
};

// System descriptor types in long mode (Segment::Type where S is zero).
enum class SystemType : std::uint8_t {
    Ldt = 2,
    TssAvailable = 9,
    TssBusy = 11,
    CallGate = 12,
    InterruptGate = 14,
    TrapGate = 15
};

// A 16-byte IDT gate in long mode: two quadwords.
struct Gate {
    std::uint64_t low;
    std::uint64_t high;

    using OffsetLow = Bits<15, 0>;
    using Selector = Bits<31, 16>;
    using Ist = Bits<34, 32>;
    using Type = Bits<43, 40>;
    using Zero = Bits<44>;
    using DPL = Bits<46, 45>;
    using P = Bits<47>;
    using OffsetMiddle = Bits<63, 48>;
    constexpr std::uint64_t offset() const {
        return OffsetLow::get(low) | OffsetMiddle::get(low) << 16 | (high & 0xffffffff) << 32;
    }
};

}  // namespace undercroft
