// SPDX-License-Identifier: Apache-2.0
// Results and flags of the arithmetic instructions, all sizes, register and memory forms, against a model
// in plain C++. Shifts: shifts.cpp. Flags kept across other instructions: flag_lifetime.cpp.
// Source: Intel SDM vol. 2, each instruction's "Flags Affected".

#include "flag_model.hpp"
#include "runtime/run.hpp"

using namespace micro;

// Operands: rax and rcx; rdi points at a copy of rax for memory destinations, rsi at a copy of rcx.
#define BINARY(op)                                    \
    FRAGMENT(op##_r8, #op " al, cl");                 \
    FRAGMENT(op##_r16, #op " ax, cx");                \
    FRAGMENT(op##_r32, #op " eax, ecx");              \
    FRAGMENT(op##_r64, #op " rax, rcx");              \
    FRAGMENT(op##_m8, #op " byte ptr [rdi], cl");     \
    FRAGMENT(op##_m16, #op " word ptr [rdi], cx");    \
    FRAGMENT(op##_m32, #op " dword ptr [rdi], ecx");  \
    FRAGMENT(op##_m64, #op " qword ptr [rdi], rcx");  \
    FRAGMENT(op##_lm64, #op " rax, qword ptr [rsi]"); \
    FRAGMENT(op##_lm8, #op " al, byte ptr [rsi]")
#define UNARY(op)                               \
    FRAGMENT(op##_r8, #op " al");               \
    FRAGMENT(op##_r16, #op " ax");              \
    FRAGMENT(op##_r32, #op " eax");             \
    FRAGMENT(op##_r64, #op " rax");             \
    FRAGMENT(op##_m8, #op " byte ptr [rdi]");   \
    FRAGMENT(op##_m16, #op " word ptr [rdi]");  \
    FRAGMENT(op##_m32, #op " dword ptr [rdi]"); \
    FRAGMENT(op##_m64, #op " qword ptr [rdi]")

BINARY(add);
BINARY(or);
BINARY(adc);
BINARY(sbb);
BINARY(and);
BINARY(sub);
BINARY(xor);
BINARY(cmp);
FRAGMENT(test_r8, "test al, cl");
FRAGMENT(test_r32, "test eax, ecx");
FRAGMENT(test_m64, "test [rdi], rcx");
UNARY(inc);
UNARY(dec);
UNARY(neg);
UNARY(not );
FRAGMENT(lock_add_m32, "lock add dword ptr [rdi], ecx");
FRAGMENT(lock_dec_m64, "lock dec qword ptr [rdi]");
FRAGMENT(xadd_m64, "lock xadd [rdi], rcx");
FRAGMENT(cmpxchg_equal, "mov rdx, rax\n cmpxchg [rdi], rcx");
FRAGMENT(cmpxchg_r32, "mov r10d, ecx\n mov r11d, ecx\n cmpxchg r10d, r11d");
FRAGMENT(mul_r64, "mul rcx");
FRAGMENT(imul_r64, "imul rcx");
FRAGMENT(mul_m8, "mul byte ptr [rsi]");
FRAGMENT(imul_rr32, "imul eax, ecx");
FRAGMENT(imul_rri64, "imul rax, rcx, -77");
FRAGMENT(adc_chain,
         "add rax, rcx\n mov [rdi], rax\n adc rdx, [rsi]\n adc qword ptr [rdi], 0\n sbb rbx, rbx\n mov rax, "
         "[rdi]");

namespace {

enum class Op : u8 { Add, Or, Adc, Sbb, And, Sub, Xor, Cmp, Inc, Dec, Neg, Not };

Expected model(Op op, u64 a, u64 b, u64 flags_in, unsigned bits) {
    const u64 carry = flags_in & RFLAGS::CF;
    const u64 mask = mask_of(bits);
    Expected expected{};
    switch (op) {
        case Op::Add: return add_model(a, b, 0, bits);
        case Op::Adc: return add_model(a, b, carry, bits);
        case Op::Sub: return sub_model(a, b, 0, bits);
        case Op::Sbb: return sub_model(a, b, carry, bits);
        case Op::Neg: return sub_model(0, a, 0, bits);
        case Op::And: return logic_model(a & b, bits);
        case Op::Or: return logic_model(a | b, bits);
        case Op::Xor: return logic_model(a ^ b, bits);
        case Op::Cmp:
            expected = sub_model(a, b, 0, bits);
            expected.value = a & mask;
            return expected;
        case Op::Inc: expected = add_model(a, 1, 0, bits); break;
        case Op::Dec: expected = sub_model(a, 1, 0, bits); break;
        case Op::Not: return {~a & mask, flags_in, arithmetic};
    }
    expected.flags = (expected.flags & ~RFLAGS::CF) | carry;  // INC and DEC leave CF
    return expected;
}

// What a register of `bits` becomes: 32-bit results clear the upper half, smaller ones keep it.
u64 merge(u64 old, u64 value, unsigned bits) { return bits == 32 ? value : (old & ~mask_of(bits)) | value; }

u64 memory_a, memory_b;

enum class Form : u8 { Register, MemoryDestination, MemorySource };

void test(const char* name, const void* code, Op op, unsigned bits, Form form) {
    Tally tally{name};
    const bool writes = op != Op::Cmp;
    for (const u64 a : operands)
        for (const u64 b : operands)
            for (const u64 flags : {u64{0}, arithmetic}) {
                Registers in;
                in.rax = a, in.rcx = b, in.rdi = address(&memory_a), in.rsi = address(&memory_b);
                in.rflags |= flags;
                memory_a = a, memory_b = b;
                const Outcome outcome = run(code, in);
                const Expected expected = model(op, a, b, flags, bits);
                const bool to_memory = form == Form::MemoryDestination;
                const u64 want = !writes     ? a
                                 : to_memory ? (a & ~mask_of(bits)) | expected.value
                                             : merge(a, expected.value, bits);
                tally.expect(to_memory ? memory_a : outcome.registers.rax, want, a, b);
                tally.expect(outcome.registers.rflags & expected.defined, expected.flags & expected.defined,
                             a, b);
            }
}

#define TEST_UNARY(name, op)                                         \
    test(#name " r8", name##_r8, op, 8, Form::Register);             \
    test(#name " r16", name##_r16, op, 16, Form::Register);          \
    test(#name " r32", name##_r32, op, 32, Form::Register);          \
    test(#name " r64", name##_r64, op, 64, Form::Register);          \
    test(#name " m8", name##_m8, op, 8, Form::MemoryDestination);    \
    test(#name " m16", name##_m16, op, 16, Form::MemoryDestination); \
    test(#name " m32", name##_m32, op, 32, Form::MemoryDestination); \
    test(#name " m64", name##_m64, op, 64, Form::MemoryDestination)
#define TEST_BINARY(name, op)                                         \
    TEST_UNARY(name, op);                                             \
    test(#name " r64, m64", name##_lm64, op, 64, Form::MemorySource); \
    test(#name " r8, m8", name##_lm8, op, 8, Form::MemorySource)

struct Wide {
    u64 low, high;
};
Wide multiply(u64 a, u64 b) {
    const u64 al = a & 0xffffffff, ah = a >> 32, bl = b & 0xffffffff, bh = b >> 32;
    const u64 middle = ah * bl + (al * bl >> 32);
    const u64 middle2 = al * bh + (middle & 0xffffffff);
    return {a * b, ah * bh + (middle >> 32) + (middle2 >> 32)};
}

void multiplication() {
    constexpr u64 cf_of = RFLAGS::CF | RFLAGS::OF;
    Tally unsigned64{"mul r64"}, signed64{"imul r64"}, byte{"mul m8"}, short_form{"imul r32, r32"},
        immediate{"imul r64, r64, i8"};
    for (const u64 a : operands)
        for (const u64 b : operands) {
            Registers in;
            in.rax = a, in.rcx = b, in.rsi = address(&memory_b);
            memory_b = b;
            const auto flags = [&](bool overflow) { return overflow ? cf_of : 0; };

            Outcome out = run(mul_r64, in);
            Wide wide = multiply(a, b);
            unsigned64.expect(out.registers.rax, wide.low, a, b);
            unsigned64.expect(out.registers.rdx, wide.high, a, b);
            unsigned64.expect(out.registers.rflags & cf_of, flags(wide.high != 0), a, b);

            out = run(imul_r64, in);
            wide.high -= (a >> 63 ? b : 0) + (b >> 63 ? a : 0);
            signed64.expect(out.registers.rdx, wide.high, a, b);
            signed64.expect(out.registers.rflags & cf_of, flags(wide.high != (wide.low >> 63 ? ~0ull : 0)), a,
                            b);

            out = run(mul_m8, in);
            const u64 product8 = (a & 0xff) * (b & 0xff);
            byte.expect(out.registers.rax, (a & ~0xffffull) | product8, a, b);
            byte.expect(out.registers.rflags & cf_of, flags(product8 > 0xff), a, b);

            out = run(imul_rr32, in);
            const auto product32 =
                static_cast<u64>(std::int64_t{static_cast<std::int32_t>(a)} * static_cast<std::int32_t>(b));
            const auto narrow = static_cast<u64>(std::int64_t{static_cast<std::int32_t>(product32)});
            short_form.expect(out.registers.rax, product32 & 0xffffffff, a, b);
            short_form.expect(out.registers.rflags & cf_of, flags(narrow != product32), a, b);

            out = run(imul_rri64, in);
            immediate.expect(out.registers.rax, b * static_cast<u64>(-77), a, b);
        }
}

void exchanges() {
    Tally locked_add{"lock add m32"}, locked_dec{"lock dec m64"}, exchange_add{"lock xadd m64"},
        compare{"cmpxchg m64"}, compare_register{"cmpxchg r32 equal upper halves"},
        chain{"adc chain through memory"};
    for (const u64 a : operands)
        for (const u64 b : operands) {
            Registers in;
            in.rax = a, in.rcx = b, in.rdx = b, in.rdi = address(&memory_a), in.rsi = address(&memory_b);
            const auto start = [&] { memory_a = a, memory_b = b; };
            start();
            Outcome out = run(lock_add_m32, in);
            Expected expected = add_model(a, b, 0, 32);
            locked_add.expect(memory_a, (a & ~0xffffffffull) | expected.value, a, b);
            locked_add.expect(out.registers.rflags & arithmetic, expected.flags, a, b);
            start();
            out = run(lock_dec_m64, in);
            locked_dec.expect(memory_a, a - 1, a, b);
            start();
            out = run(xadd_m64, in);
            expected = add_model(a, b, 0, 64);
            exchange_add.expect(memory_a, a + b, a, b);
            exchange_add.expect(out.registers.rcx, a, a, b);
            exchange_add.expect(out.registers.rflags & arithmetic, expected.flags, a, b);
            start();
            memory_a = b ^ 1;  // differs from rax unless a == b ^ 1
            out = run(cmpxchg_equal, in);
            expected = sub_model(a, b ^ 1, 0, 64);
            compare.expect(memory_a, a == (b ^ 1) ? b : b ^ 1, a, b);
            compare.expect(out.registers.rax, b ^ 1, a, b);
            compare.expect(out.registers.rflags & arithmetic, expected.flags, a, b);
            in.r10 = in.r11 = ~0ull;
            out = run(cmpxchg_r32, in);
            compare_register.expect(out.registers.r10, b & 0xffffffff, a, b);
            start();
            out = run(adc_chain, in);
            const Expected first = add_model(a, b, 0, 64);
            const Expected second = add_model(b, b, first.flags & 1, 64);
            const Expected third = add_model(first.value, 0, second.flags & 1, 64);
            chain.expect(out.registers.rdx, second.value, a, b);
            chain.expect(out.registers.rax, third.value, a, b);
            chain.expect(out.registers.rbx, third.flags & 1 ? ~0ull : 0, a, b);
        }
}

void test_instruction() {
    Tally tally{"test"};
    for (const u64 a : operands)
        for (const u64 b : operands) {
            Registers in;
            in.rax = a, in.rcx = b, in.rdi = address(&memory_a);
            in.rflags |= arithmetic;
            memory_a = a;
            constexpr u64 defined = arithmetic & ~RFLAGS::AF;
            tally.expect(run(test_r8, in).registers.rflags & defined, logic_model(a & b, 8).flags, a, b);
            tally.expect(run(test_r32, in).registers.rflags & defined, logic_model(a & b, 32).flags, a, b);
            tally.expect(run(test_m64, in).registers.rflags & defined, logic_model(a & b, 64).flags, a, b);
        }
}

}  // namespace

void micro_main() {
    TEST_BINARY(add, Op::Add);
    TEST_BINARY(or, Op::Or);
    TEST_BINARY(adc, Op::Adc);
    TEST_BINARY(sbb, Op::Sbb);
    TEST_BINARY(and, Op::And);
    TEST_BINARY(sub, Op::Sub);
    TEST_BINARY(xor, Op::Xor);
    TEST_BINARY(cmp, Op::Cmp);
    TEST_UNARY(inc, Op::Inc);
    TEST_UNARY(dec, Op::Dec);
    TEST_UNARY(neg, Op::Neg);
    TEST_UNARY(not, Op::Not);
    test_instruction();
    multiplication();
    exchanges();
}
