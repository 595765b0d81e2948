// SPDX-License-Identifier: Apache-2.0
// Every kind of use of r10 and r11 as register operands (the translator homes those two in memory): explicit
// and implicit operands, moves to and from vector, control and segment registers, call and jump targets.
// With memory operands: r10_r11_memory.cpp.

#include "twins.hpp"

using namespace micro;

// clang-format off
#define TWINS(X) \
    X(mov_imm, "nn", "mov \\a, 0x123456789abcdef\n mov \\bd, -1") \
    X(cmp_test, "nn", "cmp \\a, \\b\n setb al\n test \\ad, \\bd\n sets dl\n cmp \\ab, 5") \
    X(imul1, "nn", "imul \\bd\n mul \\ab") \
    X(cmpxchg_equal, "nn", "mov rax, \\a\n cmpxchg \\a, \\b") \
    X(bits, "nn", "bt \\a, \\b\n setc al\n bts \\b, 9\n btr \\ad, \\bd\n btc \\aw, 3") \
    X(push_pop, "nn", "push \\a\n push \\b\n pop \\a\n push \\aw\n pop \\bw\n pop \\b") \
    X(call, "nn", "lea \\a, [rip + 7f]\n call \\a\n 6: jmp 8f\n 7: mov \\b, [rsp]\n lea \\a, [rip + 6b]\n" \
      "sub \\b, \\a\n" \
      "ret\n 8: xor \\ad, \\ad\n mov [rsp - 8], \\a") \
    X(mov64, "nn", "mov \\a, \\b") \
    X(mov32, "nn", "mov \\ad, \\bd") \
    X(mov16, "nn", "mov \\aw, \\bw") \
    X(mov8, "nn", "mov \\ab, \\bb") \
    X(add64, "nn", "add \\a, \\b") \
    X(adc32, "nn", "adc \\ad, \\bd") \
    X(sbb16, "nn", "sbb \\aw, \\bw") \
    X(sub8, "nn", "sub \\ab, \\bb") \
    X(and_imm, "nn", "and \\a, 0x70\n or \\bb, 3\n xor \\aw, 0x7777") \
    X(inc_dec, "nn", "inc \\a\n dec \\bd\n neg \\aw\n not \\bb") \
    X(imul2, "nn", "imul \\a, \\b") \
    X(imul3, "nn", "imul \\ad, \\bd, 77") \
    X(mul, "nn", "mul \\a") \
    X(div, "nn", "xor edx, edx\n or \\a, 1\n div \\a") \
    X(idiv32, "nn", "mov eax, -77\n cdq\n mov \\ad, 7\n idiv \\ad") \
    X(xchg, "nn", "xchg \\a, \\b\n xchg \\ab, \\bb") \
    X(xchg_rax, "nn", "xchg rax, \\a\n xchg eax, \\bd") \
    X(xadd, "nn", "xadd \\a, \\b\n xadd \\aw, \\bw") \
    X(cmpxchg, "nn", "cmpxchg \\a, \\b") \
    X(shifts, "nn", "shl \\a, 3\n sar \\bd, cl\n shr \\ab, 1\n ror \\bw, cl\n rcl \\a, 1") \
    X(double_shift, "nn", "shld \\a, \\b, 5\n shrd \\bd, \\ad, cl") \
    X(scan, "nn", "or \\b, 1\n bsf \\a, \\b\n bsr \\bd, \\bd") \
    X(swap_bytes, "nn", "bswap \\a\n bswap \\bd") \
    X(extend, "nn", "movzx \\ad, \\bb\n movsx \\b, \\bw\n movsxd \\a, \\bd\n movzx eax, \\ab") \
    X(condition, "nn", "cmovc \\a, \\b\n cmovnz \\bd, \\ad\n setc \\ab\n setnz \\bb") \
    X(lea, "nn", "lea \\a, [\\b + \\a*4 + 8]\n lea \\bd, [\\ad + \\bd]\n lea \\aw, [\\b*8]\n" \
      "lea rax, [\\a + \\b]") \
    X(jump, "nn", "lea \\b, [rip + 7f]\n jmp \\b\n ud2\n 7: lea \\b, [rip + 7b]\n sub \\b, \\b") \
    X(control, "nn", "mov \\a, cr2\n mov cr2, \\b\n mov \\b, cr2\n mov \\a, cr8\n smsw \\aw\n str \\bd") \
    X(selectors, "nn", "mov \\ad, ss\n mov \\bd, 0x2b\n mov es, \\bd\n mov \\aw, es\n lar \\a, \\b\n" \
      "lsl \\b, \\b") \
    X(syscall_registers, "nn", "mov ecx, 0xc0000102\n mov eax, \\ad\n xor edx, edx\n wrmsr\n rdmsr\n" \
      "mov \\b, rax")
// clang-format on

TWINS(R10_R11_DEFINE)

void micro_main() { TWINS(R10_R11_COMPARE) }
