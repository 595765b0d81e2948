// SPDX-License-Identifier: Apache-2.0
// String instructions: all widths, both directions, with and without REP, overlapping, zero counts, faults
// half way (registers show progress, RIP stays), segment and address-size overrides, long runs over page
// borders. Source: Intel SDM vol. 2, REP, MOVS, STOS, LODS, CMPS, SCAS.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

#define WIDTHS(op)                          \
    FRAGMENT(op##_1, #op "b");              \
    FRAGMENT(op##_2, #op "w");              \
    FRAGMENT(op##_4, #op "d");              \
    FRAGMENT(op##_8, #op "q");              \
    FRAGMENT(rep_##op##_1, "rep " #op "b"); \
    FRAGMENT(rep_##op##_2, "rep " #op "w"); \
    FRAGMENT(rep_##op##_4, "rep " #op "d"); \
    FRAGMENT(rep_##op##_8, "rep " #op "q")
WIDTHS(movs);
WIDTHS(stos);
WIDTHS(lods);
WIDTHS(cmps);
WIDTHS(scas);
FRAGMENT(repne_cmps_1, "repne cmpsb");
FRAGMENT(repne_scas_1, "repne scasb");
FRAGMENT(repne_scas_8, "repne scasq");
FRAGMENT(movs_address32, ".byte 0xf3, 0x67, 0xa4");
FRAGMENT(movs_gs, "rep movs byte ptr es:[rdi], gs:[rsi]");
FRAGMENT(lods_fs, "lods rax, qword ptr fs:[rsi]");

namespace {

enum class Op : u8 { Movs, Stos, Lods, Cmps, Scas };
enum class Repeat : u8 { None, RepE, RepNe };

constexpr unsigned size = 384;
alignas(64) u8 memory[size], expected[size];

u64 load(const u8* from, unsigned width) {
    u64 value = 0;
    for (unsigned i = 0; i < width; ++i) value |= u64{from[i]} << 8 * i;
    return value;
}

// One element at a time, as the manual's pseudo-code has it; addresses are offsets into `expected`.
void model(Op op, Repeat repeat, unsigned width, Registers& r) {
    const u64 step = r.rflags & RFLAGS::DF ? -u64{width} : width;
    const u64 mask = width == 8 ? ~0ull : (1ull << 8 * width) - 1;
    bool more = true;
    while (more && (repeat == Repeat::None || r.rcx != 0)) {
        u8* destination = expected + (r.rdi - address(memory));
        const u8* source = expected + (r.rsi - address(memory));
        u64 left = r.rax & mask;
        switch (op) {
            case Op::Movs:
            case Op::Stos:
                if (op == Op::Movs) left = load(source, width);
                for (unsigned i = 0; i < width; ++i) destination[i] = static_cast<u8>(left >> 8 * i);
                break;
            case Op::Lods: {
                const u64 loaded = load(source, width);
                r.rax = width == 4 ? loaded : (r.rax & ~mask) | loaded;
                break;
            }
            case Op::Cmps: left = load(source, width); [[fallthrough]];
            case Op::Scas: {
                const bool equal = left == load(destination, width);
                r.rflags = (r.rflags & ~RFLAGS::ZF) | (equal ? RFLAGS::ZF : 0);
                r.rflags = (r.rflags & ~RFLAGS::CF) | (left < load(destination, width) ? RFLAGS::CF : 0);
                more = repeat == Repeat::RepE ? equal : !equal;
                break;
            }
        }
        if (op != Op::Stos && op != Op::Scas) r.rsi += step;
        if (op != Op::Lods) r.rdi += step;
        if (repeat == Repeat::None) return;
        --r.rcx;
    }
}

void test(const char* name, const void* code, Op op, Repeat repeat, unsigned width) {
    Tally tally{name};
    // Distances of destination from source: apart, overlapping both ways, the same.
    for (const int distance : {100, 1, 3, 8, 0, -1, -5, -64})
        for (const unsigned count : {0u, 1u, 2u, 7u, 8u})
            for (const u64 direction : {u64{0}, RFLAGS::DF}) {
                for (unsigned i = 0; i < size; ++i)
                    expected[i] = memory[i] = static_cast<u8>(i / 24 * 9 + (i % 16 == 9));
                Registers in;
                in.rsi = address(memory) + 192 - 4;
                in.rdi = in.rsi + static_cast<u64>(static_cast<std::int64_t>(distance));
                in.rcx = count;
                in.rax = 0x0909090909090909 * (count % 3ull + 3);
                in.rflags |= direction;
                const Outcome out = run(code, in);
                model(op, repeat, width, in);
                const auto where = static_cast<u64>(distance);
                tally.expect(out.vector, done_vector, where, count);
                tally.expect(same_registers(out.registers,
                                            [&] {
                                                Registers want = in;
                                                want.rsp = out.registers.rsp;
                                                return want;
                                            }()),
                             1, where, count);
                tally.expect(static_cast<u64>(__builtin_memcmp(memory, expected, size)), 0, where, count);
                tally.expect(out.registers.rflags & RFLAGS::DF, direction, where, count);
                if (op == Op::Cmps || op == Op::Scas) {
                    constexpr u64 mask = RFLAGS::ZF | RFLAGS::CF;
                    tally.expect(out.registers.rflags & mask, in.rflags & mask, where, count);
                }
            }
}

#define TEST(op, kind)                                         \
    test(#op "b", op##_1, kind, Repeat::None, 1);              \
    test(#op "w", op##_2, kind, Repeat::None, 2);              \
    test(#op "d", op##_4, kind, Repeat::None, 4);              \
    test(#op "q", op##_8, kind, Repeat::None, 8);              \
    test("rep " #op "b", rep_##op##_1, kind, Repeat::RepE, 1); \
    test("rep " #op "w", rep_##op##_2, kind, Repeat::RepE, 2); \
    test("rep " #op "d", rep_##op##_4, kind, Repeat::RepE, 4); \
    test("rep " #op "q", rep_##op##_8, kind, Repeat::RepE, 8)

// Three pages in a row in the window; the middle one is not there.
constexpr u64 first = window, hole = window + 4096, last = window + 8192;

struct FaultCase {
    const char* name;
    const void* code;
    u64 rsi, rdi, count;
    u64 flags;
    u64 error, cr2;
    u64 rsi_after, rdi_after, count_after;
    u64 kept_flags = RFLAGS::CF;
};

void half_way(const FaultCase& c) {
    Registers in;
    in.rsi = c.rsi, in.rdi = c.rdi, in.rcx = c.count, in.rax = 0x2020202020202020;
    in.rflags |= c.flags | RFLAGS::CF;
    const Outcome out = run(c.code, in);
    expect_page_fault(c.name, out, c.error, c.cr2, c.code);
    const bool progress = out.registers.rsi == c.rsi_after && out.registers.rdi == c.rdi_after &&
                          out.registers.rcx == c.count_after;
    if (!progress)
        print_line("FAIL ", c.name, " rsi ", out.registers.rsi, " rdi ", out.registers.rdi, " rcx ",
                   out.registers.rcx);
    // MOVS, STOS and LODS keep flags; after a fault in CMPS or SCAS the manual lets processors differ.
    check(c.name, progress && ((out.registers.rflags ^ RFLAGS::CF) & c.kept_flags) == 0);
}

void faults() {
    constexpr u64 W = PageFault::W, DF = RFLAGS::DF;
    u8* low = allocate_page();
    u8* high = allocate_page();
    map(first, low, kernel_page);
    unmap(hole);
    map(last, high, kernel_page);
    const u64 m = address(memory);
    half_way({"rep movsb into a hole", rep_movs_1, m, hole - 5, 50, 0, W, hole, m + 5, hole, 45});
    half_way({"rep movsb out of a hole", rep_movs_1, hole - 5, m, 50, 0, 0, hole, hole, m + 5, 45});
    half_way({"rep movsq into a hole", rep_movs_8, m, hole - 24, 9, 0, W, hole, m + 24, hole, 6});
    half_way({"rep movsq across the border", rep_movs_8, m, hole - 20, 9, 0, W, hole, m + 16, hole - 4, 7});
    half_way({"rep movsd down into a hole", rep_movs_4, m + 128, last + 8, 9, DF, W, last - 4, m + 128 - 12,
              last - 4, 6});
    half_way({"rep movsw down across the border", rep_movs_2, m + 128, last + 3, 9, DF, W, last - 1, m + 124,
              last - 1, 7});
    half_way({"rep stosb into a hole", rep_stos_1, 0, hole - 3, 4000, 0, W, hole, 0, hole, 3997});
    half_way({"rep stosq into a hole", rep_stos_8, 0, hole - 4096, 4000, 0, W, hole, 0, hole, 4000 - 512});
    half_way({"rep lodsd out of a hole", rep_lods_4, hole - 8, 0, 5, 0, 0, hole, hole, 0, 3});
    for (unsigned i = 0; i < 4096; ++i) low[i] = 0x20;
    __builtin_memset(memory, 0x20, size);
    half_way({"rep scasb into a hole", rep_scas_1, 0, hole - 7, 50, 0, 0, hole, 0, hole, 43, 0});
    half_way({"rep cmpsb into a hole", rep_cmps_1, m, hole - 7, 50, 0, 0, hole, m + 7, hole, 43, 0});
    half_way({"rep cmpsq out of a hole", rep_cmps_8, hole - 16, m, 5, 0, 0, hole, hole, m + 16, 3, 0});
    half_way({"movsq at once in a hole", movs_8, m, hole + 8, 1, 0, W, hole + 8, m, hole + 8, 1});
    half_way({"movsq: the source faults first", movs_8, hole + 16, hole + 8, 1, 0, 0, hole + 16, hole + 16,
              hole + 8, 1});
    map(hole, low, PageEntry::P);
    half_way({"rep stosd into a read-only page", rep_stos_4, 0, hole - 8, 5, 0, W | PageFault::P, hole, 0,
              hole, 3});
    // Count zero touches nothing.
    Registers in;
    in.rsi = in.rdi = 0x8000000000000000;
    expect_done("rep movsb of nothing at a bad address", run(rep_movs_1, in));
}

// A long run over pages whose frames do not follow each other.
void long_runs() {
    constexpr u64 from = window + 0x100000, to = window + 0x200000;
    constexpr unsigned pages = 16;
    u8* frames[2 * pages];
    for (u8*& frame : frames) frame = allocate_page();
    for (unsigned i = 0; i < pages; ++i) {
        map(from + i * 4096, frames[(i * 5) % pages], kernel_page);
        map(to + i * 4096, frames[pages + (i * 7) % pages], kernel_page);
    }
    auto* source = reinterpret_cast<volatile u32*>(from);
    auto* destination = reinterpret_cast<volatile u8*>(to);
    for (u32 i = 0; i < pages * 1024; ++i) source[i] = i * 2654435761u;
    Registers in;
    in.rsi = from, in.rdi = to + 3, in.rcx = pages * 4096 - 3;
    const Outcome out = run(rep_movs_1, in);
    Tally tally{"rep movsb of 64 KiB over scattered pages"};
    tally.expect(out.registers.rdi, to + pages * 4096);
    const auto* bytes = reinterpret_cast<volatile const u8*>(from);
    for (unsigned i = 0; i < pages * 4096 - 3; i += 7) tally.expect(destination[i + 3], bytes[i], i);
}

void overrides() {
    for (unsigned i = 0; i < size; ++i) memory[i] = static_cast<u8>(i);
    Registers in;
    in.rsi = 0x1234567800000000 | (address(memory) & 0xffffffff);
    in.rdi = 0xfedcba9800000000 | ((address(memory) + 64) & 0xffffffff);
    in.rcx = 0xffffffff00000004;
    Outcome out = run(movs_address32, in);
    expect_done("rep movsb with 32-bit addresses", out);
    check_equal("rdi with 32-bit addresses", out.registers.rdi, address(memory) + 68);
    check_equal("rcx with 32-bit addresses", out.registers.rcx, 0);
    check_equal("bytes moved with 32-bit addresses", load(memory + 64, 8), 0x4746454403020100);
    wrmsr(Msr::IA32_GS_BASE, address(memory));
    wrmsr(Msr::IA32_FS_BASE, address(memory) + 16);
    in.rsi = 32, in.rdi = address(memory) + 128, in.rcx = 3;
    out = run(movs_gs, in);
    check_equal("rep movsb from gs", load(memory + 128, 4), 0x83222120);
    in.rsi = 8;
    check_equal("lodsq from fs", run(lods_fs, in).registers.rax, load(memory + 24, 8));
    wrmsr(Msr::IA32_GS_BASE, 0);
    wrmsr(Msr::IA32_FS_BASE, 0);
}

}  // namespace

void micro_main() {
    TEST(movs, Op::Movs);
    TEST(stos, Op::Stos);
    TEST(lods, Op::Lods);
    TEST(cmps, Op::Cmps);
    TEST(scas, Op::Scas);
    test("repne cmpsb", repne_cmps_1, Op::Cmps, Repeat::RepNe, 1);
    test("repne scasb", repne_scas_1, Op::Scas, Repeat::RepNe, 1);
    test("repne scasq", repne_scas_8, Op::Scas, Repeat::RepNe, 8);
    faults();
    long_runs();
    overrides();
}
