// SPDX-License-Identifier: Apache-2.0
// Push, pop, call, return, frames, and RSP as an ordinary operand: aligned and odd, with RSP-based addresses.
//
// Everything on the stack but what an instruction writes must stay, below RSP too (the red zone is the
// guest's). Source: Intel SDM vol. 2, PUSH, POP, CALL, RET, ENTER, LEAVE.

#include "twins.hpp"

using namespace micro;

FRAGMENT(push_rsp, "push rsp");
FRAGMENT(pop_rsp, "pop rsp");
FRAGMENT(push_above, "push qword ptr [rsp + 8]");
FRAGMENT(pop_above, "pop qword ptr [rsp + 8]");
FRAGMENT(pop_top, "pop qword ptr [rsp]");
FRAGMENT(push_indexed, "push qword ptr [rsp + rcx*8 - 8]");
FRAGMENT(push_immediates, "push -5\n push 0x12345678\n .byte 0x66, 0x68, 0xcd, 0xab");
FRAGMENT(push_word, "push ax\n push r10w\n pop bx\n pop r11w\n push word ptr [rsp + 8]");
FRAGMENT(push_segments, "push fs\n push gs\n pop fs\n pop gs");
FRAGMENT(call_relative, "call 1f\n" AT "jmp 2f\n 1: mov rax, [rsp]\n mov rbx, rsp\n ret\n 2:");
FRAGMENT(call_above, "lea rax, [rip + 1f]\n mov [rsp + 8], rax\n call qword ptr [rsp + 8]\n" AT
                     "jmp 2f\n 1: mov rbx, [rsp]\n ret\n 2:");
FRAGMENT(call_through_pushed, "lea rax, [rip + 1f]\n push rax\n call [rsp]\n" AT
                              "pop rax\n jmp 2f\n 1: mov rbx, [rsp]\n ret\n 2:");
FRAGMENT(jump_top, "lea rax, [rip + 1f]\n push rax\n jmp [rsp]\n ud2\n 1: add rsp, 8");
FRAGMENT(return_imm, "push 1\n push 2\n lea rax, [rip + 1f]\n push rax\n ret 16\n ud2\n 1:");
FRAGMENT(return_changed, "call 1f\n ud2\n jmp 2f\n 1: add qword ptr [rsp], 2\n ret\n 2:");
FRAGMENT(return_without_call, "lea rax, [rip + 1f]\n push rax\n ret\n ud2\n 1: mov ecx, 7");
FRAGMENT(call_pop, "call 1f\n" AT "1: pop rax");
FRAGMENT(enter_0, "enter 32, 0");
FRAGMENT(enter_1, "enter 16, 1");
FRAGMENT(enter_3, "enter 8, 3");
FRAGMENT(leave_frame, "leave");
FRAGMENT(flags_word, "stc\n pushfq\n or dword ptr [rsp], 0x800\n popfq");
FRAGMENT(red_zone,
         "mov [rsp - 8], rax\n mov [rsp - 16], rbx\n mov rcx, [rsp - 8]\n push rdx\n mov rbp, [rsp - 8]\n "
         "pop rdx");
FRAGMENT(
    runs,
    "push rax\n push rbx\n push r10\n push r11\n sub rsp, 40\n mov [rsp + 8], rcx\n mov [rsp + 32], r11\n"
    "mov r10, [rsp + 64]\n mov r11, [rsp + 56]\n add rsp, 40\n pop rcx\n pop rdx\n pop rsi\n pop rdi");
FRAGMENT(exchange_stacks,
         "xchg rsp, rbp\n push rax\n xchg rsp, rbp\n push rbx\n mov rsp, rbp\n pop rcx\n sub rsp, 8");

