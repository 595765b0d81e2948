// SPDX-License-Identifier: Apache-2.0
// The memory that sequences run in: the same virtual addresses on the bare processor and in the engines.
//
// It lies below 2 GiB, so that 32-bit addresses and absolute displacements reach it. The code, and the data
// that is reached relative to it, lie at higher addresses besides. A `frame` is a page of the image that is
// compared afterwards.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace undercroft::differential {

inline constexpr std::uint64_t page = 4096;

inline constexpr std::uint64_t bare_frame = 0x6b7d1000;  // the bare runner's own page
inline constexpr std::uint64_t code_a = 0x10000000;
inline constexpr std::uint64_t exit_a = 0x0f000000;  // where a sequence ends
inline constexpr std::uint64_t data = 0x20000000;
inline constexpr std::uint64_t stack = 0x30000000;

inline constexpr unsigned code_frames = 2;
inline constexpr unsigned frame_count = 9;
inline constexpr unsigned code_slots = 4;  // physical pages that take turns as code

enum class Rights : std::uint8_t { Read, Write };

struct DataPage {
    std::uint64_t address;
    unsigned frame;
    Rights rights;
};

// The same pages of code at several addresses, and as far from each an exit, and the data where it says so.
// Two are such as programs and libraries have.
struct Place {
    std::uint64_t code;
    bool has_data;

    constexpr std::uint64_t moved(std::uint64_t address) const { return address - code_a + code; }
    constexpr std::uint64_t exit() const { return moved(exit_a); }
    constexpr bool has(std::uint64_t address) const { return address - code < code_frames * page; }
};
inline constexpr std::uint64_t code_step = 0x08000000;  // which the addresses are multiples of
inline constexpr std::array<Place, 4> places{
    {{code_a, true}, {code_a + code_step, false}, {0x2a5618000000, true}, {0x123410000000, true}}};

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
    for (const Place& place : places) {
        if (place.has(address)) return static_cast<int>((address - place.code) / page);
        for (const DataPage& each : data_pages) {
            if (place.has_data && address - place.moved(each.address) < page)
                return static_cast<int>(each.frame);
        }
    }
    return -1;
}

constexpr bool is_code(std::uint64_t address) {
    return std::any_of(places.begin(), places.end(), [&](const Place& place) { return place.has(address); });
}
constexpr bool is_exit(std::uint64_t address) {
    return std::any_of(places.begin(), places.end(),
                       [&](const Place& place) { return address == place.exit(); });
}

}  // namespace undercroft::differential
