// SPDX-License-Identifier: Apache-2.0
#include "remap.hpp"

#include "console.hpp"
#include "frames.hpp"
#include "process.hpp"
#include "tlb.hpp"

namespace softtlb {
namespace {

constexpr unsigned page_count = 4;
constexpr unsigned frame_count = 6;
constexpr u64 pages = 0xffffffffc0000000;   // outside the window
constexpr u64 others = 0xffffffffd0000000;  // to fill the TLB with
constexpr unsigned own_asid = 0;

u64 frames[frame_count];
unsigned frame_of[page_count];

// Code that says which frame it lies in, that number as data, and a word to count in.
struct Contents {
    u8 code[64];  // a cache line of its own
    u64 number;
    u64 count;
};

void fill(unsigned frame) {
    frames[frame] = take_zeroed_frame();
    auto* contents = at_physical<Contents>(frames[frame]);
    *contents = {{0xb8, static_cast<u8>(frame), 0, 0, 0, 0xc3}, frame, 0};  // mov eax, frame; ret
}

u64 address_of(unsigned page) { return pages + page * page_size; }
u64 word_for(unsigned frame) { return frames[frame] | EntryLo::Write | EntryLo::Execute; }

enum class How : unsigned { Write, FlushPage, FlushAddressSpace, FlushAll, End };

// The page table first; then the TLB is told, or it forgets.
void remap(unsigned page, unsigned frame, How how) {
    frame_of[page] = frame;
    map_kernel_page(address_of(page), word_for(frame));
    u64 high = entry_hi(address_of(page), own_asid);
    switch (how) {
        case How::Write: return write_tlb(high, word_for(frame));
        case How::FlushPage: return flush_tlb_page(high);
        case How::FlushAddressSpace: return flush_tlb_address_space(own_asid);
        case How::FlushAll: return call_monitor(undercroft::software_tlb::Call::FlushAll);
        case How::End: break;
    }
}

// Other translations come, and make this one go.
void crowd(unsigned first, unsigned count) {
    for (unsigned n = first; n < first + count; n++)
        write_tlb(entry_hi(others + n * page_size, own_asid), word_for(n % frame_count));
}

// In another address space the same pages are elsewhere.
bool is_elsewhere_for_others(unsigned page) {
    unsigned other = (frame_of[page] + 1) % frame_count;
    write_tlb(entry_hi(address_of(page), own_asid + 1), word_for(other));
    set_address_space(own_asid + 1);
    bool right = reinterpret_cast<volatile Contents*>(address_of(page))->number == other;
    set_address_space(own_asid);
    return right;
}

struct Verdicts {
    bool loads = true, code = true, stores = true, spaces = true;
};

void look(unsigned page, Verdicts& verdicts) {
    u64 address = address_of(page);
    auto* contents = reinterpret_cast<volatile Contents*>(address);
    verdicts.loads = verdicts.loads && contents->number == frame_of[page];
    auto* function = reinterpret_cast<unsigned (*)()>(address);
    asm volatile("" : "+r"(function));
    verdicts.code = verdicts.code && function() == frame_of[page];
    u64 before = at_physical<Contents>(frames[frame_of[page]])->count;
    contents->count = before + 1;
    verdicts.stores =
        verdicts.stores && at_physical<volatile Contents>(frames[frame_of[page]])->count == before + 1;
}

}  // namespace

void show_remapping() {
    for (unsigned frame = 0; frame < frame_count; frame++) fill(frame);
    set_address_space(own_asid);
    for (unsigned page = 0; page < page_count; page++) remap(page, page, How::FlushAll);
    Verdicts verdicts;
    u64 state = 88172645463325252;
    auto random = [&state](unsigned below) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return static_cast<unsigned>(state % below);
    };
    for (unsigned step = 0; step < 4000; step++) {
        unsigned page = random(page_count);
        unsigned what = random(16);
        if (what < 6) remap(page, random(frame_count), How{random(static_cast<unsigned>(How::End))});
        if (what == 6) crowd(random(20000), 1 + random(80));
        if (what == 7) verdicts.spaces = is_elsewhere_for_others(page) && verdicts.spaces;
        if (what == 8 && step % 7 == 0) use_second_level(random(2) != 0);
        look(random(page_count), verdicts);
    }
    use_second_level(true);
    print_line("remap: 4000 steps, ", counters.misses, " misses in the kernel so far");
    verdict(verdicts.loads, "loads go where the latest translation says");
    verdict(verdicts.code, "code is that of the latest translation");
    verdict(verdicts.stores, "stores go where the latest translation says");
    verdict(verdicts.spaces, "another address space has translations of its own");
}

}  // namespace softtlb
