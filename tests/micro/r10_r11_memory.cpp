// SPDX-License-Identifier: Apache-2.0
// r10 and r11 as base, index and operand of instructions with memory operands, at once and in turn,
// misaligned too; BMI, MOVBE, CRC32 and ADX.

#include "twins.hpp"

using namespace micro;

// clang-format off
#define TWINS(X) \
    X(double_shift_memory, "np", "shld [\\b], \\a, 7\n shrd [\\b + 8], \\ad, cl") \
    X(bits_memory, "np", "and \\a, 255\n bts [\\b], \\a\n btr dword ptr [\\b], 3\n bt [\\b + 8], \\ad\n" \
      "setc al\n" \
      "lock btc [\\b], \\aw") \
    X(sse, "np", "movq xmm0, \\a\n movups xmm1, [\\b]\n paddq xmm0, xmm1\n movups [\\b + 3], xmm0\n" \
      "movd \\ad, xmm0\n" \
      "movmskps \\bd, xmm1") \
    X(load, "np", "mov \\a, [\\b]") \
    X(load_self, "pp", "mov \\a, [\\a]\n mov \\bd, [\\b + 4]") \
    X(load_sizes, "np", "mov \\ad, [\\b]\n mov \\aw, [\\b + 9]\n mov \\ab, [\\b - 3]") \
    X(store, "np", "mov [\\b], \\a\n mov [\\b + 9], \\ad\n mov [\\b + 14], \\aw\n mov [\\b + 17], \\ab") \
    X(store_self, "pp", "mov [\\a], \\a\n mov [\\b + 8], \\bd\n mov [\\a - 5], \\bb") \
    X(store_imm, "pp", "mov qword ptr [\\a], -5\n mov byte ptr [\\b], 5\n mov word ptr [\\b + 2], 0x1234") \
    X(indexed, "ip", "mov rax, [\\b + \\a*8 + 4]\n mov \\a, [\\b + \\a*4]") \
    X(indexed_store, "ip", "mov [\\b + \\a*8], \\a\n mov [\\b + \\a*2 - 9], \\bd") \
    X(index_base_other, "ii", "mov rax, [rbp + \\a*8]\n mov [rbp + \\b*4], rax\n add [rbp + \\a], \\b") \
    X(index_only, "pp", "mov rax, [\\a*1 + 8]\n mov [\\b*1], rax") \
    X(load_32bit_address, "pp", "mov \\a, [\\bd + 8]\n mov [\\bd], \\a") \
    X(add_from, "np", "add \\a, [\\b]\n adc \\ad, [\\b + 8]\n sbb \\aw, [\\b + 1]\n xor \\ab, [\\b]") \
    X(add_to, "np", "add [\\b], \\a\n adc [\\b + 8], \\ad\n sbb [\\b + 1], \\aw\n or [\\b - 9], \\ab") \
    X(modify, "pp", "inc dword ptr [\\a]\n neg byte ptr [\\b]\n not qword ptr [\\a + 8]\n" \
      "dec word ptr [\\b + 3]") \
    X(modify_imm, "pp", "add qword ptr [\\a], 100\n cmp byte ptr [\\b + 1], 3\n" \
      "and dword ptr [\\b], 0x7fff0000") \
    X(cmp_test_memory, "np", "cmp [\\b], \\a\n setb al\n cmp \\ab, [\\b + 1]\n setl dl\n test [\\b], \\a") \
    X(exchange_memory, "np", "xchg \\a, [\\b]\n xchg [\\b + 8], \\ab") \
    X(lock_memory, "np", "lock add [\\b], \\a\n lock xadd [\\b], \\ad\n lock inc byte ptr [\\b]") \
    X(cmpxchg_memory, "np", "mov rax, [\\b]\n lock cmpxchg [\\b], \\a\n cmpxchg [\\b + 8], \\ad") \
    X(cmpxchg8, "np", "xor ebx, ebx\n xor \\ad, \\ad\n lock cmpxchg8b [\\b]\n cmpxchg8b [\\b]") \
    X(cmpxchg16, "np", "xor ebx, ebx\n xor \\ad, \\ad\n and \\b, -16\n lock cmpxchg16b [\\b]\n" \
      "cmpxchg16b [\\b]") \
    X(multiply_memory, "np", "imul \\a, [\\b]\n imul \\ad, [\\b + 4], 99\n mul qword ptr [\\b]") \
    X(shift_memory, "pp", "shl qword ptr [\\a], cl\n sar dword ptr [\\b], 1\n rol byte ptr [\\b + 9], 3") \
    X(scan_memory, "np", "bsf \\a, [\\b]\n popcnt \\a, [\\b + 8]\n popcnt \\ad, \\bd") \
    X(extend_memory, "np", "movzx \\ad, byte ptr [\\b]\n movsx \\a, word ptr [\\b + 1]\n" \
      "movsxd \\b, dword ptr [\\b]") \
    X(condition_memory, "np", "cmovc \\a, [\\b]\n cmovnz \\ad, [\\b + 8]\n setz [\\b]\n setc [\\b + 1]") \
    X(push_memory, "pp", "push qword ptr [\\a]\n push qword ptr [\\b + 8]\n pop qword ptr [\\a + 16]\n pop \\a") \
    X(push_indexed, "ip", "push qword ptr [\\b + \\a*8]\n pop qword ptr [\\b + \\a*8 + 24]") \
    X(pop_self, "pp", "push \\b\n pop \\a\n push qword ptr [\\a]\n pop \\b") \
    X(call_memory, "np", "lea \\a, [rip + 7f]\n mov [\\b], \\a\n call [\\b]\n 6: jmp 8f\n 7: pop \\a\n" \
      "lea rax, [rip + 6b]\n push \\a\n ret\n 8: sub \\a, rax\n xor eax, eax\n mov [\\b], rax\n" \
      "mov [rsp - 8], rax") \
    X(jump_table, "np", "lea \\a, [rip + 7f]\n mov [\\b + 8], \\a\n mov \\ad, 1\n jmp [\\b + \\a*8]\n" \
      "ud2\n 7: mov qword ptr [\\b + 8], 0") \
    X(strings, "pp", "mov r8, \\a\n mov r9, \\b\n mov rsi, r8\n mov rdi, r9\n movsq\n mov ecx, 5\n" \
      "rep movsb\n mov r8, rsi\n mov r9, rdi\n xor esi, esi\n xor edi, edi\n mov \\a, r8\n mov \\b, r9") \
    X(x87, "pp", "fninit\n fild qword ptr [\\a]\n fistp qword ptr [\\b]\n fnstcw [\\a + 8]") \
    X(sse_memory, "pp", "movups xmm0, [\\a]\n movdqu xmm1, [\\b]\n pshufd xmm0, xmm0, 0x1b\n" \
      "movhps [\\a], xmm0\n movss [\\b], xmm1\n movnti [\\b + 8], \\a") \
    X(sse_convert, "np", "cvtsi2sd xmm0, \\a\n cvttsd2si \\a, xmm0\n cvtsi2ss xmm1, dword ptr [\\b]\n" \
      "cvtss2si \\bd, xmm1") \
    X(sse_insert, "np", "pxor xmm0, xmm0\n pinsrw xmm0, \\ad, 1\n pinsrw xmm0, [\\b], 2\n" \
      "pextrw \\ad, xmm0, 2\n movq [\\b], xmm0") \
    X(fences, "pp", "prefetcht0 [\\a]\n clflush [\\b]\n nop dword ptr [\\a]") \
    X(tables, "pp", "sgdt [\\a]\n sidt [\\b]\n invlpg [\\a]")

