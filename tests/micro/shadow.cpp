// SPDX-License-Identifier: Apache-2.0
// Random edits of page tables, with and without flushes: what is loaded and what is executed through them
// must be the present translation after a flush, and that or one of the earlier ones before it.
//
// mmu's shadow_torture_test has every kind of edit and rights; here is the rest of the way, with translated
// code and its shortcuts from virtual pages to blocks. Source: Intel SDM vol. 3A section 4.10.

#include "runtime/paging.hpp"
#include "runtime/random.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(use, "mov rbx, [rdi + 64]\n call rdi");

namespace {

constexpr u64 there = window + (9ull << 30);
constexpr unsigned page_count = 3, frame_count = 6, absent = frame_count;

u64 address_of(unsigned page) { return there + page * 0x1000; }

// Each frame: `mov eax, number; ret`, and its number as data.
u8* frames[frame_count];
void fill(unsigned number) {
    u8* frame = frames[number] = allocate_page();
    frame[0] = 0xb8, frame[1] = static_cast<u8>(number), frame[5] = 0xc3;
    frame[64] = static_cast<u8>(number);
}

// Two page tables for the pages, of which the directory refers to one.
volatile u64* tables[2];
unsigned held[2][page_count];  // frame, or absent

// What a processor may have in mind, as bits: tables that it may go through, frames that it may find.
unsigned active = 0, possible_tables;
unsigned possible[page_count];

void note() {
    for (unsigned table = 0; table < 2; ++table)
        for (unsigned page = 0; page < page_count; ++page)
            if (possible_tables >> table & 1) possible[page] |= 1u << held[table][page];
}
void flush_tables() {
    possible_tables = 1u << active;
    note();
}

void set_entry(unsigned table, unsigned page, unsigned frame) {
    held[table][page] = frame;
    tables[table][address_of(page) >> 12 & 511] = frame == absent ? 0 : address(frames[frame]) | kernel_page;
    note();
}
void activate(unsigned table) {
    active = table;
    entry(there, 2) = address(const_cast<u64*>(tables[table])) | kernel_page;
    possible_tables |= 1u << table;
    note();
}
void invalidate(unsigned page) {
    asm volatile("invlpg (%0)" : : "r"(address_of(page)) : "memory");
    possible[page] = 0;
    flush_tables();
}
void load_cr3() {
    write_cr3(read_cr3());
    for (unsigned& mask : possible) mask = 0;
    flush_tables();
}

void look(unsigned page, Tally& tally, u64 step) {
    Registers in;
    in.rdi = address_of(page);
    const Outcome out = run(use, in);
    if (out.done()) {
        tally.expect(possible[page] >> (out.registers.rbx & 63) & 1, 1, step, out.registers.rbx);
        tally.expect(possible[page] >> (out.registers.rax & 63) & 1, 1, step, out.registers.rax);
        return;
    }
    tally.expect(out.vector, static_cast<u64>(Vector::PF), step);
    tally.expect(possible[page] >> absent & 1, 1, step, ~0ull);
    possible[page] = 0;  // a page fault invalidates what there was for its address
    note();
}

void torture(const char* name, unsigned seed) {
    Random bits{seed * 0x9e3779b97f4a7c15ull};
    const auto random = [&bits](unsigned below) { return static_cast<unsigned>(bits() % below); };
    Tally tally{name};
    for (u64 step = 0; step < 3000; ++step) {
        const unsigned page = random(page_count);
        const unsigned what = random(12);
        if (what < 4) set_entry(random(2), page, random(frame_count + 1));
        if (what == 4) activate(1 - active);
        if (what == 5 || what == 6) invalidate(page);
        if (what == 7) load_cr3();
        look(random(page_count), tally, step);
    }
}

}  // namespace

void micro_main() {
    for (unsigned number = 0; number < frame_count; ++number) fill(number);
    map(there, frames[0], kernel_page);  // makes the tables above
    for (volatile u64*& table : tables) table = reinterpret_cast<volatile u64*>(allocate_page());
    for (unsigned table = 0; table < 2; ++table)
        for (unsigned page = 0; page < page_count; ++page) set_entry(table, page, page + table * page_count);
    activate(0);
    load_cr3();
    torture("edits and flushes, first history", 1);
    torture("edits and flushes, second history", 2);
    torture("edits and flushes, third history", 3);
}
