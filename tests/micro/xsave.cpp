// SPDX-License-Identifier: Apache-2.0
// FXSAVE, XSAVE, XSAVEOPT and XRSTOR: what lies where, components and their initial states, every refusal;
// the x87 environment and MMX. Source: Intel SDM vol. 1 chapters 8, 9, 13.

#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(vex_operand, AT "vaddps xmm0, xmm0, [rdi]");
FRAGMENT(save_fx, AT "fxsave64 [rdi]");
FRAGMENT(restore_fx, AT "fxrstor64 [rdi]");
FRAGMENT(save_x, AT "xsave64 [rdi]");
FRAGMENT(save_opt, AT "xsaveopt64 [rdi]");
FRAGMENT(restore_x, AT "xrstor64 [rdi]");
FRAGMENT(x87_stack,
         "fninit\n fldpi\n fld1\n fnstenv [rdi]\n fldenv [rdi]\n faddp\n fnsave [rdi + 64]\n frstor [rdi + "
         "64]\n fstp tbyte ptr [rdi + 32]\n fnstsw ax");
FRAGMENT(mmx, "movq mm0, [rdi]\n paddb mm0, mm0\n movq [rdi + 8], mm0\n emms");

namespace {

alignas(4096) u8 area[4096];

Registers at(const void* where, u64 offset = 0) {
    Registers in;
    in.rdi = address(where) + offset;
    in.rax = 7;  // the mask: x87, SSE, AVX
    return in;
}

void save_areas() {
    auto* words = reinterpret_cast<u64*>(area);
    const auto header = [&](u64 bv, u64 comp) {
        words[64] = bv, words[65] = comp;
        for (unsigned i = 66; i < 72; ++i) words[i] = 0;
    };
    __builtin_memset(area, 0, sizeof area);
    alignas(32) static u64 pattern[4] = {1, 2, 3, 4}, got[4];
    const auto load = [] { asm volatile("vmovups %0, %%ymm5" ::"m"(pattern)); };
    const auto store = [] { asm volatile("vmovups %%ymm5, %0" : "=m"(got)); };
    load();
    expect_done("xsave", run(save_x, at(area)));
    check_equal("XSTATE_BV", words[64] & 6, 6);
    check("xmm5 and its upper half are in the area",
          words[20 + 10] == 1 && words[21 + 10] == 2 && words[72 + 10] == 3 && words[72 + 11] == 4);
    asm volatile("vzeroall");
    expect_done("xrstor", run(restore_x, at(area)));
    store();
    check("xrstor brings ymm5 back", got[0] == 1 && got[3] == 4);
    Registers only_avx = at(area);
    only_avx.rax = 4;
    header(0, 0);
    expect_done("xrstor of one component", run(restore_x, only_avx));
    store();
    check("which was in its initial state", got[0] == 1 && got[1] == 2 && got[2] == 0 && got[3] == 0);
    load();
    words[64] = 0, words[72 + 10] = 0x77;
    Registers only_sse = at(area);
    only_sse.rax = 2;
    run(save_x, only_sse);
    check("xsave of one component leaves the others", words[64] == 2 && words[72 + 10] == 0x77);
    expect_done("xsaveopt", run(save_opt, at(area)));
    check("xsaveopt", (words[64] & 6) == 6 && words[72 + 10] == 3);

    const auto refused = [&](const char* name, const void* code, const Registers& in) {
        check_equal(name, run(code, in).vector, static_cast<u64>(Vector::GP));
    };
    refused("xsave misaligned", save_x, at(area, 16));
    refused("fxsave misaligned", save_fx, at(area, 8));
    header(8, 0);
    refused("xrstor of an unknown component", restore_x, at(area));
    header(3, 1ull << 62);
    refused("xrstor with XCOMP_BV", restore_x, at(area));
    header(3, 0);
    words[66] = 1;
    refused("xrstor with a reserved header byte", restore_x, at(area));
    header(3, 0);
    words[3] = 0x8000000000;
    reinterpret_cast<u32*>(area)[6] = 0x10000;
    refused("xrstor with a reserved MXCSR bit", restore_x, at(area));
    refused("fxrstor with a reserved MXCSR bit", restore_fx, at(area));
    reinterpret_cast<u32*>(area)[6] = 0x1f80;
    expect_done("fxrstor", run(restore_fx, at(area)));
    write_cr4(read_cr4() & ~CR4::OSXSAVE);
    check_equal("xsave without OSXSAVE", run(save_x, at(area)).vector, static_cast<u64>(Vector::UD));
    check_equal("VEX without OSXSAVE", run(vex_operand, at(area)).vector, static_cast<u64>(Vector::UD));
    write_cr4(read_cr4() | CR4::OSXSAVE);
    asm volatile("xsetbv" ::"c"(0), "a"(3), "d"(0));
    check_equal("VEX without XCR0.AVX", run(vex_operand, at(area)).vector, static_cast<u64>(Vector::UD));
    asm volatile("xsetbv" ::"c"(0), "a"(7), "d"(0));
}

void old_units() {
    const Outcome out = run(x87_stack, at(area));
    expect_done("x87 environment and state", out);
    const auto* words = reinterpret_cast<const u64*>(area);
    check("pi + 1", words[4] == 0x8487ed5110b4611a && (words[5] & 0xffff) == 0x4001);
    reinterpret_cast<u64*>(area)[0] = 0x0102030405060708;
    expect_done("mmx", run(mmx, at(area)));
    check_equal("paddb", words[1], 0x020406080a0c0e10);
    asm volatile("fninit");
}

}  // namespace

void micro_main() {
    if (!(cpuid(1).ecx >> 28 & 1)) return skip("AVX");
    write_cr4(read_cr4() | CR4::OSXSAVE);
    asm volatile("xsetbv" ::"c"(0), "a"(7), "d"(0));
    save_areas();
    old_units();
}
