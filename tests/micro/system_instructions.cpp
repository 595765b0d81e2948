// SPDX-License-Identifier: Apache-2.0
// System calls and their returns, the kinds of IRET, segment bases, MSRs, the time-stamp counter.
// Control registers, tables, flags and ports: privileged.cpp.
//
// Source: Intel SDM vol. 2, each instruction; AMD APM vol. 3 where vendors differ.

#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(call_system, "syscall\n" AT "nop");
FRAGMENT(system_return, "sysretq");
FRAGMENT(system_return32, ".byte 0x0f, 0x07");
FRAGMENT(load_gs, "mov rax, gs:[0]");
FRAGMENT(swap_load_gs, "swapgs\n mov rax, gs:[0]\n swapgs\n mov rbx, gs:[0]");
FRAGMENT(swap_gs, AT "swapgs");
FRAGMENT(read_msr, AT "rdmsr");
FRAGMENT(write_msr, AT "wrmsr");
FRAGMENT(read_tsc, AT "rdtsc");
FRAGMENT(read_tscp, "rdtscp");
FRAGMENT(interrupt_return, AT "iretq");
FRAGMENT(interrupt_return32, AT "iretd");
FRAGMENT(fs_gs_bases,
         "rdfsbase rax\n rdgsbase rbx\n wrfsbase rcx\n wrgsbase rdx\n rdfsbase rsi\n rdgsbase rdi\n wrfsbase "
         "rax\n wrgsbase rbx");
FRAGMENT(write_fs_base, AT "wrfsbase rax");