// RSP against rbx as operand a; b is rsi. (RSP cannot be an index.)
#define TWINS(X)                                                                                           \
    X(moves, "pp", "mov rax, \\a\n mov edx, \\ad\n mov \\b, \\a\n mov [\\b], \\a\n mov [\\a + 8], \\b")    \
    X(loads, "pp", "mov rax, [\\a]\n mov [\\a - 9], rdx\n mov \\a, [\\a + 3]")                             \
    X(arithmetic, "pn", "add \\a, 16\n sub \\a, \\b\n and \\a, -16\n or \\b, \\a\n xor \\ad, 5\n inc \\a") \
    X(memory_arithmetic, "pp",                                                                             \
      "add [\\a + 8], \\b\n sub \\a, [\\b]\n cmp \\a, \\b\n setb al\n test \\a, \\a")                      \
    X(lea, "pi", "lea \\a, [\\a + \\b*8 - 8]\n lea rax, [\\a]\n lea \\ad, [\\a + 4]")                      \
    X(partial, "pn", "mov \\ab, 0x5a\n add \\ab, \\bb\n mov \\aw, \\bw\n sub \\aw, 3")                     \
    X(extend, "pn", "movzx eax, \\ab\n movsx rdx, \\aw\n movsxd \\a, \\bd\n movzx \\ad, \\bw")             \
    X(exchange, "pp", "xchg \\a, \\b\n xchg rax, \\a\n xchg rax, \\a\n xadd [\\b], \\a")                   \
    X(compare_exchange, "pp", "mov rax, \\a\n cmpxchg \\a, \\b\n cmpxchg [\\b], \\a")                      \
    X(shifts, "pn", "shl \\a, 3\n ror \\a, cl\n bswap \\a\n not \\a\n neg \\ad\n shld \\a, \\b, 9")        \
    X(multiply, "pn", "imul \\a, \\b\n imul \\ad, \\bd, 9\n mul \\a")                                      \
    X(bits, "pn", "bts \\a, \\b\n bt \\a, 3\n setc al\n bsf rdx, \\a\n popcnt \\b, \\a")                   \
    X(conditional, "pn", "cmovc \\a, \\b\n cmovz \\ad, \\bd\n setz \\ab")                                  \
    X(vector, "pn", "movq xmm0, \\a\n movq \\b, xmm0\n cvtsi2sd xmm1, \\a\n cvttsd2si \\a, xmm1")          \
    X(swap_back, "pp", "mov rax, \\a\n mov \\a, \\b\n mov rdx, [\\a]\n mov \\a, rax\n mov \\b, [\\a]")     \
    X(crc, "pn", "crc32 \\a, \\b\n crc32 \\bd, \\ab")                                                      \
    X(control, "pn", "mov cr2, \\a\n mov \\b, cr2\n mov \\a, cr2")