#define TWINS_BMI(X) \
    X(andn, "nn", "andn \\a, \\b, rdx\n andn \\bd, edx, \\ad\n blsr \\a, \\a\n blsi rax, \\b") \
    X(bextr, "np", "bextr \\a, [\\b], rdx\n bzhi rax, \\a, rcx\n tzcnt \\a, [\\b]\n lzcnt \\ad, \\bd") \
    X(shlx, "nn", "shlx \\a, \\b, \\a\n sarx \\bd, \\ad, ecx\n rorx \\a, \\b, 9\n shrx \\b, rdx, \\b") \
    X(mulx, "np", "mulx \\a, rax, [\\b]\n mulx \\b, \\a, \\a") \
    X(pdep, "np", "pdep \\a, \\a, [\\b]\n pext \\b, rdx, \\a") \
    X(movbe, "np", "movbe \\a, [\\b]\n movbe [\\b + 8], \\ad") \
    X(crc32, "np", "crc32 \\a, qword ptr [\\b]\n crc32 \\bd, \\ab") \
    X(adx, "np", "adcx \\a, [\\b]\n adox \\b, \\a\n adox \\ad, [rbp]")
// clang-format on

TWINS(R10_R11_DEFINE)
TWINS_BMI(R10_R11_DEFINE)

void micro_main() {
    TWINS(R10_R11_COMPARE)
    if (cpuid(7).ebx >> 19 & 1) {  // ADX: the others came before it
        TWINS_BMI(R10_R11_COMPARE)
    } else {
        skip("BMI, MOVBE and ADX");
    }
}
