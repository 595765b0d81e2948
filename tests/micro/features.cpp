// SPDX-License-Identifier: Apache-2.0
// CPUID keeps its promises: an instruction works if its bit is shown, and is an invalid opcode if it is not.
//
// (VMX, SVM, AVX-512 and PKU would need more than their bit; this machine hides them.)
// Source: Intel SDM vol. 2, CPUID and each instruction's exceptions; AMD APM vol. 3 appendix D.

#include "runtime/run.hpp"

using namespace micro;

// rdi and rsi: 64-byte aligned memory; rcx: zero.
#define FEATURES(X)                                                                                 \
    X(sse3, 1, ecx, 0, "haddps xmm0, xmm1")                                                         \
    X(pclmulqdq, 1, ecx, 1, "pclmulqdq xmm0, xmm1, 1")                                              \
    X(monitor, 1, ecx, 3, "mov rax, rdi\n xor edx, edx\n monitor")                                  \
    X(vmx, 1, ecx, 5, ".byte 0x0f, 0x01, 0xc1")                                                     \
    X(ssse3, 1, ecx, 9, "pshufb xmm0, xmm1")                                                        \
    X(fma, 1, ecx, 12, "vfmadd213ps xmm0, xmm1, xmm2")                                              \
    X(cmpxchg16b, 1, ecx, 13, "cmpxchg16b [rdi]")                                                   \
    X(sse4_1, 1, ecx, 19, "pmulld xmm0, xmm1\n ptest xmm0, xmm1\n roundps xmm0, xmm1, 1")           \
    X(sse4_2, 1, ecx, 20, "pcmpgtq xmm0, xmm1\n crc32 rax, rcx\n pcmpistri xmm0, xmm1, 0")          \
    X(movbe, 1, ecx, 22, "movbe eax, [rdi]")                                                        \
    X(popcnt, 1, ecx, 23, "popcnt rax, rcx")                                                        \
    X(aes, 1, ecx, 25, "aesenc xmm0, xmm1\n aeskeygenassist xmm0, xmm1, 1")                         \
    X(xsave, 1, ecx, 26, "mov eax, 7\n xor edx, edx\n xsave [rdi]\n xrstor [rdi]\n xgetbv")         \
    X(avx, 1, ecx, 28, "vaddps ymm0, ymm1, ymm2\n vzeroupper")                                      \
    X(f16c, 1, ecx, 29, "vcvtph2ps ymm0, xmm1")                                                     \
    X(rdrand, 1, ecx, 30, "rdrand rax")                                                             \
    X(clflush, 1, edx, 19, "clflush [rdi]")                                                         \
    X(mmx, 1, edx, 23, "paddb mm0, mm1\n emms")                                                     \
    X(fsgsbase, 7, ebx, 0, "rdfsbase rax")                                                          \
    X(bmi1, 7, ebx, 3, "andn rax, rcx, rdx\n blsr rax, rcx\n bextr eax, ecx, edx")                  \
    X(avx2, 7, ebx, 5, "vpaddd ymm0, ymm1, ymm2\n vpermq ymm0, ymm1, 3\n vpsllvd xmm0, xmm1, xmm2") \
    X(bmi2, 7, ebx, 8, "pdep rax, rcx, rdx\n shlx eax, ecx, edx\n mulx rax, rcx, rdx")              \
    X(invalidate_pcid, 7, ebx, 10, "mov eax, 2\n invpcid rax, [rdi]")                               \
    X(rtm, 7, ebx, 11, ".byte 0xc7, 0xf8, 0, 0, 0, 0\n xtest\n .byte 0x0f, 0x01, 0xd5")             \
    X(avx512f, 7, ebx, 16, "vpaddd zmm0, zmm1, zmm2")                                               \
    X(rdseed, 7, ebx, 18, "rdseed rax")                                                             \
    X(adx, 7, ebx, 19, "adcx rax, rcx\n adox rax, rcx")                                             \
    X(smap, 7, ebx, 20, "stac\n clac")                                                              \
    X(clflushopt, 7, ebx, 23, "clflushopt [rdi]")                                                   \
    X(clwb, 7, ebx, 24, "clwb [rdi]")                                                               \
    X(sha, 7, ebx, 29, "sha256msg1 xmm0, xmm1\n sha1msg2 xmm0, xmm1")                               \
    X(pku, 7, ecx, 3, "xor edx, edx\n .byte 0x0f, 0x01, 0xee")                                      \
    X(waitpkg, 7, ecx, 5, ".byte 0x66, 0x0f, 0xae, 0xf0")                                           \
    X(gfni, 7, ecx, 8, "gf2p8mulb xmm0, xmm1")                                                      \
    X(vaes, 7, ecx, 9, "vaesenc ymm0, ymm1, ymm2")                                                  \
    X(vpclmulqdq, 7, ecx, 10, "vpclmulqdq ymm0, ymm1, ymm2, 1")                                     \
    X(rdpid, 7, ecx, 22, "rdpid rax")                                                               \
    X(movdiri, 7, ecx, 27, "movdiri [rdi], eax")                                                    \
    X(movdir64b, 7, ecx, 28, "movdir64b rdi, [rsi]")                                                \
    X(serialize, 7, edx, 14, ".byte 0x0f, 0x01, 0xe8")                                              \
    X(amx, 7, edx, 24, "tilerelease")                                                               \
    X(svm, 0x80000001, ecx, 2, "vmrun")                                                             \
    X(sse4a, 0x80000001, ecx, 6, "extrq xmm0, xmm1")                                                \
    X(xop, 0x80000001, ecx, 11, "vphaddbw xmm0, xmm1")                                              \
    X(lwp, 0x80000001, ecx, 15, "slwpcb eax")                                                       \
    X(fma4, 0x80000001, ecx, 16, "vfmaddps xmm0, xmm1, xmm2, xmm3")                                 \
    X(tbm, 0x80000001, ecx, 21, "blcfill eax, ecx")                                                 \
    X(monitorx, 0x80000001, ecx, 29, "mov rax, rdi\n xor edx, edx\n .byte 0x0f, 0x01, 0xfa")        \
    X(rdtscp, 0x80000001, edx, 27, "rdtscp")                                                        \
    X(three_d_now, 0x80000001, edx, 31, "pfadd mm0, mm1\n femms")                                   \
    X(clzero, 0x80000008, ebx, 0, "mov rax, rdi\n .byte 0x0f, 0x01, 0xfc")

