// SPDX-License-Identifier: Apache-2.0
// A hostile guest: wild accesses and jumps to every kind of address, page tables that point beyond RAM, at
// device memory and at themselves, descriptor tables in odd places, bad descriptors, code and stacks in
// device memory. It must get what a processor gives it, and be alive afterwards. Random instruction bytes:
// fuzz.cpp.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(load, AT "mov rax, [rdi]");
FRAGMENT(load_byte, AT "movzx eax, byte ptr [rdi]");
FRAGMENT(store, AT "mov [rdi], rax");
FRAGMENT(modify, AT "lock add qword ptr [rdi], 1");
FRAGMENT(vector_load, AT "movups xmm0, [rdi]");
FRAGMENT(vector_store, AT "movups [rdi], xmm0");
FRAGMENT(string_load, "mov rsi, rdi\n mov ecx, 100\n lea rdi, [rsp - 256]\n rep movsb");
FRAGMENT(string_store, "mov ecx, 100\n rep stosb");
FRAGMENT(push_there, "mov rsp, rdi\n push rax\n pop rax");
FRAGMENT(call_there, AT "call rdi");
FRAGMENT(jump_there, AT "jmp rdi");
FRAGMENT(return_there, "push rdi\n ret");
FRAGMENT(save_there, "and rdi, -64\n fxsave [rdi]");
FRAGMENT(exchange_there, "and rdi, -16\n lock cmpxchg16b [rdi]");
FRAGMENT(load_selectors, "mov ds, eax\n mov es, eax\n mov fs, eax\n mov gs, eax");
FRAGMENT(load_ss, "mov ss, eax");
FRAGMENT(load_tr, "ltr ax");
FRAGMENT(load_ldt, "lldt ax");
FRAGMENT(query, "lar ebx, eax\n lsl ecx, eax\n verr ax\n verw ax");
FRAGMENT(far_return, "push rax\n lea rbx, [rip + 1f]\n push rbx\n .byte 0x48, 0xcb\n 1:");

