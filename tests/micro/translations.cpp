// SPDX-License-Identifier: Apache-2.0
// What may be remembered of the page tables, and until when: edits followed by INVLPG or a CR3 write take
// effect everywhere (loads, stores, stacks, strings, fetches), global pages outlive CR3 writes, large pages
// go as a whole, aliases agree, faulting accesses see an edit at once.
//
// Source: Intel SDM vol. 3A section 4.10.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(load, AT "mov rax, [rdi]");
FRAGMENT(store, AT "mov [rdi], rax");
FRAGMENT(jump, AT "jmp rdi");
FRAGMENT(push_pop, "mov rdx, rsp\n lea rsp, [rdi + 64]\n push rax\n pop rcx\n mov rsp, rdx");
FRAGMENT(remap_and_load,
         "mov rax, [rdi]\n mov [rsi], rdx\n invlpg [rdi]\n mov rbx, [rdi]\n mov [rsi], rcx\n mov r8, cr3\n "
         "mov cr3, r8\n mov rdx, [rdi]");
FRAGMENT(
    remap_stack,
    "mov r8, rsp\n lea rsp, [rdi + 128]\n push 1\n mov [rsi], rdx\n invlpg [rdi]\n push 2\n mov [rsi], rcx\n"
    " invlpg [rdi]\n push 3\n mov rsp, r8");
FRAGMENT(loop_with_remap,
         "1: mov [rsi], rdx\n invlpg [rdi]\n add rax, [rdi]\n xchg rdx, rcx\n dec r9\n jnz 1b");

