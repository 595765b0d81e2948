// SPDX-License-Identifier: Apache-2.0
// Indirect jumps, calls and returns: many targets, targets whose low address bits collide, deep recursion,
// tail calls, thunks, returns that match no call, one address under two privilege levels.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(call_rbx, "call rbx");
// Calls each address of the table at rsi in turn, rcx rounds of rdx entries; sums what they return.
FRAGMENT(call_table,
         "mov r8d, 0\n 1: mov r9d, 0\n 2: call [rsi + r9*8]\n add r8, rax\n inc r9\n cmp r9, rdx\n jne 2b\n "
         "dec rcx\n jnz 1b");
FRAGMENT(call_table_r11,
         "mov r8d, 0\n 1: mov r10d, 0\n 2: mov r11, [rsi + r10*8]\n push r10\n call r11\n pop r10\n add r8, "
         "rax\n inc r10\n"
         " cmp r10, rdx\n jne 2b\n dec rcx\n jnz 1b");
// A switch: rdx jumps through eight targets, chosen by a generator.
FRAGMENT(switch_loop,
         "lea rsi, [rip + 9f]\n mov eax, 12345\n mov r8d, 0\n 1: imul eax, eax, 1103515245\n add eax, "
         "12345\n mov ecx, eax\n shr ecx, 16\n and ecx, 7\n"
         "movsxd rbx, dword ptr [rsi + rcx*4]\n add rbx, rsi\n jmp rbx\n"
         "10: add r8, 1\n jmp 2f\n 11: add r8, 3\n jmp 2f\n 12: sub r8, 5\n jmp 2f\n 13: xor r8, 7\n jmp 2f\n"
         "14: rol r8, 1\n jmp 2f\n 15: add r8, rcx\n jmp 2f\n 16: not r8\n jmp 2f\n 17: lea r8, [r8 + r8*2]\n"
         "2: dec rdx\n jnz 1b\n jmp 8f\n 9: .long 10b - 9b, 11b - 9b, 12b - 9b, 13b - 9b, 14b - 9b, 15b - "
         "9b, 16b - 9b, 17b - 9b\n 8:");
FRAGMENT(recursion,
         "mov rax, rcx\n call 1f\n jmp 9f\n 1: test rax, rax\n jz 2f\n push rax\n dec rax\n call 1b\n pop "
         "rbx\n add rax, rbx\n ret\n 2: ret\n 9:");
FRAGMENT(fibonacci,
         "mov rdi, rcx\n call 1f\n jmp 9f\n 1: cmp rdi, 2\n jb 2f\n push rdi\n dec rdi\n call 1b\n pop rdi\n "
         "push rax\n sub rdi, 2\n call 1b\n"
         " pop rdi\n add rax, rdi\n ret\n 2: mov rax, rdi\n ret\n 9:");
FRAGMENT(retpoline,
         "lea rax, [rip + 5f]\n call 2f\n jmp 9f\n 2: call 3f\n 4: pause\n lfence\n jmp 4b\n 3: mov [rsp], "
         "rax\n ret\n 5: mov ebx, 77\n ret\n 9:");
FRAGMENT(tail_calls,
         "mov r8d, 0\n 1: call 2f\n dec rcx\n jnz 1b\n jmp 9f\n 2: inc r8\n jmp 3f\n 3: lea rax, [rip + "
         "4f]\n jmp rax\n 4: inc r8\n ret\n 9:");
FRAGMENT(long_jump,
         "mov r12, rsp\n mov r8d, 0\n 1: call 2f\n 2: call 3f\n 3: call 4f\n 4: inc r8\n mov rsp, r12\n lea "
         "rax, [rip + 5f]\n jmp rax\n 5: dec rcx\n jnz 1b");
FRAGMENT(return_twice,
         "mov r8d, 0\n 1: call 2f\n inc r8\n jmp 3f\n 2: mov rax, [rsp]\n push rax\n lea rbx, [rip + 4f]\n "
         "mov [rsp + 8], rbx\n ret\n"
         " 3: ret\n 4: dec rcx\n jnz 1b");
FRAGMENT(swap_stacks,
         "mov r12, rsp\n lea r13, [rsp - 2048]\n lea rax, [rip + 5f]\n mov [r13], rax\n mov r8d, 0\n"
         " 1: call 2f\n inc r8\n dec rcx\n jnz 1b\n jmp 9f\n 2: xchg rsp, r13\n ret\n 5: inc r9\n call 6f\n "
         "jmp 5b\n 6: xchg rsp, r13\n ret\n 9:");
