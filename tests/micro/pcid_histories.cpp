// SPDX-License-Identifier: Apache-2.0
// Address spaces with PCIDs in turn: random edits of page tables, switches with bit 63 and without, flushes
// of all kinds, code that changes. What is loaded and what is executed must be the present translation after
// a flush, and that or an earlier one of the same address space before it, always with the bytes of now.
//
// Not in lockstep: which old translations are left is each engine's own. Source: Intel SDM vol. 3A
// section 4.10.

#include "runtime/paging.hpp"
#include "runtime/random.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(use, "mov rbx, [rdi + 64]\n call rdi");

namespace {

constexpr u64 keep = 1ull << 63;
constexpr u64 there = window + (9ull << 30);
enum Type : u64 { OnePage, OneSpace, Everything, AllButGlobal };

u64 root;  // of the tables that all address spaces here have in common

constexpr unsigned page_count = 3, frame_count = 6, absent = frame_count;
constexpr u64 pcids[] = {1, 2, 0x801, 0x11};
constexpr unsigned space_count = sizeof pcids / sizeof pcids[0];
unsigned current = 0;

u64 address_of(unsigned page) { return there + page * 0x1000; }

// Each frame: `mov eax, value; ret`, and the value as data; its low bits are the frame's number.
u8* frames[frame_count];
u8 value_of[frame_count];
void write_frame(unsigned number, unsigned version) {
    value_of[number] = static_cast<u8>(number | version << 3);
    volatile u8* frame = frames[number];
    frame[0] = 0xb8;
    frame[5] = 0xc3;
    frame[1] = value_of[number];
    frame[64] = value_of[number];
}

// What each address space may have in mind of each page: a bit per frame, and one for none.
unsigned held[page_count];
unsigned possible[space_count][page_count];

void note() {
    for (unsigned page = 0; page < page_count; ++page) possible[current][page] |= 1u << held[page];
}
void forget(unsigned space) {
    for (unsigned& mask : possible[space]) mask = 0;
    note();
}
void set_entry(unsigned page, unsigned frame) {
    held[page] = frame;
    entry(address_of(page)) = frame == absent ? 0 : address(frames[frame]) | kernel_page;
    note();
}
void go(unsigned space, u64 flag) {
    write_cr3(root | pcids[space] | flag);
    current = space;
    if (flag == 0) forget(space);
    note();
}
void invalidate_page(unsigned page) {
    invlpg(address_of(page));
    possible[current][page] = 0;
    note();
}
void invalidate_spaces(u64 type, unsigned space, unsigned page) {
    invpcid(type, pcids[space], address_of(page));
    if (type == OnePage) possible[space][page] = 0;
    if (type == OneSpace) forget(space);
    if (type == Everything || type == AllButGlobal)
        for (unsigned each = 0; each < space_count; ++each) forget(each);
    note();
}

void look(unsigned page, Tally& tally, u64 step) {
    Registers in;
    in.rdi = address_of(page);
    const Outcome out = run(use, in);
    unsigned& allowed = possible[current][page];
    if (out.done()) {
        for (u64 got : {out.registers.rbx & 0xff, out.registers.rax}) {
            tally.expect(allowed >> (got & 7) & 1, 1, step, got);
            tally.expect(got, value_of[got & 7], step, ~got);
        }
        return;
    }
    tally.expect(out.vector, static_cast<u64>(Vector::PF), step);
    tally.expect(allowed >> absent & 1, 1, step, ~0ull);
    allowed = 0;  // a page fault invalidates what there was for its address
    note();
}

// Edits, flushes of all kinds, switches with bit 63 and without; frames whose code changes.
void torture(const char* name, unsigned seed) {
    Random bits{seed * 0x9e3779b97f4a7c15ull};
    const auto random = [&bits](unsigned below) { return static_cast<unsigned>(bits() % below); };
    Tally tally{name};
    for (u64 step = 0; step < 3000; ++step) {
        const unsigned page = random(page_count), space = random(space_count);
        switch (random(16)) {
            case 0:
            case 1: set_entry(page, random(frame_count + 1)); break;
            case 2: invalidate_page(page); break;
            case 3:
            case 4:
            case 5:
            case 6:
            case 7: go(space, keep); break;
            case 8: go(space, 0); break;
            case 9: invalidate_spaces(random(4), space, page); break;
            case 10: write_frame(random(frame_count), random(16)); break;
            default: break;
        }
        look(random(page_count), tally, step);
    }
}

}  // namespace

void micro_main() {
    root = read_cr3();
    write_cr4(read_cr4() | CR4::PCIDE);
    for (unsigned number = 0; number < frame_count; ++number) {
        frames[number] = allocate_page();
        write_frame(number, 0);
    }
    map(there, frames[0], kernel_page);  // makes the tables above
    for (unsigned page = 0; page < page_count; ++page) set_entry(page, page);
    go(0, 0);
    invalidate_spaces(Everything, 0, 0);
    torture("first history", 1);
    torture("second history", 2);
    torture("third history", 3);
}