#define DEFINE(name, kinds, text)                                                  \
    TWIN_TEMPLATE(name, text);                                                     \
    FRAGMENT(name##_plain, #name "_template rbx, rsi, ebx, esi, bx, si, bl, sil"); \
    FRAGMENT(name##_rsp, #name "_template rsp, rsi, esp, esi, sp, si, spl, sil");  \
    FRAGMENT(name##_r11, #name "_template rsp, r11, esp, r11d, sp, r11w, spl, r11b");
TWINS(DEFINE)

#define COMPARE(name, kinds, text)                                                               \
    {                                                                                            \
        static const TwinVariant variants[] = {{name##_plain, &Registers::rbx, &Registers::rsi}, \
                                               {name##_rsp, &Registers::rsp, &Registers::rsi},   \
                                               {name##_r11, &Registers::rsp, &Registers::r11}};  \
        compare({"rsp as operand: " #name, kinds, variants, 3});                                 \
    }

namespace {

alignas(64) u8 bytes[512];
u8 before[512];
u64 base;

u64 at(int offset) {
    u64 value;
    __builtin_memcpy(&value, bytes + (base - address(bytes)) + offset, 8);
    return value;
}

Registers registers;

// Runs with RSP = base; afterwards only the `written` bytes below base + `from` may have changed.
Outcome with_stack(Tally& tally, const void* code, int from, int written) {
    for (unsigned i = 0; i < sizeof bytes; ++i) bytes[i] = static_cast<u8>(i * 7 + 1);
    registers = {};
    registers.rax = 0x1111111111111111, registers.rbx = 0x2222222222222222, registers.rcx = 3;
    registers.rdx = 0x4444444444444444, registers.r10 = 0xaaaaaaaaaaaaaaaa,
    registers.r11 = 0xbbbbbbbbbbbbbbbb;
    registers.rbp = base + 64, registers.rsp = base;
    __builtin_memcpy(before, bytes, sizeof bytes);
    const Outcome out = run(code, registers);
    tally.expect(out.vector, done_vector, base);
    const int top = static_cast<int>(base - address(bytes)) + from;
    for (int i = 0; i < static_cast<int>(sizeof bytes); ++i) {
        const int offset = i - top + from;
        if (i < top - written || i >= top) tally.expect(bytes[i], before[i], base, static_cast<u64>(offset));
    }
    return out;
}

u64 original(int offset) {
    u64 value;
    __builtin_memcpy(&value, before + (base - address(bytes)) + offset, 8);
    return value;
}

void pushes(Tally& t) {
    Outcome out = with_stack(t, push_rsp, 0, 8);
    t.expect(out.registers.rsp, base - 8, base, 1), t.expect(at(-8), base, base, 1);
    out = with_stack(t, pop_rsp, 0, 0);
    t.expect(out.registers.rsp, original(0), base, 2);
    out = with_stack(t, push_above, 0, 8);
    t.expect(at(-8), original(8), base, 3), t.expect(out.registers.rsp, base - 8, base, 3);
    out = with_stack(t, pop_above, 24, 8);
    t.expect(at(16), original(0), base, 4), t.expect(out.registers.rsp, base + 8, base, 4);
    out = with_stack(t, pop_top, 16, 8);
    t.expect(at(8), original(0), base, 5), t.expect(out.registers.rsp, base + 8, base, 5);
    out = with_stack(t, push_indexed, 0, 8);
    t.expect(at(-8), original(16), base, 6);
    out = with_stack(t, push_immediates, 0, 18);
    t.expect(at(-8), ~4ull, base, 7), t.expect(at(-16), 0x12345678, base, 7);
    t.expect(at(-18) & 0xffff, 0xabcd, base, 7), t.expect(out.registers.rsp, base - 18, base, 7);
    out = with_stack(t, push_word, 0, 4);
    t.expect(out.registers.rbx, 0x222222222222aaaa, base, 8),
        t.expect(out.registers.r11, 0xbbbbbbbbbbbb1111, base, 8);
    t.expect(out.registers.rsp, base - 2, base, 8), t.expect(at(-2) & 0xffff, original(8) & 0xffff, base, 8);
    out = with_stack(t, push_segments, 0, 16);
    t.expect(out.registers.rsp, base, base, 9);
    out = with_stack(t, red_zone, 0, 16);
    t.expect(out.registers.rbp, registers.rbx, base, 10);
    t.expect(at(-8), registers.rdx, base, 10), t.expect(at(-16), registers.rbx, base, 10);
    t.expect(out.registers.rcx, registers.rax, base, 10);
    out = with_stack(t, runs, 0, 72);
    t.expect(out.registers.rcx, registers.r11, base, 11),
        t.expect(out.registers.rdx, registers.r10, base, 11);
    t.expect(out.registers.rsi, registers.rbx, base, 11),
        t.expect(out.registers.rdi, registers.rax, base, 11);
    t.expect(out.registers.r10, registers.rax, base, 11),
        t.expect(out.registers.r11, registers.rbx, base, 11);
    t.expect(out.registers.rsp, base, base, 11);
    out = with_stack(t, exchange_stacks, 64, 72);
    t.expect(out.registers.rcx, registers.rax, base, 12), t.expect(at(-8), registers.rbx, base, 12);
    t.expect(out.registers.rsp, base + 56, base, 12), t.expect(at(56), registers.rax, base, 12);
}

void calls(Tally& t) {
    Outcome out = with_stack(t, call_relative, 0, 8);
    t.expect(out.registers.rax, address(call_relative_at), base, 20),
        t.expect(out.registers.rbx, base - 8, base, 20);
    t.expect(out.registers.rsp, base, base, 20);
    out = with_stack(t, call_above, 16, 24);
    t.expect(out.registers.rbx, address(call_above_at), base, 21),
        t.expect(out.registers.rsp, base, base, 21);
    out = with_stack(t, call_through_pushed, 0, 16);
    t.expect(out.registers.rbx, address(call_through_pushed_at), base, 22);
    out = with_stack(t, jump_top, 0, 8);
    t.expect(out.registers.rsp, base, base, 23);
    out = with_stack(t, return_imm, 0, 24);
    t.expect(out.registers.rsp, base, base, 24);
    out = with_stack(t, return_changed, 0, 8);
    t.expect(out.registers.rsp, base, base, 25);
    out = with_stack(t, return_without_call, 0, 8);
    t.expect(out.registers.rcx, 7, base, 26);
    out = with_stack(t, call_pop, 0, 8);
    t.expect(out.registers.rax, address(call_pop_at), base, 27);
}

void frames(Tally& t) {
    Outcome out = with_stack(t, enter_0, 0, 8);
    t.expect(at(-8), registers.rbp, base, 30), t.expect(out.registers.rbp, base - 8, base, 30);
    t.expect(out.registers.rsp, base - 40, base, 30);
    out = with_stack(t, enter_1, 0, 16);
    t.expect(at(-8), registers.rbp, base, 31), t.expect(at(-16), base - 8, base, 31);
    t.expect(out.registers.rsp, base - 32, base, 31);
    out = with_stack(t, enter_3, 0, 32);
    t.expect(at(-8), registers.rbp, base, 32), t.expect(at(-16), original(56), base, 32);
    t.expect(at(-24), original(48), base, 32), t.expect(at(-32), base - 8, base, 32);
    t.expect(out.registers.rsp, base - 40, base, 32);
    out = with_stack(t, leave_frame, 0, 0);
    t.expect(out.registers.rbp, original(64), base, 33), t.expect(out.registers.rsp, base + 72, base, 33);
    out = with_stack(t, flags_word, 0, 8);
    t.expect(out.registers.rflags & (RFLAGS::OF | RFLAGS::CF), RFLAGS::OF | RFLAGS::CF, base, 34);
}

}  // namespace

void micro_main() {
    for (u64 misalignment = 0; misalignment < 8; misalignment += 3) {
        base = address(bytes) + 256 + misalignment;
        Tally push_tally{"push and pop"}, call_tally{"call and return"}, frame_tally{"enter and leave"};
        pushes(push_tally);
        calls(call_tally);
        frames(frame_tally);
    }
    TWINS(COMPARE)
}
