// SPDX-License-Identifier: Apache-2.0
// SSE and AVX state: it survives traps, interrupts, system calls and privileged instructions; alignment
// faults; MXCSR; gathers and masked moves that fault. FXSAVE and the XSAVE family: xsave.cpp.
//
// What vector instructions compute is compared with the host by guests/programs/vector.c.
// Source: Intel SDM vol. 1 chapters 10, 14; vol. 2, VGATHER, VMASKMOV.

#include "runtime/apic.hpp"
#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

// Loads all sixteen ymm registers from [rsi], does things, stores them to [rdi].
#define WITH_YMM(name, middle)                                                                            \
    FRAGMENT(                                                                                             \
        name,                                                                                             \
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovups ymm\\n, [rsi + \\n*32]\n .endr\n" middle \
        "\n .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovups [rdi + \\n*32], ymm\\n\n .endr")
WITH_YMM(over_nothing, "nop");
WITH_YMM(over_int, "int 0x82");
WITH_YMM(over_faults, "mov r8, [rdx]\n mov ecx, 0\n push rdx\n mov edx, 0\n div ecx\n pop rdx\n ud2");
WITH_YMM(over_privileged,
         "mov r8, cr3\n mov cr3, r8\n mov eax, 0\n cpuid\n mov ecx, 0xc0000100\n rdmsr\n wrmsr\n rdtsc\n "
         "invlpg [rsp]\n"
         "mov edx, 0x3ff\n mov al, 0\n out dx, al\n mov rax, cr0\n mov cr0, rax\n swapgs\n swapgs\n wbinvd\n "
         "clts");
WITH_YMM(over_device, "mov ebx, 0xfee00080\n mov ecx, [rbx]\n mov [rbx], ecx");
WITH_YMM(
    over_misses,
    "mov rcx, 600\n mov rbx, r9\n 1: mov rax, [rbx]\n mov [rbx + 8], rax\n add rbx, 4096\n dec rcx\n jnz 1b");
WITH_YMM(over_interrupts, "sti\n 1: cmp dword ptr [r10], 20\n jb 1b\n cli");
WITH_YMM(over_indirect,
         "mov ecx, 200\n 1: lea rax, [rip + 2f]\n call rax\n dec ecx\n jnz 1b\n jmp 3f\n 2: ret\n 3:");
WITH_YMM(over_strings,
         "mov r12, rdi\n mov r13, rsi\n mov rdi, r9\n mov rsi, r9\n mov ecx, 5000\n rep movsb\n mov ecx, "
         "900\n mov rdi, r9\n rep stosq\n"
         " mov rdi, r12\n mov rsi, r13");
WITH_YMM(over_new_code, "mov byte ptr [rip + 7f + 1], 1\n 7: mov al, 0\n mov byte ptr [rip + 7b + 1], 0");

FRAGMENT(aligned_load, AT "movaps xmm0, [rdi]");
FRAGMENT(aligned_operand, AT "addps xmm0, [rdi]");
FRAGMENT(aligned_store, AT "movntdq [rdi], xmm0");
FRAGMENT(vex_operand, AT "vaddps xmm0, xmm0, [rdi]");
FRAGMENT(vex_aligned, AT "vmovaps ymm0, [rdi]");
FRAGMENT(unaligned_load, "movups xmm0, [rdi]\n lddqu xmm1, [rdi]\n movdqu xmm2, [rdi]");
FRAGMENT(load_mxcsr, AT "ldmxcsr [rdi]");
FRAGMENT(inexact, "cvtsi2sd xmm0, rax\n divsd xmm0, [rdi]\n stmxcsr [rsi]");
FRAGMENT(convert, "cvtsd2si rax, [rdi]");
FRAGMENT(
    legacy_keeps_upper,
    "vpcmpeqd ymm1, ymm1, ymm1\n xorps xmm1, xmm1\n vextracti128 xmm2, ymm1, 1\n movq rax, xmm2\n"
    " vpcmpeqd ymm1, ymm1, ymm1\n vxorps xmm1, xmm1, xmm1\n vextracti128 xmm2, ymm1, 1\n movq rbx, xmm2");
FRAGMENT(gather, AT "vpgatherdd ymm0, [rdi + ymm1*4], ymm2");
FRAGMENT(masked_load, AT "vmaskmovps ymm0, ymm2, [rdi]\n vmovups [rsi], ymm0");
FRAGMENT(masked_store, AT "vpmaskmovd [rdi], ymm2, ymm0");

namespace {

alignas(64) u8 in_bytes[512], out_bytes[512];
alignas(4096) u8 area[4096];
u8* pages;
volatile u32 interrupts = 0;

Registers inputs() {
    Registers in;
    in.rsi = address(in_bytes), in.rdi = address(out_bytes), in.rdx = window + 0x123000;
    in.r9 = window + 0x1000000, in.r10 = reinterpret_cast<u64>(&interrupts);
    return in;
}

void preserved(const char* name, const void* code, Ring ring = Ring::Kernel) {
    for (unsigned i = 0; i < sizeof in_bytes; ++i)
        in_bytes[i] = static_cast<u8>(i * 37 + static_cast<u8>(name[0]));
    __builtin_memset(out_bytes, 0, sizeof out_bytes);
    interrupts = 0;
    Registers in = inputs();
    if (ring == Ring::User) in.rsi += user_alias, in.rdi += user_alias;
    const Outcome out = run(code, in, ring);
    expect_done(name, out);
    check(name, __builtin_memcmp(in_bytes, out_bytes, sizeof in_bytes) == 0);
}

void preservation() {
    set_handler(0x82, [](Frame&) {});
    set_handler(static_cast<u64>(Vector::PF), [](Frame&) { map(window + 0x123000, area, kernel_page); });
    set_handler(static_cast<u64>(Vector::DE), [](Frame& frame) { frame.rip += 2; });
    set_handler(static_cast<u64>(Vector::UD), [](Frame& frame) { frame.rip += 2; });
    set_handler(0x61, [](Frame&) {
        interrupts = interrupts + 1;
        end_of_interrupt();
    });
    for (unsigned i = 0; i < 600; ++i) map(window + 0x1000000 + i * 4096, pages + i % 4 * 4096, kernel_page);
    preserved("ymm over nothing", over_nothing);
    preserved("ymm over INT", over_int);
    preserved("ymm over INT from user mode", over_int, Ring::User);
    preserved("ymm over faults", over_faults);
    preserved("ymm over privileged instructions", over_privileged);
    preserved("ymm over device accesses", over_device);
    preserved("ymm over misses", over_misses);
    preserved("ymm over indirect calls", over_indirect);
    preserved("ymm over strings", over_strings);
    preserved("ymm over code that changes", over_new_code);
    start_apic();
    apic_write(ApicRegister::DivideConfiguration, 0xb);
    apic_write(ApicRegister::LvtTimer, timer_periodic | 0x61);
    apic_write(ApicRegister::InitialCount, 100'000);
    preserved("ymm over interrupts", over_interrupts);
    apic_write(ApicRegister::InitialCount, 0);
    for (const Vector vector : {Vector::PF, Vector::DE, Vector::UD})
        set_handler(static_cast<u64>(vector), nullptr);
}

Registers at(const void* where, u64 offset = 0) {
    Registers in;
    in.rdi = address(where) + offset, in.rsi = address(out_bytes);
    return in;
}

void alignment() {
    const struct {
        const char* name;
        const void* code;
        const void* rip;
    } cases[] = {{"movaps", aligned_load, aligned_load_at},
                 {"addps", aligned_operand, aligned_operand_at},
                 {"movntdq", aligned_store, aligned_store_at},
                 {"vmovaps", vex_aligned, vex_aligned_at}};
    for (const auto& [name, code, rip] : cases) {
        expect_trap(name, run(code, at(area, 4)), Vector::GP, 0, rip);
        expect_done(name, run(code, at(area, 64)));
    }
    expect_done("VEX operands need no alignment", run(vex_operand, at(area, 4)));
    expect_done("unaligned loads", run(unaligned_load, at(area, 5)));
}

void control_and_status() {
    static u32 mxcsr = 0;
    static u64 value = 0x4008000000000000;  // 3.0
    const auto set = [](u32 to) {
        mxcsr = to;
        return run(load_mxcsr, at(&mxcsr)).vector;
    };
    check_equal("MXCSR reserved bit", set(0x10000 | 0x1f80), static_cast<u64>(Vector::GP));
    set(0x1f80);
    Registers in = at(&value);
    in.rax = 1;
    run(inexact, in);
    check_equal("MXCSR collects inexact", *reinterpret_cast<u32*>(out_bytes), 0x1fa0);
    value = 0x4004000000000000;  // 2.5
    const struct {
        u32 mode;
        u64 want;
    } rounding[] = {{0, 2}, {0x2000, 2}, {0x4000, 3}, {0x6000, 2}};
    for (const auto& r : rounding) {
        set(0x1f80 | r.mode);
        check_equal("rounding mode", run(convert, at(&value)).registers.rax, r.want);
    }
    set(0x1f80);
    const Outcome out = run(legacy_keeps_upper);
    check("legacy SSE keeps the upper half, VEX clears it",
          out.registers.rax == ~0ull && out.registers.rbx == 0);
}

void set_ymm(u64 index0, u64 index1, u64 mask0, u64 mask1) {
    alignas(32) u64 index[4] = {index0, index1, index0 + 0x200000002, index1 + 0x200000002},
                    mask[4] = {mask0, mask1, mask0, mask1};
    asm volatile("vmovups %0, %%ymm1; vmovups %1, %%ymm2; vpxor %%xmm0, %%xmm0, %%xmm0" ::"m"(index),
                 "m"(mask));
}
void get_ymm(u32 (&ymm0)[8], u32 (&ymm2)[8]) {
    asm volatile("vmovups %%ymm0, %0; vmovups %%ymm2, %1" : "=m"(ymm0), "=m"(ymm2));
}

void partial_vectors() {
    constexpr u64 here = window + 0x3000, hole = here + 4096;
    map(here, area, kernel_page);
    unmap(hole);
    auto* words = reinterpret_cast<u32*>(area);
    for (u32 i = 0; i < 1024; ++i) words[i] = i + 100;
    u32 values[8], mask[8];
    constexpr u64 both = 0x8000000080000000;

    // Element 4 of the gather lies in the hole: 0…3 are done and their mask is clear.
    alignas(32) u32 index[8] = {1, 2, 3, 4, 1024, 5, 6, 7};
    set_ymm(0, 0, both, both);
    asm volatile("vmovups %0, %%ymm1" ::"m"(index));
    Registers in;
    in.rdi = here;
    Outcome out = run(gather, in);
    get_ymm(values, mask);
    expect_page_fault("gather into a hole", out, 0, hole, gather_at);
    check("elements before the fault are done",
          values[0] == 101 && values[3] == 104 && mask[0] == 0 && mask[3] == 0);
    check("elements after it are not", mask[4] >> 31 && mask[7] >> 31);
    map(hole, area, kernel_page);
    out = run(gather, in);
    get_ymm(values, mask);
    check("the gather goes on where it stopped",
          out.done() && values[3] == 104 && values[4] == 100 && values[7] == 107);
    unmap(hole);
    set_ymm(0, 0, 0, 0);
    in.rdi = hole;
    expect_done("gather of nothing", run(gather, in));

    // Masked-off elements are not accessed.
    set_ymm(0, 0, both, 0);
    asm volatile("vpermq $0xd8, %%ymm2, %%ymm2; vpxor %%xmm0, %%xmm0, %%xmm0" ::);  // elements 0…3
    in.rdi = hole - 16;
    in.rsi = address(out_bytes);
    expect_done("masked load beside a hole", run(masked_load, in));
    check_equal("masked load: a value", reinterpret_cast<u32*>(out_bytes)[3], 1123);
    check_equal("masked load: zero elsewhere", reinterpret_cast<u32*>(out_bytes)[4], 0);
    expect_done("masked store beside a hole", run(masked_store, in));
    in.rdi = hole - 12;
    words[1023] = 55;
    expect_page_fault("masked store into a hole", run(masked_store, in), PageFault::W, hole, masked_store_at);
}

}  // namespace

void micro_main() {
    if (!(cpuid(7).ebx >> 5 & 1)) return skip("AVX2");
    enable_avx();
    pages = allocate_page();
    for (int i = 0; i < 3; ++i) allocate_page();
    preservation();
    alignment();
    control_and_status();
    partial_vectors();
}
