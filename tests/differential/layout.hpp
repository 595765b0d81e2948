// SPDX-License-Identifier: Apache-2.0
// The memory that sequences run in: the same virtual addresses on the bare processor and in the engines.
//
// All of it lies below 2 GiB, so that 32-bit addresses and absolute displacements reach it. A `frame` is a
// page of the image that is compared afterwards.

#pragma once

#include <array>
#include <cstdint>

namespace undercroft::differential {

inline constexpr std::uint64_t page = 4096;

inline constexpr std::uint64_t bare_frame = 0x6b7d1000;  // the bare runner's own page
inline constexpr std::uint64_t exit_a = 0x0f000000;      // where a sequence ends: as far from code_a ...
inline constexpr std::uint64_t code_a = 0x10000000;
inline constexpr std::uint64_t exit_b = 0x17000000;  // ... as from code_b, the same pages at another address
inline constexpr std::uint64_t code_b = 0x18000000;
inline constexpr std::uint64_t data = 0x20000000;
inline constexpr std::uint64_t stack = 0x30000000;

inline constexpr unsigned code_frames = 2;
inline constexpr unsigned frame_count = 9;
inline constexpr unsigned code_slots = 4;  // physical pages that take turns behind code_a and code_b

enum class Rights : std::uint8_t { Read, Write };

struct DataPage {
    std::uint64_t address;
    unsigned frame;
    Rights rights;
};

// What lies beside them is not mapped.
inline constexpr std::array<DataPage, 7> data_pages{{
    {data, 2, Rights::Write},
    {data + 1 * page, 3, Rights::Write},
    {data + 2 * page, 4, Rights::Read},
    {data + 3 * page, 5, Rights::Write},
    {data + 5 * page, 6, Rights::Write},
    {stack, 7, Rights::Write},
    {stack + page, 8, Rights::Write},
}};

// The frame that an address lies in, or -1.
constexpr int frame_of(std::uint64_t address) {
    for (std::uint64_t code : {code_a, code_b}) {
        if (address - code < code_frames * page) return static_cast<int>((address - code) / page);
    }
    for (const DataPage& each : data_pages) {
        if (address - each.address < page) return static_cast<int>(each.frame);
    }
    return -1;
}

constexpr bool is_code(std::uint64_t address) {
    return address - code_a < code_frames * page || address - code_b < code_frames * page;
}
constexpr bool is_exit(std::uint64_t address) { return address == exit_a || address == exit_b; }

}  // namespace undercroft::differential