namespace {

constexpr u64 gp = static_cast<u64>(Vector::GP);

Registers with_rax(u64 value) {
    Registers in;
    in.rax = value;
    return in;
}

Registers msr(Msr index, u64 value = 0) {
    Registers in;
    in.rcx = static_cast<u64>(index), in.rax = value & 0xffffffff, in.rdx = value >> 32;
    return in;
}

void refused(const char* name, const void* code, const Registers& in, Ring ring = Ring::Kernel) {
    check_equal(name, run(code, in, ring).vector, gp);
}

void system_calls() {
    Registers in;
    in.rflags |= RFLAGS::CF | RFLAGS::DF | RFLAGS::IF | RFLAGS::AC;
    in.rcx = 1, in.r11 = 2;
    Outcome out = run(call_system, in, Ring::User);
    check_equal("syscall reaches LSTAR", out.vector, syscall_vector);
    check_equal("syscall: rcx is the next RIP", out.registers.rcx, user(call_system_at));
    check_equal("syscall: r11 is RFLAGS", out.registers.r11, in.rflags);
    wrmsr(Msr::IA32_EFER, rdmsr(Msr::IA32_EFER) & ~EFER::SCE);
    check_equal("syscall without SCE", run(call_system, {}, Ring::User).vector, static_cast<u64>(Vector::UD));
    check_equal("sysret without SCE", run(system_return).vector, static_cast<u64>(Vector::UD));
    wrmsr(Msr::IA32_EFER, rdmsr(Msr::IA32_EFER) | EFER::SCE);

    // SYSRET to an INT in the user's alias.
    in.rcx = user(call_system_at) + 1, in.r11 = RFLAGS::CF | RFLAGS::ZF | RFLAGS::RF | RFLAGS::VM;
    in.rsp = user_fragment_stack();
    out = run(system_return, in);
    expect_done("sysret", out);
    check_equal("sysret: CS", out.cs, Selector::UserCode);
    check_equal("sysret: SS", out.ss, Selector::UserData);
    check_equal("sysret: RFLAGS without RF and VM", out.registers.rflags,
                RFLAGS::Fixed | RFLAGS::CF | RFLAGS::ZF);
    refused("sysret in user mode", system_return, in, Ring::User);
    in.rcx = 0x0000800000000000;
    out = run(system_return, in);  // Intel: #GP in the kernel; AMD: at the target
    check_equal("sysret to a non-canonical address", out.vector, gp);
}

u64 frame[5];
Registers iret_to(u64 rip, u64 cs, u64 rflags, u64 rsp, u64 ss) {
    frame[0] = rip, frame[1] = cs, frame[2] = rflags, frame[3] = rsp, frame[4] = ss;
    Registers in;
    in.rsp = address(frame);
    return in;
}

void interrupt_returns() {
    const u64 end = address(interrupt_return_at) + 2, stack = kernel_fragment_stack();
    const auto refuse = [](const char* name, const Registers& in, u64 error) {
        expect_trap(name, run(interrupt_return, in), Vector::GP, error, interrupt_return_at);
    };
    expect_done("iret to the kernel", run(interrupt_return, iret_to(end, 0x10, 2, stack, 0x18)));
    expect_done("iret to the kernel with null SS", run(interrupt_return, iret_to(end, 0x10, 2, stack, 0)));
    Outcome out = run(interrupt_return, iret_to(end + user_alias, 0x33, 2, stack, 0x2b));
    expect_done("iret to user mode", out);
    check_equal("iret to user mode: rsp", out.registers.rsp, stack);
    refuse("iret to user mode with null SS", iret_to(end, 0x33, 2, stack, 0), 0);
    refuse("iret with null CS", iret_to(end, 0, 2, stack, 0x18), 0);
    refuse("iret with CS a data segment", iret_to(end, 0x18, 2, stack, 0x18), 0x18);
    refuse("iret with CS beyond the GDT", iret_to(end, 0x7f8, 2, stack, 0x18), 0x7f8);
    refuse("iret with RPL below DPL", iret_to(end, 0x30, 2, stack, 0x18), 0x30);
    refuse("iret with SS of another RPL", iret_to(end, 0x33, 2, stack, 0x18), 0x18);
    refuse("iret with SS a code segment", iret_to(end, 0x33, 2, stack, 0x33), 0x30);
    check_equal("iret to a non-canonical address",
                run(interrupt_return, iret_to(1ull << 47, 0x10, 2, stack, 0x18)).vector, gp);
    Registers in = iret_to(end, 0x10, 2, stack, 0x18);
    in.rflags |= RFLAGS::NT;
    refuse("iret with NT", in, 0);
    // From CPL 3: IF and IOPL stay, the rest is loaded.
    const u64 sensitive = RFLAGS::IF | RFLAGS::IOPL;
    in = iret_to(end + user_alias, 0x33, RFLAGS::Fixed | sensitive | RFLAGS::ID | RFLAGS::OF, stack, 0x2b);
    in.rsp += user_alias;
    in.rflags |= RFLAGS::CF;
    out = run(interrupt_return, in, Ring::User);
    check_equal("iret in user mode keeps IF and IOPL", out.registers.rflags,
                RFLAGS::Fixed | RFLAGS::ID | RFLAGS::OF);
    in = iret_to(end, 0x10, 2, stack, 0x18);
    in.rsp += user_alias;
    refused("iret from user mode to the kernel", interrupt_return, in, Ring::User);
    auto* words = reinterpret_cast<u32*>(frame);
    words[0] = static_cast<u32>(address(interrupt_return32_at) + 1), words[1] = 0x10, words[2] = 2,
    words[3] = 0x5000, words[4] = 0x18;
    in.rsp = address(frame);
    out = run(interrupt_return32, in);
    expect_done("iretd", out);
    check_equal("iretd: rsp is zero-extended", out.registers.rsp, 0x5000);
}

void bases() {
    static u64 one = 0x1111, two = 0x2222;
    wrmsr(Msr::IA32_GS_BASE, address(&one));
    wrmsr(Msr::IA32_KERNEL_GS_BASE, address(&two));
    check_equal("gs base", run(load_gs).registers.rax, 0x1111);
    const Outcome out = run(swap_load_gs);
    check("swapgs", out.registers.rax == 0x2222 && out.registers.rbx == 0x1111);
    refused("swapgs in user mode", swap_gs, {}, Ring::User);
    wrmsr(Msr::IA32_GS_BASE, address(&one) + user_alias);
    check_equal("gs base in user mode", run(load_gs, {}, Ring::User).registers.rax, 0x1111);
    refused("gs base not canonical", write_msr, msr(Msr::IA32_GS_BASE, 1ull << 47));
    if (!(cpuid(7).ebx & 1)) return skip("FSGSBASE");
    write_cr4(read_cr4() & ~CR4::FSGSBASE);
    check_equal("wrfsbase without FSGSBASE", run(write_fs_base).vector, static_cast<u64>(Vector::UD));
    write_cr4(read_cr4() | CR4::FSGSBASE);
    Registers in;
    in.rcx = 0x123456789, in.rdx = 0xffff800000000000;
    for (const Ring ring : {Ring::Kernel, Ring::User}) {
        const Outcome bases_out = run(fs_gs_bases, in, ring);
        check("rdfsbase, wrgsbase", bases_out.registers.rsi == in.rcx && bases_out.registers.rdi == in.rdx);
    }
    refused("wrfsbase not canonical", write_fs_base, with_rax(1ull << 47));
    write_cr4(read_cr4() & ~CR4::FSGSBASE);
}

void msrs() {
    refused("rdmsr unknown", read_msr, msr(static_cast<Msr>(0x12345678)));
    refused("wrmsr unknown", write_msr, msr(static_cast<Msr>(0x12345678)));
    refused("rdmsr in user mode", read_msr, msr(Msr::IA32_EFER), Ring::User);
    refused("EFER reserved bits", write_msr, msr(Msr::IA32_EFER, rdmsr(Msr::IA32_EFER) | 1ull << 40));
    refused("EFER.LME with paging on", write_msr, msr(Msr::IA32_EFER, EFER::SCE | EFER::NXE));
    refused("LSTAR not canonical", write_msr, msr(Msr::IA32_LSTAR, 1ull << 47));
    refused("PAT with a reserved type", write_msr, msr(Msr::IA32_PAT, 0x0207040600070406));
    const u64 pat = rdmsr(Msr::IA32_PAT);
    wrmsr(Msr::IA32_PAT, 0x0407050600070106);
    check_equal("PAT reads back", rdmsr(Msr::IA32_PAT), 0x0407050600070106);
    wrmsr(Msr::IA32_PAT, pat);
    const u64 star = rdmsr(Msr::IA32_STAR);
    wrmsr(Msr::IA32_STAR, 0x0123456789abcdef);
    check_equal("STAR reads back", rdmsr(Msr::IA32_STAR), 0x0123456789abcdef);
    wrmsr(Msr::IA32_STAR, star);
}

void time_stamp() {
    u64 last = rdtsc();
    bool monotonic = true;
    for (int i = 0; i < 10000; ++i) {
        const u64 now = rdtsc();
        monotonic = monotonic && now >= last;
        last = now;
    }
    check("rdtsc never goes back", monotonic);
    wrmsr(Msr::IA32_TSC, 1000);
    check("TSC can be set", rdtsc() < 1ull << 36);
    wrmsr(Msr::IA32_TSC, last);
    check("and set again", rdtsc() >= last);
    expect_done("rdtsc in user mode", run(read_tsc, {}, Ring::User));
    write_cr4(read_cr4() | CR4::TSD);
    refused("rdtsc in user mode with TSD", read_tsc, {}, Ring::User);
    expect_done("rdtsc in the kernel with TSD", run(read_tsc));
    write_cr4(read_cr4() & ~CR4::TSD);
    if (!(cpuid(0x80000001).edx >> 27 & 1)) return skip("RDTSCP");
    wrmsr(Msr::IA32_TSC_AUX, 0x1234);
    check_equal("rdtscp: TSC_AUX", run(read_tscp, {}, Ring::User).registers.rcx, 0x1234);
}

}  // namespace

void micro_main() {
    system_calls();
    interrupt_returns();
    bases();
    msrs();
    time_stamp();
}
