// SPDX-License-Identifier: Apache-2.0
// Debug registers: instruction breakpoints, data watchpoints of all lengths hit by all kinds of accesses,
// port watchpoints, RF, and that code without breakpoints goes on as before.
//
// Source: Intel SDM vol. 3B sections 18.2, 18.3.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(straight, "mov eax, 1\n mov ebx, 2\n" AT "mov ecx, 3\n mov edx, 4");
FRAGMENT(looping, "mov eax, 0\n 1: inc eax\n" AT "nop\n cmp eax, 10\n jne 1b");
FRAGMENT(store4, "mov [rdi], eax\n" AT "nop");
FRAGMENT(load4, "mov eax, [rdi]\n" AT "nop");
FRAGMENT(load1, "movzx eax, byte ptr [rdi]\n" AT "nop");
FRAGMENT(store8_before, "mov [rdi - 4], rax\n" AT "nop");
FRAGMENT(modify, "add dword ptr [rdi], 1\n" AT "nop");
FRAGMENT(push_there, "lea rsp, [rdi + 8]\n push rax\n" AT "nop");
FRAGMENT(pop_there, "mov rsp, rdi\n pop rax\n" AT "nop");
FRAGMENT(call_there, "lea rsp, [rdi + 8]\n call 771f\n nop\n" AT "nop");
FRAGMENT(string_store, "mov ecx, 8\n sub rdi, 3\n" AT "rep stosb");
FRAGMENT(vector_store, "movups [rdi - 8], xmm0\n" AT "nop");
FRAGMENT(exchange, "xchg eax, [rdi]\n" AT "nop");
FRAGMENT(port_out, "mov edx, 0x80\n out dx, al\n" AT "nop");
FRAGMENT(port_out_immediate, "out 0x80, al\n" AT "nop");
FRAGMENT(port_in, "in al, 0x61\n" AT "nop");
FRAGMENT(port_wide, "mov edx, 0x7e\n in eax, dx\n" AT "nop");
FRAGMENT(port_string, "mov edx, 0x80\n mov ecx, 3\n mov rsi, rdi\n" AT "rep outsb");
FRAGMENT(store_two, "mov [rdi], eax\n" AT "nop\n mov [rsi], eax");