#define DEFINE(name, leaf, part, bit, text) FRAGMENT(name, text);
FEATURES(DEFINE)
FRAGMENT(save_compact, "mov eax, 7\n xor edx, edx\n xsavec [rdi]");
FRAGMENT(save_supervisor, "mov eax, 0\n xor edx, edx\n xsaves [rdi]");
FRAGMENT(save_optimised, "mov eax, 7\n xor edx, edx\n xsaveopt [rdi]");
FRAGMENT(get_in_use, "mov ecx, 1\n xgetbv");

namespace {

alignas(4096) u8 area[4096];

void promise(const char* name, bool shown, const void* code) {
    Registers in;
    in.rdi = in.rsi = address(area);
    __builtin_memset(area, 0, sizeof area);
    const Outcome out = run(code, in);
    const u64 want = shown ? done_vector : static_cast<u64>(Vector::UD);
    if (out.vector != want)
        return print_line("FAIL ", name, shown ? " is shown" : " is hidden", ", got vector ", out.vector);
    print_line("PASS ", name, shown ? " is shown and works" : " is hidden and undefined");
}

}  // namespace

void micro_main() {
    const u32 largest = cpuid(0).eax, largest_extended = cpuid(0x80000000).eax;
    check("standard leaves reach 0xd", largest >= 0xd);
    check("extended leaves reach 0x80000008", largest_extended >= 0x80000008);
    const Cpuid vendor = cpuid(0);
    check("vendor is Intel's or AMD's", vendor.ebx == 0x756e6547 || vendor.ebx == 0x68747541);
    check("long mode, NX, SYSCALL", (cpuid(0x80000001).edx >> 29 & 1) && (cpuid(0x80000001).edx >> 20 & 1) &&
                                        (cpuid(0x80000001).edx >> 11 & 1));
    const u32 widths = cpuid(0x80000008).eax;
    check("physical and linear widths", (widths & 0xff) >= 36 && (widths >> 8 & 0xff) == 48);
    check("the APIC id agrees", (cpuid(1).ebx >> 24) == *reinterpret_cast<volatile u32*>(0xfee00020) >> 24);

    const bool xsave_shown = cpuid(1).ecx >> 26 & 1;
    u64 cr4 = read_cr4();
    if (xsave_shown) {
        write_cr4(cr4 |= CR4::OSXSAVE);
        const u32 components = cpuid(0xd, 0).eax & 7;
        asm volatile("xsetbv" ::"c"(0), "a"(components), "d"(0));
        const Cpuid sizes = cpuid(0xd, 0);
        check("XSAVE area: the enabled size is not above the largest",
              sizes.ebx <= sizes.ecx && sizes.ebx >= 576);
        if (components & 4)
            check("AVX component lies at 576, 256 bytes",
                  cpuid(0xd, 2).eax == 256 && cpuid(0xd, 2).ebx == 576);
    }
    if (cpuid(7).ebx & 1) write_cr4(cr4 |= CR4::FSGSBASE);
    asm volatile("fninit");

#define PROMISE(name, leaf, part, bit, text) promise(#name, cpuid(leaf).part >> (bit)&1, name);
    FEATURES(PROMISE)
    if (xsave_shown) {
        const u32 more = cpuid(0xd, 1).eax;
        promise("xsaveopt", more & 1, save_optimised);
        promise("xsavec", more >> 1 & 1, save_compact);
        promise("xsaves", more >> 3 & 1, save_supervisor);
        Registers in;
        check_equal("xgetbv with ecx 1", run(get_in_use, in).vector,
                    more >> 2 & 1 ? done_vector : static_cast<u64>(Vector::GP));
    }
}