namespace {

// Addresses that mean something somewhere: to the host, to the monitor, to the firmware, to no one.
constexpr u64 wild[] = {
    0xffffffff00000000,     0x00007fffffffffff, 0x00007ffffffff000, 0x00007ffff7dd0000, 0x00007f0000000000,
    0x0000555555554000,     0x0000560000000000, 0x0000800000000000, 0xffff7fffffffffff, 0x8000000000000000,
    0x7fffffffffffffff,     0xffffffffff600000, 0xffffffff81000000, 0xffff888000000000, 0xfffffffffffffff8,
    0xffffffffffffffff,     0xffff800000000000, 0x00000000deadbeef, 0x0000000100000000, 0x000000ffffffffff,
    0x0000010000000000 - 1, 0x00007fffffffe000, 0x4141414141414141, 0x0000600000000000, 0x0000001000000000,
};

bool plausible(u64 vector) {
    return vector == done_vector || vector == static_cast<u64>(Vector::PF) ||
           vector == static_cast<u64>(Vector::GP) || vector == static_cast<u64>(Vector::SS);
}

void wild_accesses() {
    const void* const codes[] = {load,        load_byte,    store,         modify,
                                 vector_load, vector_store, string_load,   string_store,
                                 push_there,  save_there,   exchange_there};
    Tally tally{"wild accesses"}, user_tally{"wild accesses from user mode"};
    for (const u64 address : wild)
        for (const void* code : codes)
            for (const int offset : {0, -1, -4, 7}) {
                Registers in;
                in.rdi = address + static_cast<u64>(offset), in.rax = 0x1234;
                tally.expect(plausible(run(code, in).vector), 1, address, micro::address(code));
                user_tally.expect(plausible(run(code, in, Ring::User).vector), 1, address,
                                  micro::address(code));
            }
    Tally jumps{"wild jumps"};
    for (const u64 address : wild)
        for (const void* code : {call_there, jump_there, return_there})
            for (const Ring ring : {Ring::Kernel, Ring::User}) {
                Registers in;
                in.rdi = address;
                const Outcome out = run(code, in, ring);
                // (Ones fetched from where nothing is are an invalid opcode.)
                const bool invalid = out.vector == static_cast<u64>(Vector::UD);
                jumps.expect((plausible(out.vector) || invalid) && !out.done(), 1, address);
            }
}

// Physical addresses: the end of RAM, holes, device memory, the top of the physical width.
constexpr u64 physical[] = {0x0fffffff000, 0x10000000, 0xc0000000,  0xd0000000,   0xfec00000,
                            0xfee00000,    0xfffff000, 0x100000000, 0x1000000000, 0xfffffff000};

// Nothing answers there: reads are ones, writes go nowhere, code is undefined.
void beyond_memory() {
    constexpr u64 hole = 0xc0000000;  // of the identity map
    Registers in;
    in.rdi = hole;
    check_equal("load from a hole", run(load, in).registers.rax, ~0ull);
    in.rax = 5;
    expect_done("store to a hole", run(store, in));
    expect_done("locked add in a hole", run(modify, in));
    expect_done("vector store to a hole", run(vector_store, in));
    expect_done("rep stosb to a hole", run(string_store, in));
    expect_done("fxsave to a hole", run(save_there, in));
    check_equal("still ones", run(load, in).registers.rax, ~0ull);
    in.rdi = hole + 0x1000;
    expect_done("stack in a hole", run(push_there, in));
    check("jump into a hole faults", !run(jump_there, in).done());
    in.rdi = 0xfee00020;
    check("jump into the local APIC faults", !run(jump_there, in).done());
    in.rdi = 0xfec00000;
    check("jump into the I/O APIC faults", !run(jump_there, in).done());
    in.rdi = 0xfee00300 - 0x200;
    check("vector load from the local APIC", plausible(run(vector_load, in).vector));
    in.rdi = 0xfee00020 + 4095 - 0x20 - 3;
    check("load across the end of the local APIC", plausible(run(load, in).vector));
}

// Table entries of each level point somewhere bad.
void bad_tables() {
    constexpr u64 there = window + (5ull << 30);
    u8* page = allocate_page();
    Tally tally{"page tables that point at odd places"};
    for (unsigned level = 1; level <= 4; ++level)
        for (const u64 target : physical)
            for (const u64 flags : {user_page, user_page | PageEntry::PS, user_page | u64{1} << 51}) {
                map(there, page, user_page);
                volatile u64& e = entry(there, level);
                const u64 saved = e;
                e = target | flags;
                write_cr3(read_cr3());
                for (const void* code : {load, store, vector_store, string_store, jump_there}) {
                    if (code != load && code != jump_there && target >= 0xfec00000 && target < 0xff000000)
                        continue;  // not to set APICs on fire
                    Registers in;
                    in.rdi = there + 0x40;
                    for (const Ring ring : {Ring::Kernel, Ring::User}) {
                        const u64 vector = run(code, in, ring).vector;
                        tally.expect(vector < 32 || vector == done_vector, 1, level, target);
                    }
                }
                e = saved;
                write_cr3(read_cr3());
            }
    // A table that is its own child at every level, and its own page.
    const u64 cr3 = read_cr3();
    constexpr u64 slot = 200;
    auto* pml4 = reinterpret_cast<volatile u64*>(cr3);
    pml4[slot] = cr3 | kernel_page;
    const u64 self = slot << 39 | slot << 30 | slot << 21 | slot << 12;
    Registers in;
    in.rdi = self + slot * 8;
    check_equal("the PML4 seen through itself", run(load, in).registers.rax & ~0xfffull, cr3 & ~0xfffull);
    in.rdi = self + 0x800;
    check("code in the PML4", run(jump_there, in).vector < 32);
    pml4[slot] = 0;
    write_cr3(cr3);
}

void bad_descriptors() {
    u64 random = 88172645463325252ull;
    const auto next = [&random] {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return random;
    };
    Tally tally{"random descriptors"};
    for (int i = 0; i < 1500; ++i) {
        const u64 descriptor = next();
        gdt[Selector::Spare / 8] = descriptor;
        gdt[Selector::Spare / 8 + 1] = next() & ~(0x1full << 40);
        Registers in;
        in.rax = Selector::Spare | (i & 3);
        for (const void* code : {load_selectors, load_ss, query}) {
            const u64 vector = run(code, in, i & 4 ? Ring::User : Ring::Kernel).vector;
            tally.expect(vector == done_vector || (vector >= 10 && vector <= 13), 1, descriptor, vector);
        }
        const u64 type = descriptor >> 40 & 0x1f;
        if (type == 9) continue;  // a TSS that would be loaded
        tally.expect(run(load_tr, in).vector != done_vector, 1, descriptor);
        if (type != 2) tally.expect(run(load_ldt, in).vector != done_vector, 1, descriptor);
        // Code of CPL 0 that is 64-bit or absent: others would go on in another mode.
        if ((type & 0x18) != 0x18 || !(descriptor >> 47 & 1))
            tally.expect(run(far_return, in).vector >= 10, 1, descriptor);
        for (u64 selector = 0; selector < 4; ++selector) {
            in.rax = next() & 0xffff;
            if ((in.rax & 0xfff8) < 0x100 && !(in.rax & 4)) continue;
            tally.expect(run(far_return, in).vector, static_cast<u64>(Vector::GP), in.rax);
        }
    }
    gdt[Selector::Spare / 8] = gdt[Selector::Spare / 8 + 1] = 0;
    asm volatile("lldt %w0" ::"r"(0));
}

}  // namespace

void micro_main() {
    wild_accesses();
    beyond_memory();
    bad_tables();
    bad_descriptors();
    check("alive", true);
}