namespace {

constexpr u64 execute = 0, write = 1, port = 2, read_write = 3;
alignas(4096) u64 memory[512];

void set_breakpoint(unsigned index, u64 where, u64 kind, u64 length) {
    switch (index) {
        case 0: asm volatile("mov %0, %%dr0" ::"r"(where)); break;
        case 1: asm volatile("mov %0, %%dr1" ::"r"(where)); break;
        case 2: asm volatile("mov %0, %%dr2" ::"r"(where)); break;
        default: asm volatile("mov %0, %%dr3" ::"r"(where)); break;
    }
    const u64 coded = length == 8 ? 2 : length - 1;
    u64 dr7;
    asm volatile("mov %%dr7, %0" : "=r"(dr7));
    dr7 &= ~(15ull << (16 + 4 * index));
    dr7 |= 0x400 | 2ull << 2 * index | kind << (16 + 4 * index) | coded << (18 + 4 * index);
    asm volatile("mov %0, %%dr7" ::"r"(dr7));
}

void clear_breakpoints() { asm volatile("mov %0, %%dr7" ::"r"(u64{0x400})); }

Registers inputs(u64 offset = 0) {
    Registers in;
    in.rdi = address(memory) + 512 + offset, in.rsi = address(memory) + 1024, in.rax = 0x1234;
    return in;
}

void hit(const char* name, const void* code, const void* at, u64 dr6, const Registers& in = inputs()) {
    write_dr6(0);
    const Outcome out = run(code, in);
    expect_trap(name, out, Vector::DB, 0, at);
    check_equal("DR6", out.dr6 & 0xe00f, dr6);
}

void missed(const char* name, const void* code, const Registers& in = inputs()) {
    expect_done(name, run(code, in));
}

void instructions() {
    set_breakpoint(0, address(straight_at), execute, 1);
    write_dr6(0);
    Outcome out = run(straight);
    expect_trap("instruction breakpoint is a fault", out, Vector::DB, 0, straight_at);
    check("before the instruction", out.registers.rbx == 2 && out.registers.rcx == 0);
    check_equal("DR6.B0", out.dr6 & 0xe00f, 1);
    check_equal("RF is left clear for whoever resumes to set", out.registers.rflags & RFLAGS::RF, 0);
    Registers in;
    in.rflags |= RFLAGS::RF;
    const Outcome resumed = run(straight_at, in);
    check("RF steps over it", resumed.done() && resumed.registers.rcx == 3);
    out = run(straight, {}, Ring::User);
    check("another address of the same code is not hit", out.done());
    clear_breakpoints();
    missed("cleared", straight);
    set_breakpoint(2, address(looping_at), execute, 1);
    static unsigned hits;
    hits = 0;
    set_handler(static_cast<u64>(Vector::DB), [](Frame& frame) {
        ++hits;
        frame.rflags |= RFLAGS::RF;
    });
    out = run(looping);
    set_handler(static_cast<u64>(Vector::DB), nullptr);
    check_equal("hit each time around", hits, 10);
    check_equal("and the loop is not disturbed", out.registers.rax, 10);
    clear_breakpoints();
}

void data() {
    const u64 where = inputs().rdi;
    set_breakpoint(1, where, write, 4);
    hit("store", store4, store4_at, 2);
    missed("load under a write watch", load4);
    hit("read-modify-write", modify, modify_at, 2);
    hit("xchg", exchange, exchange_at, 2);
    hit("push", push_there, push_there_at, 2);
    hit("call", call_there, call_there_at, 2);
    hit("a wider store that overlaps", store8_before, store8_before_at, 2);
    hit("a vector store that overlaps", vector_store, vector_store_at, 2);
    missed("the store beside it", store4, inputs(4));
    missed("the store before it", store4, inputs(static_cast<u64>(-4)));
    hit("the last byte", store4, store4_at, 2, inputs(3));
    write_dr6(0);
    const Outcome out = run(string_store, inputs());
    expect_trap("rep stosb stops after the iteration", out, Vector::DB, 0, string_store_at);
    check("which was the first byte", out.registers.rcx == 4 && out.registers.rdi == where + 1);
    clear_breakpoints();
    missed("cleared", store4);
    set_breakpoint(3, where, read_write, 1);
    hit("load", load4, load4_at, 8);
    hit("store under a read watch", store4, store4_at, 8);
    hit("pop", pop_there, pop_there_at, 8);
    missed("its neighbour", load1, inputs(1));
    clear_breakpoints();
    set_breakpoint(0, where, write, 8);
    set_breakpoint(1, where + 4, write, 2);
    hit("two at once", store4, store4_at, 3, inputs(4));
    hit("one of two", store4, store4_at, 1);
    set_breakpoint(2, inputs().rsi, write, 4);
    hit("the first of two stores", store_two, store_two_at, 1);
    clear_breakpoints();
    // Linear addresses count: the same frame elsewhere is not watched.
    map(window, memory, kernel_page);
    set_breakpoint(0, window + 512, write, 4);
    missed("another address of the same memory", store4);
    Registers in = inputs();
    in.rdi = window + 512;
    hit("the address itself", store4, store4_at, 1, in);
    clear_breakpoints();
}

// Watched ports trap after the instruction, in both directions, and only with CR4.DE.
void ports() {
    set_breakpoint(0, 0x80, port, 1);
    hit("out dx", port_out, port_out_at, 1);
    hit("out to an immediate port", port_out_immediate, port_out_immediate_at, 1);
    missed("another port", port_in);
    hit("in of four ports", port_wide, port_wide_at, 1);
    write_dr6(0);
    const Outcome out = run(port_string, inputs());
    expect_trap("rep outs stops after the iteration", out, Vector::DB, 0, port_string_at);
    check_equal("which was the first", out.registers.rcx, 2);
    missed("memory of that address", load4, [] {
        Registers in = inputs();
        map(0x0000100000000000, memory, kernel_page);
        in.rdi = 0x0000100000000080;
        return in;
    }());
    write_cr4(read_cr4() & ~CR4::DE);
    missed("without CR4.DE", port_out);
    write_cr4(read_cr4() | CR4::DE);
    clear_breakpoints();
    set_breakpoint(3, 0x60, port, 4);
    hit("one of four", port_in, port_in_at, 8);
    clear_breakpoints();
    Registers in = inputs();
    write_dr6(0);
    set_breakpoint(1, 0x80, port, 1);
    check_equal("#GP comes before", run(port_out, in, Ring::User).vector, static_cast<u64>(Vector::GP));
    check_equal("without a debug trap", read_dr6() & 0xf, 0);
    clear_breakpoints();
    missed("cleared", port_out);
}

}  // namespace

void micro_main() {
    instructions();
    data();
    ports();
}
