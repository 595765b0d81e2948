// SPDX-License-Identifier: Apache-2.0
// Free frames form a list through their first words; behind those that were ever used memory is untouched.
#include "frames.hpp"

#include "console.hpp"
#include "tlb.hpp"

namespace softtlb {
namespace {

constexpr u64 first_frame = 16ull << 20;
constexpr u64 memory_end = 64ull << 20;

u64 free_list = 0;
u64 untouched = first_frame;

u64 take_frame() {
    if (free_list != 0) {
        u64 frame = free_list;
        free_list = *at_physical<u64>(frame);
        return frame;
    }
    if (untouched == memory_end) panic("out of frames", untouched);
    u64 frame = untouched;
    untouched += page_size;
    return frame;
}

// One instruction, so that the monitor sees what it is: a page that it has zeroed itself needs no second
// time.
void zero(u64 frame) {
    u64* to = at_physical<u64>(frame);
    u64 count = page_size / 8;
    asm volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(u64{0}) : "memory");
}

}  // namespace

u64 take_zeroed_frame() {
    u64 frame = take_frame();
    zero(frame);
    return frame;
}

void give_frame_back(u64 frame) {
    *at_physical<u64>(frame) = free_list;
    free_list = frame;
}

}  // namespace softtlb
