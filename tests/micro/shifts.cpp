// SPDX-License-Identifier: Apache-2.0
// Shifts and rotates by 0, 1, an immediate and CL, double shifts, bit tests and bit scans: results and flags.
//
// A count of zero leaves all flags as they were; OF is defined for a count of one only.
// Source: Intel SDM vol. 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, BT, BSF.

#include "flag_model.hpp"
#include "runtime/run.hpp"

using namespace micro;

#define SHIFT(op)                                       \
    FRAGMENT(op##_r8, #op " al, cl");                   \
    FRAGMENT(op##_r16, #op " ax, cl");                  \
    FRAGMENT(op##_r32, #op " eax, cl");                 \
    FRAGMENT(op##_r64, #op " rax, cl");                 \
    FRAGMENT(op##_m8, #op " byte ptr [rdi], cl");       \
    FRAGMENT(op##_m16, #op " word ptr [rdi], cl");      \
    FRAGMENT(op##_m32, #op " dword ptr [rdi], cl");     \
    FRAGMENT(op##_m64, #op " qword ptr [rdi], cl");     \
    FRAGMENT(op##_one, #op " rax, 1");                  \
    FRAGMENT(op##_five, #op " rax, 5");                 \
    FRAGMENT(op##_zero, ".byte 0x90\n" #op " rax, 64"); \
    FRAGMENT(op##_m32_one, #op " dword ptr [rdi], 1")

SHIFT(rol);
SHIFT(ror);
SHIFT(rcl);
SHIFT(rcr);
SHIFT(shl);
SHIFT(shr);
SHIFT(sar);
FRAGMENT(shld_r32, "shld eax, edx, cl");
FRAGMENT(shrd_m64, "shrd [rdi], rdx, cl");
FRAGMENT(bt_r64, "bt rax, rcx");
FRAGMENT(bts_r32, "bts eax, ecx");
FRAGMENT(btr_m64, "btr [rdi], rcx");
FRAGMENT(btc_m16, "btc [rdi], cx");
FRAGMENT(lock_bts_m64, "lock bts [rdi], rcx");
FRAGMENT(bts_imm, "bts qword ptr [rdi], 69");
FRAGMENT(bsf_r64, "bsf r10, rcx");
FRAGMENT(bsr_m32, "bsr r11d, [rsi]");

namespace {

enum class Op : u8 { Rol, Ror, Rcl, Rcr, Shl, Shr, Sar };

// One bit at a time, as the manual's pseudo-code has it.
Expected model(Op op, u64 value, unsigned count, u64 flags, unsigned bits) {
    count &= bits == 64 ? 63 : 31;
    const u64 mask = mask_of(bits), top = 1ull << (bits - 1);
    value &= mask;
    if (count == 0) return {value, flags & arithmetic, arithmetic};
    const u64 old_sign = value & top;
    u64 carry = flags & RFLAGS::CF;
    for (unsigned i = 0; i < count; ++i) {
        const u64 low = value & 1, high = (value & top) != 0;
        switch (op) {
            case Op::Rol: value = value << 1 | high, carry = high; break;
            case Op::Ror: value = value >> 1 | (low ? top : 0), carry = low; break;
            case Op::Rcl: value = value << 1 | carry, carry = high; break;
            case Op::Rcr: value = value >> 1 | (carry ? top : 0), carry = low; break;
            case Op::Shl: value = value << 1, carry = high; break;
            case Op::Shr: value = value >> 1, carry = low; break;
            case Op::Sar: value = value >> 1 | (high ? top : 0), carry = low; break;
        }
        value &= mask;
    }
    const bool sign = (value & top) != 0, next = (value & top >> 1) != 0;
    bool overflow = false;
    switch (op) {
        case Op::Rol:
        case Op::Rcl:
        case Op::Shl: overflow = sign != (carry != 0); break;
        case Op::Ror:
        case Op::Rcr: overflow = sign != next; break;
        case Op::Shr: overflow = old_sign != 0; break;
        case Op::Sar: break;
    }
    const u64 carry_overflow = carry | (overflow ? RFLAGS::OF : 0);
    const u64 of_defined = count == 1 ? RFLAGS::OF : 0;
    if (op <= Op::Rcr) {  // rotates touch CF and OF only
        constexpr u64 others = RFLAGS::PF | RFLAGS::AF | RFLAGS::ZF | RFLAGS::SF;
        return {value, carry_overflow | (flags & others), others | RFLAGS::CF | of_defined};
    }
    // SHL and SHR by the operand's size or more: CF is undefined.
    const u64 cf_defined = count < bits || op == Op::Sar ? RFLAGS::CF : 0;
    return {value, carry_overflow | result_flags(value, bits),
            RFLAGS::PF | RFLAGS::ZF | RFLAGS::SF | cf_defined | of_defined};
}

u64 memory;

void test(const char* name, const void* code, Op op, unsigned bits, bool to_memory, int fixed_count = -1) {
    Tally tally{name};
    constexpr unsigned counts[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 255};
    for (const u64 value : operands)
        for (const unsigned cl : counts)
            for (const u64 flags : {u64{0}, arithmetic}) {
                if (fixed_count >= 0 && cl != 0) continue;
                Registers in;
                in.rax = memory = value, in.rcx = cl, in.rdi = address(&memory);
                in.rflags |= flags;
                const Outcome out = run(code, in);
                const unsigned count = fixed_count >= 0 ? static_cast<unsigned>(fixed_count) : cl;
                const Expected expected = model(op, value, count, flags, bits);
                const u64 kept = bits == 32 && !to_memory ? 0 : value & ~mask_of(bits);
                tally.expect(to_memory ? memory : out.registers.rax, kept | expected.value, value, cl);
                tally.expect(out.registers.rflags & expected.defined, expected.flags & expected.defined,
                             value, cl);
            }
}

#define TEST(name, op)                                   \
    test(#name " r8", name##_r8, op, 8, false);          \
    test(#name " r16", name##_r16, op, 16, false);       \
    test(#name " r32", name##_r32, op, 32, false);       \
    test(#name " r64", name##_r64, op, 64, false);       \
    test(#name " m8", name##_m8, op, 8, true);           \
    test(#name " m16", name##_m16, op, 16, true);        \
    test(#name " m32", name##_m32, op, 32, true);        \
    test(#name " m64", name##_m64, op, 64, true);        \
    test(#name " by 1", name##_one, op, 64, false, 1);   \
    test(#name " by 5", name##_five, op, 64, false, 5);  \
    test(#name " by 64", name##_zero, op, 64, false, 0); \
    test(#name " m32 by 1", name##_m32_one, op, 32, true, 1)

void double_shifts() {
    Tally left{"shld r32"}, right{"shrd m64"};
    for (const u64 a : operands)
        for (const u64 b : operands)
            for (const unsigned count : {0u, 1u, 5u, 31u}) {
                Registers in;
                in.rax = memory = a, in.rdx = b, in.rcx = count, in.rdi = address(&memory);
                in.rflags |= arithmetic;
                Outcome out = run(shld_r32, in);
                const u64 pair = (a & 0xffffffff) << 32 | (b & 0xffffffff);
                left.expect(out.registers.rax, pair << count >> 32 & 0xffffffff, a, b);
                const u64 cf = count == 0 ? 1 : a >> (32 - count) & 1;
                left.expect(out.registers.rflags & RFLAGS::CF, cf, a, b);
                out = run(shrd_m64, in);
                right.expect(memory, count == 0 ? a : a >> count | b << (64 - count), a, b);
                const u64 cf64 = count == 0 ? 1 : a >> (count - 1) & 1;
                right.expect(out.registers.rflags & RFLAGS::CF, cf64, a, b);
            }
}

void bit_tests() {
    Tally test{"bt r64"}, set{"bts r32"}, clear{"btr m64, r64"}, flip{"btc m16, r16"},
        lock{"lock bts m64, r64"};
    u64 array[9];
    for (const u64 a : operands)
        for (int bit = -256; bit < 256; bit += 13) {
            Registers in;
            in.rax = a, in.rcx = static_cast<u64>(bit);
            const auto low = static_cast<unsigned>(bit);
            Outcome out = run(bt_r64, in);
            test.expect(out.registers.rflags & 1, a >> (low & 63) & 1, a, in.rcx);
            out = run(bts_r32, in);
            set.expect(out.registers.rax, (a & 0xffffffff) | 1u << (low & 31), a, in.rcx);
            // A register index reaches beyond the operand: bits are numbered through memory, down and up.
            const auto reach = [&](Tally& tally, const void* code, auto change) {
                for (u64& word : array) word = a;
                in.rdi = address(&array[4]);
                const Outcome result = run(code, in);
                u64& word = array[4 + (bit >> 6)];
                tally.expect(word, change(a, 1ull << (low & 63)), a, in.rcx);
                tally.expect(result.registers.rflags & 1, a >> (low & 63) & 1, a, in.rcx);
                word = a;
                for (const u64 other : array) tally.expect(other, a, a, in.rcx);
            };
            reach(clear, btr_m64, [](u64 value, u64 mask) { return value & ~mask; });
            reach(lock, lock_bts_m64, [](u64 value, u64 mask) { return value | mask; });
            reach(flip, btc_m16, [](u64 value, u64 mask) { return value ^ mask; });
        }
    array[0] = array[1] = 0;
    Registers in;
    in.rdi = address(array);
    run(bts_imm, in);
    check_equal("bts m64, imm stays in its operand", array[0], 1ull << 5);
}

void bit_scans() {
    Tally forward{"bsf r64"}, reverse{"bsr m32"};
    for (const u64 value : operands) {
        Registers in;
        memory = value, in.rcx = value, in.rsi = address(&memory);
        Outcome out = run(bsf_r64, in);
        forward.expect((out.registers.rflags & RFLAGS::ZF) != 0, value == 0, value);
        if (value != 0) forward.expect(value >> out.registers.r10 & 1, 1, value);
        out = run(bsr_m32, in);
        const u64 low = value & 0xffffffff;
        reverse.expect((out.registers.rflags & RFLAGS::ZF) != 0, low == 0, value);
        if (low != 0) reverse.expect(low >> out.registers.r11, 1, value);
    }
}

}  // namespace

void micro_main() {
    TEST(rol, Op::Rol);
    TEST(ror, Op::Ror);
    TEST(rcl, Op::Rcl);
    TEST(rcr, Op::Rcr);
    TEST(shl, Op::Shl);
    TEST(shr, Op::Shr);
    TEST(sar, Op::Sar);
    double_shifts();
    bit_tests();
    bit_scans();
}
