// SPDX-License-Identifier: Apache-2.0

#include "twins.hpp"

namespace micro {

namespace {

constexpr unsigned words = 96;
constexpr unsigned stack_words = 32;
alignas(64) u64 memory[words];
alignas(64) u64 stack[stack_words];

struct Result {
    Outcome outcome;
    u64 a, b;
    u64 memory[words];
    u64 stack[stack_words];
};

u64 value_of(char kind, unsigned round, unsigned role) {
    constexpr u64 numbers[] = {5, 0xfedcba9876543210, 0x80, 0x8000000000000001, ~0ull, 0x00000001ffffffff};
    switch (kind) {
        case 'p': return address(&memory[32 + role * 16]) + round;  // also misaligned
        case 'i': return (round % 3) * 4 + role;
        default: return numbers[(round + role * 3) % 6];
    }
}

void run_variant(const Twin& twin, const TwinVariant& variant, unsigned round, Result& result) {
    for (unsigned i = 0; i < words; ++i) memory[i] = 0x0101010101010101 * (u64{i} + 1) ^ round;
    for (u64& word : stack) word = 0x5a5a5a5a5a5a5a5a;
    Registers in;
    for (unsigned i = 0; i < 15; ++i) in.general(i) = 0x1111111111111111 * (15ull - i) + round;
    in.rax = round % 2 ? 0x77 : 0xfedcba9876543210;
    in.rcx = 3, in.rdx = 0x123456789, in.rbp = address(&memory[64]);
    in.rsp = address(&stack[16]);
    in.*variant.a = value_of(twin.kinds[0], round, 0);
    in.*variant.b = value_of(twin.kinds[1], round, 1);
    in.rflags = RFLAGS::Fixed | (round % 2 ? RFLAGS::CF | RFLAGS::ZF : 0);
    result.outcome = run(variant.code, in);
    Registers& out = result.outcome.registers;
    result.a = out.*variant.a;
    result.b = out.*variant.b;
    // What is not an operand here may be one elsewhere: it must be as it was, and is then left out.
    for (unsigned i = 0; i < twin.count; ++i)
        for (u64 Registers::*role : {twin.variants[i].a, twin.variants[i].b}) {
            if (role == variant.a || role == variant.b) continue;
            if (out.*role != 0 && out.*role != in.*role) result.a ^= 0xbad;
        }
    for (unsigned i = 0; i < twin.count; ++i) out.*twin.variants[i].a = out.*twin.variants[i].b = 0;
    for (unsigned i = 0; i < words; ++i) result.memory[i] = memory[i];
    for (unsigned i = 0; i < stack_words; ++i) result.stack[i] = stack[i];
}

Result reference, result;

}  // namespace

void compare(const Twin& twin) {
    Tally tally{twin.name};
    for (unsigned round = 0; round < 6; ++round) {
        run_variant(twin, twin.variants[0], round, reference);
        for (unsigned i = 1; i < twin.count; ++i) {
            run_variant(twin, twin.variants[i], round, result);
            tally.expect(result.outcome.vector, reference.outcome.vector, i, round);
            tally.expect(result.a, reference.a, i, round);
            tally.expect(result.b, reference.b, i, round);
            constexpr u64 mask = RFLAGS::Arithmetic | RFLAGS::DF;
            tally.expect(result.outcome.registers.rflags & mask, reference.outcome.registers.rflags & mask, i,
                         round);
            tally.expect(same_registers(result.outcome.registers, reference.outcome.registers), 1, i, round);
            tally.expect(
                static_cast<u64>(__builtin_memcmp(result.memory, reference.memory, sizeof result.memory)), 0,
                i, round);
            tally.expect(
                static_cast<u64>(__builtin_memcmp(result.stack, reference.stack, sizeof result.stack)), 0, i,
                round);
        }
    }
}

}  // namespace micro
