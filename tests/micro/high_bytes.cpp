// SPDX-License-Identifier: Apache-2.0
// AH, BH, CH and DH with memory operands and with each other: their encodings exclude any REX prefix, so an
// address moved to r8…r15 cannot stand beside them. Compared with the same steps done on low bytes.

#include "runtime/run.hpp"

using namespace micro;

#define HIGH_BYTE(name, high, low)                                                 \
    FRAGMENT(name##_high, high);                                                   \
    FRAGMENT(name##_low, "ror rax, 8\n ror rbx, 8\n ror rcx, 8\n ror rdx, 8\n" low \
                         "\n mov r8d, 0\n rol rax, 8\n rol rbx, 8\n rol rcx, 8\n rol rdx, 8")

// rsi, rdi: memory; rsp: stack. The low form keeps flags of its own, compared only where `flags` is asked
// for.
HIGH_BYTE(load, "mov ah, [rsi]\n mov bh, [rsi + 1]\n mov ch, [rdi + 2]\n mov dh, [rsp + 3]",
          "mov al, [rsi]\n mov bl, [rsi + 1]\n mov cl, [rdi + 2]\n mov dl, [rsp + 3]");
HIGH_BYTE(store, "mov [rsi], ah\n mov [rdi], bh\n mov [rsp], ch\n mov [rsi + 9], dh",
          "mov [rsi], al\n mov [rdi], bl\n mov [rsp], cl\n mov [rsi + 9], dl");
HIGH_BYTE(add_from, "add ah, [rsi]\n adc bh, [rdi]\n sbb ch, [rsp]\n xor dh, [rsi + 7]",
          "add al, [rsi]\n adc bl, [rdi]\n sbb cl, [rsp]\n xor dl, [rsi + 7]");
HIGH_BYTE(add_to, "add [rsi], ah\n adc [rdi], bh\n sbb [rsp], ch\n or [rsi + 7], dh",
          "add [rsi], al\n adc [rdi], bl\n sbb [rsp], cl\n or [rsi + 7], dl");
HIGH_BYTE(exchange, "xchg ah, [rsi]\n xchg [rdi], bh\n lock xadd [rsi + 1], ch\n xadd [rsp], dh",
          "xchg al, [rsi]\n xchg [rdi], bl\n lock xadd [rsi + 1], cl\n xadd [rsp], dl");
HIGH_BYTE(
    compare,
    "cmp ah, [rsi]\n seta [rsi + 8]\n cmp [rdi], bh\n setl [rsi + 9]\n test [rsi], ch\n sets [rsi + 10]",
    "cmp al, [rsi]\n seta [rsi + 8]\n cmp [rdi], bl\n setl [rsi + 9]\n test [rsi], cl\n sets [rsi + 10]");
HIGH_BYTE(each_other, "add ah, bh\n mov ch, dh\n xchg dh, ah\n cmp ah, ch\n sbb bh, ah",
          "add al, bl\n mov cl, dl\n xchg dl, al\n cmp al, cl\n sbb bl, al");
HIGH_BYTE(unary, "inc ah\n neg bh\n not ch\n dec dh\n shl ah, 3\n sar bh, 1\n rol dh, 5",
          "inc al\n neg bl\n not cl\n dec dl\n shl al, 3\n sar bl, 1\n rol dl, 5");
HIGH_BYTE(immediate, "add ah, 7\n cmp bh, 0x80\n setb ch\n mov dh, 0x5a\n test ah, 4\n setz bh",
          "add al, 7\n cmp bl, 0x80\n setb cl\n mov dl, 0x5a\n test al, 4\n setz bl");
HIGH_BYTE(
    with_flags,
    "add ah, [rsi]\n mov bh, [rdi]\n setc [rdi + 4]\n adc ch, [rsi + 1]\n mov [rdi + 1], dh\n adc dh, 0",
    "add al, [rsi]\n mov bl, [rdi]\n setc [rdi + 4]\n adc cl, [rsi + 1]\n mov [rdi + 1], dl\n adc dl, 0");
// With rip-relative and indexed addresses.
HIGH_BYTE(addresses,
          "mov ah, [rsi + rbp*2]\n mov [rdi + rbp], bh\n add ch, [rbp*4 + rsi]\n mov dh, byte ptr [rip + "
          "high_bytes_data]",
          "mov al, [rsi + rbp*2]\n mov [rdi + rbp], bl\n add cl, [rbp*4 + rsi]\n mov dl, byte ptr [rip + "
          "high_bytes_data]");

FRAGMENT(extend_high, "movzx esi, ah\n movsx edi, bh\n movzx ebp, ch\n movsx esi, dh");
FRAGMENT(multiply_high, "mov al, 7\n mul bh\n mov bx, ax\n mov al, 0xfd\n imul ch");
FRAGMENT(divide_high, "mov ax, 1000\n div ch");
FRAGMENT(compare_exchange_high, "mov al, [rsi]\n cmpxchg [rsi], dh\n setz [rsi + 1]");
FRAGMENT(flags_to_ah, "cmp ebx, ecx\n lahf\n mov [rsi], ah\n mov ah, [rsi + 1]\n sahf");

u8 high_bytes_data asm("high_bytes_data") = 0xc3;

namespace {

u64 memory[16];
u64 low_memory[16];
u64 stack[16];
u64 low_stack[16];

Registers inputs(u64 round, u64* at, u64* stack_at) {
    for (unsigned i = 0; i < 16; ++i) {
        at[i] = 0x0123456789abcdef * (u64{i} + 1) + round;
        stack_at[i] = 0x1122334455667788 * (u64{i} + 1) ^ round;
    }
    Registers in;
    in.rax = 0x1122334455667788 + round * 0x3701;
    in.rbx = 0x99aabbccddeeff00 - round * 0x1133;
    in.rcx = 0xfedcba9876543210 ^ round << 9;
    in.rdx = 0x0f1e2d3c4b5a6978 + round * 0x7f80;
    in.rsi = reinterpret_cast<u64>(at), in.rdi = reinterpret_cast<u64>(at + 4), in.rbp = 3;
    in.rsp = reinterpret_cast<u64>(stack_at + 8);
    return in;
}

void compare(const char* name, const void* high, const void* low) {
    Tally tally{name};
    for (u64 round = 0; round < 8; ++round) {
        const Outcome got = run(high, inputs(round, memory, stack));
        const Outcome want = run(low, inputs(round, low_memory, low_stack));
        tally.expect(got.vector, want.vector, round);
        tally.expect(got.registers.rax, want.registers.rax, round, 0);
        tally.expect(got.registers.rbx, want.registers.rbx, round, 3);
        tally.expect(got.registers.rcx, want.registers.rcx, round, 1);
        tally.expect(got.registers.rdx, want.registers.rdx, round, 2);
        for (unsigned i = 0; i < 16; ++i) tally.expect(memory[i], low_memory[i], round, i);
        for (unsigned i = 0; i < 16; ++i) tally.expect(stack[i], low_stack[i], round, i);
    }
}

void absolute() {
    Registers in = inputs(0, memory, stack);
    in.rax = 0x8100, in.rbx = 0xf200, in.rcx = 0x8300, in.rdx = 0x9400;
    Outcome out = run(extend_high, in);
    check_equal("movsx esi, dh", out.registers.rsi, 0xffffff94);
    check_equal("movsx edi, bh", out.registers.rdi, 0xfffffff2);
    check_equal("movzx ebp, ch", out.registers.rbp, 0x83);
    out = run(multiply_high, in);
    check_equal("mul bh", out.registers.rbx, 7 * 0xf2);
    check_equal("imul ch", out.registers.rax & 0xffff, 3 * 0x7d);
    out = run(divide_high, in);
    check_equal("div ch", out.registers.rax & 0xffff, (1000 % 0x83) << 8 | 1000 / 0x83);
    memory[0] = 0x1234;
    out = run(compare_exchange_high, in);
    check_equal("cmpxchg m8, dh", memory[0], 0x194);
    in.rbx = 1, in.rcx = 2;
    memory[0] = 0xff00;
    out = run(flags_to_ah, in);
    check_equal("lahf, store ah", memory[0], 0xff97);
    check_equal("load ah, sahf", out.registers.rflags & 0xff, 0xd7);
}

}  // namespace

#define COMPARE(name) compare("high bytes: " #name, name##_high, name##_low)

void micro_main() {
    COMPARE(load), COMPARE(store), COMPARE(add_from), COMPARE(add_to), COMPARE(exchange), COMPARE(compare);
    COMPARE(each_other), COMPARE(unary), COMPARE(immediate), COMPARE(with_flags), COMPARE(addresses);
    absolute();
}
