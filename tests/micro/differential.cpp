// SPDX-License-Identifier: Apache-2.0
// Random programs whose results are printed as hashes: all registers, flags, memory, and the exact state
// where they fault. Both engines must print what the host's bare processor prints (host_runtime.cpp);
// run-differential compares. Flags that an instruction leaves undefined are whatever this processor makes of
// them.

#include "interruptions.hpp"
#include "random_code.hpp"
#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

namespace {

constexpr u64 base = 0x412345600000;
constexpr u64 code_at = base, data_at = base + 0x100000, stack_at = base + 0x200000,
              hole_at = base + 0x300000;

// Programs take turns in these pages: a page that is written to often would be run another way.
constexpr unsigned code_pages = 256;
u8* code[code_pages];
u64* data[2];
u64* stack_top;

u64 hash(u64 so_far, u64 value) { return (so_far ^ value) * 0x100000001b3 ^ so_far >> 29; }

u64 hash_outcome(const Outcome& out) {
    u64 h = hash(out.vector, out.error);
    if (out.vector == static_cast<u64>(Vector::PF)) h = hash(h, out.cr2);
    for (unsigned i = 0; i < 16; ++i) h = hash(h, out.registers.general(i));
    h = hash(h, out.registers.rip);
    h = hash(h, out.registers.rflags & (RFLAGS::Arithmetic | RFLAGS::DF));
    for (const u64* page : {data[0] + 512 - 32, data[1], data[0] + 96, stack_top - 32})
        for (unsigned i = 0; i < 32; ++i) h = hash(h, page[i]);
    return h;
}

Registers prepare(Random& random) {
    for (u64* page : {data[0] + 512 - 32, data[1], data[0] + 96, stack_top - 32})
        for (unsigned i = 0; i < 32; ++i) page[i] = random.next();
    stack_top[6] = 1 + random.below(6);  // times around
    Registers in;
    for (unsigned i = 0; i < 15; ++i) {
        static constexpr u64 edges[] = {0,          1,      0x7f,       0x80,
                                        0xff,       0x8000, 0x7fffffff, 0x80000000,
                                        0xffffffff, ~0ull,  1ull << 63, (1ull << 63) - 1};
        in.general(i) = random.one_in(3) ? edges[random.below(12)] : random.next();
    }
    in.rsi = data_at + 96 * 8 + 128, in.rbp = data_at + 4096, in.r14 = hole_at + 256,
    in.rsp = stack_at + 4096 - 64;
    // (IF as a process has it: PUSHF shows it.)
    in.rflags = RFLAGS::Fixed | RFLAGS::IF | (random.next() & RFLAGS::Arithmetic);
    return in;
}

constexpr unsigned programs = 4000;

u64 run_program(unsigned program, bool newer, unsigned& faulted) {
    Random random{program + 1};
    const unsigned page = program % code_pages;
    const u64 offset = random.below(3) * 1024;
    RandomCode writer{code[page] + offset, random, random.one_in(3), newer};
    const unsigned length = 1 + random.below(30);
    for (unsigned i = 0; i < length; ++i) writer.instruction();
    writer.finish(static_cast<int>(stack_at + 4096 - 16 - (hole_at + 256)));
    // (Vector results reach memory by the stores among the instructions.)
    clear_vectors();
    u64 h = 0;
    // The same code three times: what is translated once runs again with other values.
    for (unsigned i = 0; i < 3; ++i) {
        const void* start = reinterpret_cast<const void*>(code_at + page * 4096 + offset - user_alias);
        const Outcome out = run(start, prepare(random), Ring::User);
        faulted += !out.done();
        h = hash(h, hash_outcome(out));
    }
    return h;
}

}  // namespace

void micro_main() {
    for (u8*& page : code) page = allocate_page();
    data[0] = reinterpret_cast<u64*>(allocate_page());
    data[1] = reinterpret_cast<u64*>(allocate_page());
    u8* stack = allocate_page();
    stack_top = reinterpret_cast<u64*>(stack + 4096 - 64);
    for (unsigned i = 0; i < code_pages; ++i) map(code_at + i * 4096, code[i], user_page);
    map(data_at, data[0], user_page);
    map(data_at + 4096, data[1], user_page);
    map(stack_at, stack, user_page);
    const u32 extended = cpuid(7).ebx;
    const bool newer = (extended >> 5 & 1) && (extended >> 8 & 1) && (extended >> 19 & 1);  // AVX2, BMI2, ADX
    if (newer) enable_avx();
    unsigned faulted = 0;
    static u64 hashes[programs];
    for (unsigned program = 0; program < programs; ++program) {
        hashes[program] = run_program(program, newer, faulted);
        print_line("H ", u64{program}, " ", hashes[program]);
    }
    print_line("# runs that faulted: ", u64{faulted});
    check("all programs came back", true);

    if (!start_interruptions()) return;
    Tally tally{"the same under interrupts"};
    // Again while there were few: a host that is busy elsewhere merges the timer's interrupts.
    for (unsigned round = 0; round < 20 && interruptions() <= 100; ++round)
        for (unsigned program = 0; program < programs; ++program)
            tally.expect(run_program(program, newer, faulted), hashes[program], program);
    print_line("# interrupts: ", u64{interruptions()});
    check("there were interrupts", interruptions() > 100);
}