FRAGMENT(where, "mov eax, cs\n lea rbx, [rip]");

namespace {

// `mov eax, value; ret`
void write_function(u64 at, u32 value) {
    auto* bytes = reinterpret_cast<volatile u8*>(at);
    bytes[0] = 0xb8;
    for (unsigned i = 0; i < 4; ++i) bytes[1 + i] = static_cast<u8>(value >> 8 * i);
    bytes[5] = 0xc3;
}

u64 table[4096];

void call_all(const char* name, unsigned count, u64 (*place)(unsigned)) {
    u64 sum = 0;
    for (unsigned i = 0; i < count; ++i) {
        table[i] = place(i);
        write_function(table[i], i * 3 + 1);
        sum += i * 3 + 1;
    }
    for (const void* code : {call_table, call_table_r11}) {
        Registers in;
        in.rsi = address(table), in.rdx = count, in.rcx = 5;
        const Outcome out = run(code, in);
        expect_done(name, out);
        check_equal(name, out.registers.r8, sum * 5);
    }
}

void many_targets() {
    // 64 frames mapped at distances of 64 KiB and 1 MiB: the low bits of their addresses are equal.
    for (unsigned i = 0; i < 64; ++i) {
        u8* page = allocate_page();
        map(window + u64{i} * 0x10000, page, kernel_page);
        map(window + (1ull << 32) + u64{i} * 0x100000, page, kernel_page);
        map(window + (1ull << 36) * (i % 4 + 1) + u64{i / 4} * 4096, page, kernel_page);
    }
    call_all("targets one after the other", 512,
             [](unsigned i) -> u64 { return window + i % 64 * 0x10000 + i / 64 * 8; });
    call_all("targets 64 KiB apart", 64, [](unsigned i) -> u64 { return window + u64{i} * 0x10000; });
    call_all("targets 1 MiB apart", 64,
             [](unsigned i) -> u64 { return window + (1ull << 32) + u64{i} * 0x100000 + 0x123; });
    call_all("targets 64 GiB apart", 4,
             [](unsigned i) -> u64 { return window + (1ull << 36) * (i + 1) + 0x777; });
    call_all("targets in one line", 8, [](unsigned i) -> u64 { return window + i * 8 + 0xff0 - 64; });
}

void control_flow() {
    Registers in;
    in.rdx = 100'000;
    // The same generator in C++.
    u64 state = 0;
    u32 random = 12345;
    for (int i = 0; i < 100'000; ++i) {
        random = random * 1103515245u + 12345u;
        const u64 choice = random >> 16 & 7;
        switch (choice) {
            case 0: state += 1; break;
            case 1: state += 3; break;
            case 2: state -= 5; break;
            case 3: state ^= 7; break;
            case 4: state = state << 1 | state >> 63; break;
            case 5: state += choice; break;
            case 6: state = ~state; break;
            default: state *= 3; break;
        }
    }
    check_equal("jump table", run(switch_loop, in).registers.r8, state);
    in.rcx = 700;
    check_equal("recursion", run(recursion, in).registers.rax, 700 * 701 / 2);
    in.rcx = 20;
    check_equal("fibonacci", run(fibonacci, in).registers.rax, 6765);
    check_equal("retpoline", run(retpoline).registers.rbx, 77);
    in.rcx = 1000;
    check_equal("tail calls", run(tail_calls, in).registers.r8, 2000);
    check_equal("jumps out of three calls", run(long_jump, in).registers.r8, 1000);
    Outcome out = run(return_twice, in);
    check_equal("a return without its call", out.registers.r8, 1000);
    in.r9 = 0;
    out = run(swap_stacks, in);
    check("stacks swapped under returns", out.registers.r8 == 1000 && out.registers.r9 == 1000);
}

void privilege() {
    // One virtual address, run by the kernel and by the user in turn.
    Tally tally{"one address at CPL 0 and CPL 3"};
    for (int i = 0; i < 20; ++i) {
        Outcome out = run(reinterpret_cast<const void*>(user(where)), {}, Ring::Kernel);
        tally.expect(out.registers.rax, Selector::KernelCode);
        out = run(where, {}, Ring::User);
        tally.expect(out.registers.rax, Selector::UserCode);
        tally.expect(out.registers.rbx & ~0xffull, user(where) & ~0xffull);
    }
}

}  // namespace

void micro_main() {
    many_targets();
    control_flow();
    privilege();
}
