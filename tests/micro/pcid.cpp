// SPDX-License-Identifier: Apache-2.0
// Process-context identifiers: CR4.PCIDE, CR3 with them, INVPCID, and what each keeps and drops.
// pcid_histories.cpp mixes them.
//
// Source: Intel SDM vol. 3A sections 4.10.1 and 4.10.4.1; vol. 2 MOV (control registers), INVPCID.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(to_cr0, AT "mov cr0, rax");
FRAGMENT(to_cr3, AT "mov cr3, rax");
FRAGMENT(to_cr4, AT "mov cr4, rax");
FRAGMENT(invalidate, AT "invpcid rax, [rdi]");
FRAGMENT(invalidate_by_r10, AT "invpcid r10, [rdi + r11*8]");
FRAGMENT(invalidate_on_stack, AT "invpcid rax, [rbp]");
FRAGMENT(invalidate_locked, AT ".byte 0xf0, 0x66, 0x0f, 0x38, 0x82, 0x07");
FRAGMENT(load, "mov rbx, [rdi]");

namespace {

constexpr u64 gp = static_cast<u64>(Vector::GP), ud = static_cast<u64>(Vector::UD);
constexpr u64 keep = 1ull << 63;
constexpr u64 there = window + (9ull << 30);
constexpr u64 not_canonical = 1ull << 47;
enum Type : u64 { OnePage, OneSpace, Everything, AllButGlobal };

struct Descriptor {
    u64 pcid, address;
};

u64 root;  // of the tables that all address spaces here have in common

Registers with_rax(u64 value) {
    Registers in;
    in.rax = value;
    return in;
}
Registers operands(u64 type, const Descriptor& descriptor) {
    Registers in = with_rax(type);
    in.rdi = address(&descriptor);
    return in;
}
void refused(const char* name, const void* code, const Registers& in, Ring ring = Ring::Kernel) {
    check_equal(name, run(code, in, ring).vector, gp);
}
void refused(const char* name, u64 type, Descriptor descriptor) {
    refused(name, invalidate, operands(type, descriptor));
}
void accepted(const char* name, u64 type, Descriptor descriptor) {
    expect_done(name, run(invalidate, operands(type, descriptor)));
}

void switching_it_on() {
    const u64 cr4 = read_cr4();
    check_equal("CPUID shows PCID", cpuid(1).ecx >> 17 & 1, 1);
    check_equal("CPUID shows INVPCID", cpuid(7, 0).ebx >> 10 & 1, 1);
    refused("CR3: bit 63 without PCIDE", to_cr3, with_rax(root | keep));
    write_cr3(root | 1 << 3);
    refused("CR4: PCIDE while CR3 has low bits", to_cr4, with_rax(cr4 | CR4::PCIDE));
    check_equal("CR4 unchanged", read_cr4(), cr4);
    write_cr3(root);
    refused("INVPCID: another address space without PCIDE", OneSpace, {1, 0});
    refused("INVPCID: a page of another one without PCIDE", OnePage, {1, there});
    accepted("INVPCID: address space 0 without PCIDE", OneSpace, {0, 0});
    accepted("INVPCID: of all, the number does not matter", AllButGlobal, {77, 0});
    expect_done("CR4: PCIDE", run(to_cr4, with_rax(cr4 | CR4::PCIDE)));
    check_equal("CR4 shows it", read_cr4(), cr4 | CR4::PCIDE);
    write_cr3(root | 0xfff);
    expect_done("CR4: PCIDE written again with a number in CR3", run(to_cr4, with_rax(cr4 | CR4::PCIDE)));
}

void cr3() {
    expect_done("CR3: bit 63", run(to_cr3, with_rax(root | 5 | keep)));
    check_equal("which does not get there", read_cr3(), root | 5);
    refused("CR3: bit 62", to_cr3, with_rax(root | 1ull << 62));
    refused("CR3: beyond the physical width", to_cr3, with_rax(root | 1ull << 51 | keep));
    check_equal("CR3 unchanged", read_cr3(), root | 5);
    refused("CR0: PG off with PCIDE", to_cr0, with_rax(read_cr0() & ~CR0::PG));
    refused("CR3 in user mode", to_cr3, with_rax(root | keep), Ring::User);
}

void operands_of_invpcid() {
    refused("INVPCID: type 4", 4, {0, 0});
    refused("INVPCID: type with upper bits", Everything | 1ull << 32, {0, 0});
    for (u64 type : {OnePage, OneSpace, Everything, AllButGlobal})
        refused("INVPCID: number beyond 12 bits", type, {0x1000, 0});
    refused("INVPCID: number with bit 63", Everything, {keep, 0});
    refused("INVPCID: a page that is not canonical", OnePage, {3, not_canonical});
    for (u64 type : {OneSpace, Everything, AllButGlobal})
        accepted("INVPCID: an address that does not matter", type, {3, not_canonical});
    accepted("INVPCID: a page", OnePage, {0xfff, there + 0x123});
    refused("INVPCID in user mode", invalidate, with_rax(Everything), Ring::User);
    check_equal("INVPCID with LOCK", run(invalidate_locked).vector, ud);

    const Descriptor good[2]{{4096, 0}, {7, there}};
    Registers in;
    in.r10 = OnePage, in.rdi = address(good), in.r11 = 2;
    expect_done("INVPCID: operands in r10 and r11", run(invalidate_by_r10, in));
    in.r11 = 0;
    refused("INVPCID: the other descriptor", invalidate_by_r10, in);

    in = with_rax(Everything);
    in.rdi = there + 0x5008;
    expect_page_fault("INVPCID: descriptor not mapped", run(invalidate, in), 0, there + 0x5008,
                      invalidate_at);
    in.rax = 4;
    expect_page_fault("which comes before a wrong type", run(invalidate, in), 0, there + 0x5008,
                      invalidate_at);
    in = with_rax(Everything);
    u8* page = allocate_page();
    map(there + 0x4000, page, kernel_page);
    in.rdi = there + 0x4ff8;
    expect_page_fault("INVPCID: its second half not mapped", run(invalidate, in), 0, there + 0x5000,
                      invalidate_at);
    map(there + 0x5000, page, kernel_page);
    expect_done("INVPCID: across a page border", run(invalidate, in));
    in.rdi = not_canonical;
    expect_trap("INVPCID: descriptor not canonical", run(invalidate, in), Vector::GP, 0, invalidate_at);
    in.rbp = not_canonical;
    expect_trap("INVPCID: the same by the stack's segment", run(invalidate_on_stack, in), Vector::SS, 0,
                invalidate_on_stack_at);
}

// --- what stays, what goes
// ----------------------------------------------------------------------------------

u8* frames[3];  // each holds its number

u64 address_of(unsigned page) { return there + page * 0x1000; }
void go(u64 pcid, u64 flag) { write_cr3(root | pcid | flag); }
void set_entry(unsigned page, unsigned frame, u64 flags = 0) {
    entry(address_of(page)) = address(frames[frame]) | kernel_page | flags;
}

u64 see(u64 where) {
    Registers in;
    in.rdi = where;
    const Outcome out = run(load, in);
    return out.done() ? out.registers.rbx & 0xff : ~out.vector;
}

// What was seen stays while another address space has its turn, until a flush of its own.
void own_pages() {
    const u64 page = address_of(0);
    const auto seen_after = [&](auto act) {
        set_entry(0, 0);
        go(1, 0);
        see(page);
        go(2, keep);
        set_entry(0, 1);
        act();
        go(1, keep);
        return see(page);
    };
    const auto may_stay = [&](const char* name, auto act) { check(name, seen_after(act) <= 1); };
    const auto goes = [&](const char* name, auto act) { check_equal(name, seen_after(act), 1); };
    may_stay("a page of another address space", [] {});
    may_stay("INVLPG is not for it", [&] { invlpg(page); });
    goes("INVPCID of the page", [&] { invpcid(OnePage, 1, page + 0x123); });
    goes("INVPCID of the address space", [] { invpcid(OneSpace, 1, 0); });
    goes("INVPCID of everything", [] { invpcid(Everything, 0, 0); });
    goes("INVPCID of all that is not global", [] { invpcid(AllButGlobal, 0, 0); });
    goes("CR3 without bit 63", [] { go(1, 0); });
    goes("CR4.PGE", [] {
        write_cr4(read_cr4() & ~CR4::PGE);
        write_cr4(read_cr4() | CR4::PGE);
    });
    go(1, 0);
    set_entry(0, 0);
    invpcid(OneSpace, 1, 0);
    check_equal("INVPCID of the current address space", see(page), 0);
    set_entry(0, 1);
    invpcid(OnePage, 1, page);
    check_equal("INVPCID of its page", see(page), 1);
}

// Global translations are every address space's, and only flushes of everything take them.
void global_pages() {
    const u64 page = address_of(0);
    go(1, 0);
    set_entry(0, 0, PageEntry::G);
    invlpg(page);
    check_equal("a global page", see(page), 0);
    set_entry(0, 1, PageEntry::G);
    go(2, 0);
    check("in another address space", see(page) <= 1);
    invpcid(Everything, 0, 0);
    check_equal("after INVPCID of everything", see(page), 1);
    set_entry(0, 2, PageEntry::G);
    invlpg(page);
    go(1, keep);
    check_equal("INVLPG takes it in all of them", see(page), 2);
    set_entry(0, 0);
    invlpg(page);
}

// One flush for all of a large page, whichever piece was used in whichever address space.
void large_pages() {
    constexpr u64 large = window + (4ull << 30), size = 2ull << 20, frame1 = 0x4000000,
                  frame2 = frame1 + size;
    constexpr u64 piece = 0x37000;
    *reinterpret_cast<volatile u8*>(frame1 + piece) = 1;
    *reinterpret_cast<volatile u8*>(frame2 + piece) = 2;
    go(1, 0);
    entry(large, 2) = frame1 | kernel_page | PageEntry::PS;
    check_equal("a piece of a large page", see(large + piece), 1);
    go(2, keep);
    see(large + piece);
    invlpg(large);
    go(1, keep);
    entry(large, 2) = frame2 | kernel_page | PageEntry::PS;
    invlpg(large);
    check_equal("which goes with any other", see(large + piece), 2);
}

void switching_it_off() {
    const u64 page = address_of(1);
    go(3, 0);
    set_entry(1, 1);
    see(page);
    go(1, keep);
    set_entry(1, 2);
    write_cr3(root);
    write_cr4(read_cr4() & ~CR4::PCIDE);
    check_equal("PCIDE off", see(page), 2);
    write_cr4(read_cr4() | CR4::PCIDE);
    write_cr3(root | 3 | keep);
    check_equal("and on: nothing is left of before", see(page), 2);
}

}  // namespace

void micro_main() {
    root = read_cr3();
    switching_it_on();
    cr3();
    operands_of_invpcid();
    for (u8*& frame : frames) {
        frame = allocate_page();
        *frame = static_cast<u8>(&frame - frames);
    }
    map(there, frames[0], kernel_page);  // makes the tables above
    own_pages();
    global_pages();
    large_pages();
    switching_it_off();
}
