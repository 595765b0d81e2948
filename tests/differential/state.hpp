// SPDX-License-Identifier: Apache-2.0
// What a sequence is, the state it starts from, and what came of it. Plain data: it lies in memory that two
// processes share.

#pragma once

#include "layout.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace undercroft::differential {

// Of what a sequence leaves undefined, besides arithmetic flags: pointers of the last x87 instruction.
inline constexpr std::uint32_t x87_pointers_undefined = 1u << 31;
// And which fault the last instruction shows, or which of its addresses, if it has several to choose from.
inline constexpr std::uint32_t choice_of_fault_undefined = 1u << 30;

struct State {
    std::array<std::uint64_t, 16> gpr{};  // in encoding order
    std::uint64_t rip = 0;
    std::uint64_t rflags = 0x202;
    std::uint64_t fs = 0;  // bases
    std::uint64_t gs = 0;
    alignas(64) std::array<std::byte, 832> xsave{};  // standard format: x87, SSE, AVX
};

inline constexpr std::uint32_t no_fault = 0x100;  // it came to its exit
inline constexpr std::uint32_t no_end = 0x101;    // it did not end
inline constexpr std::uint32_t died = 0x102;      // the process that ran it died

// What came of it.
struct Ending {
    std::uint32_t vector = no_end;
    std::uint32_t error = 0;
    std::uint64_t address = 0;  // CR2, of a page fault
    State state;
    std::array<std::uint64_t, frame_count> hash{};  // of each frame
};

inline constexpr std::size_t longest_code = 448;
inline constexpr unsigned most_instructions = 48;

// A part of memory that is not compared.
struct Ignored {
    std::uint32_t start;  // in the image
    std::uint32_t length;
};

struct Sequence {
    std::uint64_t seed = 0;
    std::uint16_t offset = 0;  // of the code in its two pages
    std::uint16_t length = 0;
    std::uint8_t slot = 0;          // which physical pages hold the code
    std::uint8_t flush = 0;         // one: with empty TLBs
    std::uint16_t memory = 0;       // which template the other pages begin with
    std::uint8_t instructions = 0;  // as generated; the last one jumps to the exit
    std::uint8_t ignored_count = 0;
    std::array<std::uint8_t, most_instructions> instruction_length{};
    std::array<Ignored, 6> ignored{};
    std::array<std::uint8_t, longest_code> code{};
    State initial;
};

}  // namespace undercroft::differential
