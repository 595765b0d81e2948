// SPDX-License-Identifier: Apache-2.0
// Privileged and sensitive instructions: control and debug registers, XCR0, descriptor tables and UMIP, POPF
// and IOPL, port permissions, the checks of selectors, far jumps.
//
// System calls, IRET, MSRs: system_instructions.cpp. Source: Intel SDM vol. 2, each instruction.

#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(to_cr0, AT "mov cr0, rax");
FRAGMENT(to_cr3, AT "mov cr3, rax");
FRAGMENT(to_cr4, AT "mov cr4, rax");
FRAGMENT(to_cr8, AT "mov cr8, rax");
FRAGMENT(from_cr1, ".byte 0x0f, 0x20, 0xc8");
FRAGMENT(to_dr7, AT "mov dr7, rax");
FRAGMENT(to_dr6, AT "mov dr6, rax");
FRAGMENT(general_detect, "mov dr7, rax\n" AT "mov dr6, rbx");
FRAGMENT(from_dr4, ".byte 0x0f, 0x21, 0xe0");
FRAGMENT(from_dr6, "mov rax, dr6\n mov rbx, dr7");
FRAGMENT(set_xcr, AT "xsetbv");
FRAGMENT(get_xcr, AT "xgetbv");
FRAGMENT(store_tables,
         "sub rsp, 64\n sgdt [rsp]\n sidt [rsp + 16]\n sldt ax\n str bx\n smsw cx\n add rsp, 64");
FRAGMENT(store_gdt, AT "sgdt [rsp - 64]");
FRAGMENT(store_idt, AT "sidt [rsp - 64]");
FRAGMENT(store_ldt, AT "sldt [rsp - 64]");
FRAGMENT(store_task, AT "str rax");
FRAGMENT(machine_status, "smsw rax");
FRAGMENT(load_status, AT "lmsw ax");
FRAGMENT(load_idt, AT "lidt [rsp - 64]");
FRAGMENT(load_tr, AT "ltr ax");
FRAGMENT(load_ldt, AT "lldt ax");
FRAGMENT(pop_flags, "push rax\n popfq\n pushfq\n pop rax");
FRAGMENT(pop_flags16, "push ax\n popfw\n pushfq\n pop rax");
FRAGMENT(in_byte, AT "in al, dx");
FRAGMENT(in_dword, AT "in eax, dx");
FRAGMENT(disable, AT "cli");
FRAGMENT(enable, AT "sti\n nop\n cli");
FRAGMENT(invalidate_cache, AT "wbinvd");
FRAGMENT(clear_ts, AT "clts");
FRAGMENT(invalidate_page, AT "invlpg [rdi]");
FRAGMENT(halt_here, AT "hlt");
FRAGMENT(selectors,
         "lar ebx, eax\n setz r8b\n lsl ecx, eax\n setz r9b\n verr ax\n setz r10b\n verw ax\n setz r11b");
FRAGMENT(far_jump, "push rax\n lea rbx, [rip + 1f]\n push rbx\n" AT
                   ".byte 0x48, 0xff, 0x2c, 0x24\n 1: mov ecx, 7\n add rsp, 16");
FRAGMENT(far_return, "push rax\n lea rbx, [rip + 1f]\n push rbx\n" AT ".byte 0x48, 0xcb\n 1: mov ecx, 7");
FRAGMENT(read_pmc, AT "rdpmc");