namespace {

constexpr u64 there = window + 0x3000;
u64* one;
u64* two;

u64 load_from(u64 address) {
    Registers in;
    in.rdi = address;
    const Outcome out = run(load, in);
    return out.done() ? out.registers.rax : ~out.vector;
}

void store_to(u64 address, u64 value) {
    Registers in;
    in.rdi = address, in.rax = value;
    run(store, in);
}

void in_one_block() {
    one[0] = 11, two[0] = 22;
    map(there, one, kernel_page);
    Registers in;
    in.rdi = there, in.rsi = reinterpret_cast<u64>(&entry(there));
    in.rdx = address(two) | kernel_page, in.rcx = address(one) | kernel_page;
    for (int i = 0; i < 3; ++i) {
        const Outcome out = run(remap_and_load, in);
        check_equal("before", out.registers.rax, 11);
        check_equal("after invlpg in the same block", out.registers.rbx, 22);
        check_equal("after a CR3 write in the same block", out.registers.rdx, 11);
    }
    one[13] = one[14] = one[15] = two[14] = two[15] = two[13] = 0;
    run(remap_stack, in);
    check("stack remapped between pushes",
          one[15] == 1 && two[14] == 2 && one[13] == 3 && two[15] == 0 && one[14] == 0);
    in.r9 = 2000;
    check_equal("remapped in a loop", run(loop_with_remap, in).registers.rax, 1000 * 33);
}

void edits() {
    map(there, one, kernel_page);
    store_to(there + 8, 5);
    entry(there) = address(two) | kernel_page;
    invlpg(there + 4095);  // any address of the page
    store_to(there + 8, 6);
    check("store goes to the new page", one[1] == 5 && two[1] == 6);
    // Rights taken away.
    entry(there) = address(two) | PageEntry::P;
    invlpg(there);
    Registers in;
    in.rdi = there;
    expect_page_fault("store after rights are gone", run(store, in), PageFault::P | PageFault::W, there,
                      store_at);
    entry(there) = 0;
    invlpg(there);
    expect_page_fault("load after it is gone", run(load, in), 0, there, load_at);
    // Rights given: a fault may come from an old translation, but it does away with it.
    map(there, one, PageEntry::P);
    load_from(there);
    run(store, in);
    entry(there) = address(one) | kernel_page;
    run(store, in);
    expect_done("store after rights are given and one fault", run(store, in));
    // Not present entries are not remembered.
    unmap(there);
    load_from(there);
    entry(there) = address(one) | kernel_page;
    one[0] = 77;
    check_equal("absent to present needs no invlpg", load_from(there), 77);
    // Upper levels.
    volatile u64& upper = entry(there, 2);
    const u64 saved = upper;
    auto* table = reinterpret_cast<u64*>(allocate_page());
    table[there >> 12 & 511] = address(two) | kernel_page;
    two[0] = 88;
    upper = address(table) | user_page;
    invlpg(there);
    check_equal("another page table", load_from(there), 88);
    upper = saved;
    invlpg(there);
    check_equal("and back", load_from(there), 77);
}

void address_spaces() {
    const u64 cr3 = read_cr3();
    auto* other = reinterpret_cast<u64*>(allocate_page());
    __builtin_memcpy(other, reinterpret_cast<const void*>(cr3), 4096);
    other[window >> 39] = 0;
    constexpr u64 flags = kernel_page | PageEntry::G;
    map(there, one, kernel_page);
    map(there + 4096, one, flags);
    one[0] = 1, two[0] = 2;
    write_cr3(address(other));
    map(there, two, kernel_page);
    map(there + 4096, two, flags);
    Tally local{"local pages follow CR3"};
    for (int i = 0; i < 50; ++i) {
        write_cr3(cr3);
        local.expect(load_from(there), 1);
        write_cr3(address(other));
        local.expect(load_from(there), 2);
    }
    // Global ones may stay; INVLPG and CR4.PGE drop them.
    write_cr3(cr3);
    invlpg(there + 4096);
    check_equal("global page", load_from(there + 4096), 1);
    write_cr3(address(other));
    const u64 kept = load_from(there + 4096);
    check("global page after a CR3 write", kept == 1 || kept == 2);
    invlpg(there + 4096);
    check_equal("global page after invlpg", load_from(there + 4096), 2);
    write_cr3(cr3);
    write_cr4(read_cr4() & ~CR4::PGE);
    check_equal("global page after CR4.PGE is cleared", load_from(there + 4096), 1);
    write_cr4(read_cr4() | CR4::PGE);
    write_cr3(address(other));
    write_cr0(read_cr0() & ~CR0::WP);
    write_cr0(read_cr0() | CR0::WP);
    invlpg(there + 4096);
    check_equal("global page in the end", load_from(there + 4096), 2);
    write_cr3(cr3);
}

void large_pages() {
    constexpr u64 large = window + (4ull << 30), size = 2ull << 20;
    // Two 2 MiB frames of RAM beyond the image.
    constexpr u64 frame1 = 0x4000000, frame2 = frame1 + size;
    for (u64 offset = 0; offset < size; offset += 4096) {
        *reinterpret_cast<volatile u64*>(frame1 + offset) = offset + 1;
        *reinterpret_cast<volatile u64*>(frame2 + offset) = offset + 2;
    }
    const auto look = [](const char* name, u64 want) {
        Tally tally{name};
        for (u64 offset = 0; offset < size; offset += 4096 * 37)
            tally.expect(load_from(large + offset), offset + want, offset);
    };
    entry(large, 2) = frame1 | kernel_page | PageEntry::PS;
    look("2 MiB page", 1);
    entry(large, 2) = frame2 | kernel_page | PageEntry::PS;
    invlpg(large + 0x5000);
    look("invlpg anywhere in a 2 MiB page drops all of it", 2);
    // Broken up into small pages, one of them elsewhere.
    auto* table = reinterpret_cast<u64*>(allocate_page());
    for (u64 i = 0; i < 512; ++i) table[i] = (frame2 + i * 4096) | kernel_page;
    table[37] = address(one) | kernel_page;
    one[0] = 123;
    entry(large, 2) = address(table) | user_page;
    invlpg(large);
    check_equal("2 MiB page broken up", load_from(large + 37 * 4096), 123);
    check_equal("its neighbour", load_from(large + 38 * 4096), 38 * 4096 + 2);
    entry(large, 2) = frame1 | kernel_page | PageEntry::PS;
    write_cr3(read_cr3());
    look("and put together", 1);
}

void aliases() {
    map(there, one, kernel_page);
    map(there + 0x5000, one, kernel_page);
    map(0xffff800000000000, one, kernel_page);
    Tally tally{"aliases agree"};
    for (u64 i = 0; i < 64; ++i) {
        store_to(there + i * 8, i * 3);
        tally.expect(load_from(there + 0x5000 + i * 8), i * 3);
        store_to(0xffff800000000000 + i * 8, i * 5);
        tally.expect(load_from(there + i * 8), i * 5);
        tally.expect(one[i], i * 5);
    }
}

// A page table that maps itself, edited through its own mapping.
void table_edits_itself() {
    constexpr u64 self = window + 0x40000000;
    volatile u64& slot = entry(self);
    const u64 table = reinterpret_cast<u64>(&slot) & ~0xfffull;
    map(self, table, kernel_page);
    store_to(self + 8 * 5, address(one) | kernel_page);
    one[0] = 31;
    check_equal("mapped through the table's own page", load_from(self + 5 * 4096), 31);
    store_to(self + 8 * 5, address(two) | kernel_page);
    invlpg(self + 5 * 4096);
    two[0] = 32;
    check_equal("remapped through it", load_from(self + 5 * 4096), 32);
}

}  // namespace

void micro_main() {
    one = reinterpret_cast<u64*>(allocate_page());
    two = reinterpret_cast<u64*>(allocate_page());
    in_one_block();
    edits();
    address_spaces();
    large_pages();
    aliases();
    table_edits_itself();
}