namespace {

constexpr u64 gp = static_cast<u64>(Vector::GP), ud = static_cast<u64>(Vector::UD);

Registers with_rax(u64 value) {
    Registers in;
    in.rax = value;
    return in;
}

void refused(const char* name, const void* code, const Registers& in, Ring ring = Ring::Kernel) {
    check_equal(name, run(code, in, ring).vector, gp);
}

void control_registers() {
    const u64 cr0 = read_cr0(), cr4 = read_cr4();
    refused("CR0: PG without PE", to_cr0, with_rax(cr0 & ~CR0::PE));
    refused("CR0: NW without CD", to_cr0, with_rax(cr0 | CR0::NW));
    refused("CR0: upper half", to_cr0, with_rax(cr0 | 1ull << 32));
    expect_done("CR0: reserved low bits are ignored", run(to_cr0, with_rax(cr0 | 1 << 15)));
    check_equal("CR0 unchanged", read_cr0(), cr0);
    refused("CR3: beyond the physical width", to_cr3, with_rax(read_cr3() | 1ull << 51));
    refused("CR4: PAE off in long mode", to_cr4, with_rax(cr4 & ~CR4::PAE));
    refused("CR4: reserved bit", to_cr4, with_rax(cr4 | 1ull << 31));
    refused("CR4: LA57 in long mode", to_cr4, with_rax(cr4 | CR4::LA57));
    // Without PCIDE (pcid.cpp has it) bits 63 and 11:0 of CR3 say nothing.
    refused("CR3: bit 63 without PCID", to_cr3, with_rax(read_cr3() | 1ull << 63));
    expect_done("CR3: low bits without PCID", run(to_cr3, with_rax(read_cr3() | 0xfe7)));
    run(to_cr3, with_rax(read_cr3() & ~0xfffull));
    refused("CR8: reserved bits", to_cr8, with_rax(16));
    check_equal("CR1 is none", run(from_cr1).vector, ud);
    for (const void* code : {to_cr0, to_cr3, to_cr4, to_cr8})
        refused("mov to CR in user mode", code, with_rax(0), Ring::User);
    for (const void* code : {load_status, invalidate_cache, clear_ts, invalidate_page, halt_here, load_idt,
                             load_tr, load_ldt, read_pmc})
        refused("privileged in user mode", code, with_rax(0), Ring::User);
    run(load_status, with_rax(cr0 | CR0::TS));
    check_equal("lmsw sets TS", read_cr0(), cr0 | CR0::TS);
    run(clear_ts);
    check_equal("clts", read_cr0(), cr0);
    run(load_status, with_rax(cr0 & ~CR0::PE));
    check_equal("lmsw cannot clear PE", read_cr0(), cr0);
    check_equal("smsw", run(machine_status, {}, Ring::User).registers.rax, cr0);
}

void debug_registers() {
    write_dr6(0);
    Outcome out = run(from_dr6);
    check_equal("DR6 fixed bits", out.registers.rax, 0xffff0ff0);
    check_equal("DR7 fixed bits", out.registers.rbx, 0x400);
    check_equal("DR4 with CR4.DE", run(from_dr4).vector, ud);
    write_cr4(read_cr4() & ~CR4::DE);
    check_equal("DR4 is DR6 without CR4.DE", run(from_dr4).registers.rax, 0xffff0ff0);
    write_cr4(read_cr4() | CR4::DE);
    refused("DR6: upper half", to_dr6, with_rax(1ull << 32));
    refused("DR7: upper half", to_dr7, with_rax(1ull << 32));
    refused("DR7 in user mode", to_dr7, with_rax(0), Ring::User);
    out = run(general_detect, with_rax(0x400 | 1 << 13));
    expect_trap("DR7.GD traps access", out, Vector::DB, 0, general_detect_at);
    check_equal("DR6.BD", out.dr6 & 0x2000, 0x2000);
    check_equal("and clears GD", run(from_dr6).registers.rbx, 0x400);
    write_dr6(0);
}

void extended_control() {
    const auto xcr = [](u64 index, u64 value) {
        Registers in = with_rax(value & 0xffffffff);
        in.rcx = index, in.rdx = value >> 32;
        return in;
    };
    if (!(cpuid(1).ecx >> 26 & 1)) return skip("XSAVE");
    write_cr4(read_cr4() & ~CR4::OSXSAVE);
    check_equal("xgetbv without OSXSAVE", run(get_xcr).vector, ud);
    check_equal("CPUID hides OSXSAVE", cpuid(1).ecx >> 27 & 1, 0);
    write_cr4(read_cr4() | CR4::OSXSAVE);
    check_equal("CPUID shows OSXSAVE", cpuid(1).ecx >> 27 & 1, 1);
    expect_done("xsetbv", run(set_xcr, xcr(0, 3)));
    check_equal("xgetbv in user mode", run(get_xcr, {}, Ring::User).registers.rax, 3);
    refused("XCR0 without x87", set_xcr, xcr(0, 2));
    refused("XCR0: AVX without SSE", set_xcr, xcr(0, 5));
    refused("XCR0: unknown component", set_xcr, xcr(0, 1ull << 62));
    refused("XCR 1", set_xcr, xcr(1, 3));
    if (cpuid(1).ecx >> 28 & 1) {
        expect_done("xsetbv AVX", run(set_xcr, xcr(0, 7)));
        check_equal("CPUID 0xD: size by XCR0", cpuid(0xd, 0).ebx, 832);
        run(set_xcr, xcr(0, 3));
        check_equal("CPUID 0xD: size without AVX", cpuid(0xd, 0).ebx, 576);
    }
    write_cr4(read_cr4() & ~CR4::OSXSAVE);
}

void tables() {
    alignas(8) static TableRegisterImage bad = {0xfff, 1ull << 47};
    Registers in;
    in.rsp = reinterpret_cast<u64>(&bad) + 64;
    refused("lidt not canonical", load_idt, in);
    refused("ltr null", load_tr, with_rax(0));
    refused("ltr of data", load_tr, with_rax(0x18));
    refused("ltr of the busy TSS", load_tr, with_rax(Selector::Tss));
    refused("lldt of the TSS", load_ldt, with_rax(Selector::Tss));
    check_equal("TSS is busy", gdt[Selector::Tss / 8] >> 41 & 1, 1);
    gdt[Selector::Spare / 8] = 0x89ull << 40 & ~(1ull << 47);
    gdt[Selector::Spare / 8 + 1] = 0;
    check_equal("ltr not present", run(load_tr, with_rax(Selector::Spare)).vector,
                static_cast<u64>(Vector::NP));
    Outcome out = run(store_tables, {}, Ring::User);
    check_equal("str", out.registers.rbx & 0xffff, Selector::Tss);
    if (!(cpuid(7).ecx >> 2 & 1)) return skip("UMIP");
    write_cr4(read_cr4() | CR4::UMIP);
    for (const void* code : {store_gdt, store_idt, store_ldt, store_task, machine_status}) {
        refused("UMIP in user mode", code, {}, Ring::User);
        expect_done("UMIP in the kernel", run(code));
    }
    write_cr4(read_cr4() & ~CR4::UMIP);
}

void flags() {
    constexpr u64 all =
        RFLAGS::Arithmetic | RFLAGS::IF | RFLAGS::DF | RFLAGS::IOPL | RFLAGS::NT | RFLAGS::AC | RFLAGS::ID;
    const auto pop = [](u64 value, u64 before, Ring ring) {
        Registers in = with_rax(value);
        in.rflags = RFLAGS::Fixed | before;
        return run(pop_flags, in, ring).registers.rax;
    };
    check_equal("popf in the kernel sets all", pop(all, 0, Ring::Kernel), all | RFLAGS::Fixed);
    check_equal("popf in the kernel clears all", pop(0, all, Ring::Kernel), RFLAGS::Fixed);
    constexpr u64 kernel_only = RFLAGS::IF | RFLAGS::IOPL;
    check_equal("popf in user mode keeps IF and IOPL", pop(all, RFLAGS::CF, Ring::User),
                (all & ~kernel_only) | RFLAGS::Fixed);
    check_equal("popf in user mode keeps IF set", pop(0, RFLAGS::IF, Ring::User), RFLAGS::IF | RFLAGS::Fixed);
    check_equal("popf with IOPL 3 changes IF", pop(RFLAGS::IF, RFLAGS::IOPL, Ring::User),
                RFLAGS::IF | RFLAGS::IOPL | RFLAGS::Fixed);
    check_equal("popf never sets VM, VIF, VIP, RF",
                pop(RFLAGS::VM | RFLAGS::VIF | RFLAGS::VIP | RFLAGS::RF, 0, Ring::Kernel), RFLAGS::Fixed);
    Registers in = with_rax(0xffffu & ~RFLAGS::TF);
    in.rflags |= RFLAGS::AC;
    check_equal("popfw keeps the upper half", run(pop_flags16, in).registers.rax,
                (0x7fd7 & ~RFLAGS::TF) | RFLAGS::AC);

    in = {};
    in.rflags |= RFLAGS::IOPL | RFLAGS::IF;
    expect_done("cli with IOPL 3", run(disable, in, Ring::User));
    check_equal("cli with IOPL 3 clears IF", run(disable, in, Ring::User).registers.rflags & RFLAGS::IF, 0);
    expect_done("sti with IOPL 3", run(enable, in, Ring::User));
    refused("sti with IOPL 0", enable, {}, Ring::User);
}

void ports() {
    const auto in_from = [](const void* code, u16 port, u64 iopl = 0) {
        Registers in;
        in.rdx = port;
        in.rflags |= iopl;
        return run(code, in, Ring::User).vector;
    };
    check_equal("port without permission", in_from(in_byte, 0x3fd), gp);
    check_equal("port with IOPL 3", in_from(in_byte, 0x3fd, RFLAGS::IOPL), done_vector);
    task_state.io_map_base = static_cast<u16>(__builtin_offsetof(TaskState, io_map));
    for (u8& byte : task_state.io_map) byte = 0xff;
    check_equal("port forbidden by the map", in_from(in_byte, 0x3fd), gp);
    task_state.io_map[0x3fd / 8] = static_cast<u8>(~(1u << (0x3fd % 8)));
    check_equal("port allowed by the map", in_from(in_byte, 0x3fd), done_vector);
    check_equal("its neighbour", in_from(in_byte, 0x3fc), gp);
    check_equal("four ports, one allowed", in_from(in_dword, 0x3fa), gp);
    for (unsigned i = 0x3f8; i < 0x408; ++i) task_state.io_map[i / 8] = 0;
    check_equal("four ports, all allowed", in_from(in_dword, 0x3fa), done_vector);
    task_state.io_map_base = sizeof(TaskState);
}

void segment_queries() {
    Outcome out = run(selectors, with_rax(Selector::UserData), Ring::User);
    check_equal("lar of user data", out.registers.rbx & 0xf0ff00, 0xc0f300);
    check_equal("lsl of user data", out.registers.rcx, 0xffffffff);
    check("verr and verw of user data", (out.registers.r10 & 1) && (out.registers.r11 & 1));
    out = run(selectors, with_rax(Selector::KernelData), Ring::User);
    check("the kernel's data from user mode",
          !((out.registers.r8 | out.registers.r9 | out.registers.r10 | out.registers.r11) & 1));
    out = run(selectors, with_rax(Selector::Tss));
    check("lar and lsl of the TSS",
          (out.registers.r8 & 1) && (out.registers.r9 & 1) && !(out.registers.r10 & 1));
    check_equal("lsl of the TSS", out.registers.rcx, sizeof(TaskState) - 1);
    out = run(selectors, with_rax(0));
    check("the null selector",
          !((out.registers.r8 | out.registers.r9 | out.registers.r10 | out.registers.r11) & 1));
    check_equal("far return", run(far_return, with_rax(Selector::KernelCode)).registers.rcx, 7);
    check_equal("far jump", run(far_jump, with_rax(Selector::KernelCode)).registers.rcx, 7);
    expect_trap("far jump to data", run(far_jump, with_rax(Selector::KernelData)), Vector::GP,
                Selector::KernelData, far_jump_at);
    expect_trap("far jump to null", run(far_jump, with_rax(0)), Vector::GP, 0, far_jump_at);
    expect_trap("far return to user code", run(far_return, with_rax(0x30)), Vector::GP, 0x30, far_return_at);
}

}  // namespace

void micro_main() {
    control_registers();
    debug_registers();
    extended_control();
    tables();
    flags();
    ports();
    segment_queries();
}
