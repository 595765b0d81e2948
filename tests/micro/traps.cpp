// SPDX-License-Identifier: Apache-2.0
// Every exception that 64-bit code can raise, from CPL 0 and CPL 3: vector, error code, RIP, flags.
//
// Page faults in detail: paging.cpp. Gates, stacks, double faults: delivery.cpp. INTO and BOUND:
// compat32.cpp. Source: Intel SDM vol. 3A chapter 6.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(divide_by_zero, "xor edx, edx\n xor ecx, ecx\n" AT "div ecx");
FRAGMENT(divide_overflow, "mov eax, 0x80000000\n cdq\n mov ecx, -1\n" AT "idiv ecx");
FRAGMENT(divide_byte_overflow, "mov ax, 0x1000\n mov r10b, 2\n" AT "div r10b");
FRAGMENT(divide_quad_overflow, "mov rdx, 5\n mov r11, 5\n" AT "div r11");
FRAGMENT(divide_by_zero_in_memory, "push 0\n" AT "idiv qword ptr [rsp]");
FRAGMENT(breakpoint, "int3\n" AT "nop");
FRAGMENT(breakpoint_long, ".byte 0xcd, 3\n" AT "nop");
FRAGMENT(int_overflow, "int 4\n" AT "nop");
FRAGMENT(icebp, ".byte 0xf1\n" AT "nop");
FRAGMENT(undefined2, "ud2");
FRAGMENT(undefined1, ".byte 0x0f, 0xb9, 0xc0");
FRAGMENT(undefined_into, ".byte 0xce");
FRAGMENT(undefined_push_es, ".byte 0x06");
FRAGMENT(undefined_daa, ".byte 0x27");
FRAGMENT(undefined_far_call, ".byte 0x9a, 0, 0, 0, 0, 0, 0");
FRAGMENT(undefined_lock_mov, ".byte 0xf0, 0x89, 0x04, 0x24");
FRAGMENT(undefined_lock_register, ".byte 0xf0, 0x01, 0xc0");
FRAGMENT(undefined_mov_to_cs, ".byte 0x8e, 0xc8");
FRAGMENT(undefined_lea_register, ".byte 0x8d, 0xc0");
FRAGMENT(undefined_cmpxchg8b_register, ".byte 0x0f, 0xc7, 0xc8");
FRAGMENT(undefined_group, ".byte 0xfe, 0xd0");
FRAGMENT(undefined_opcode_map, ".byte 0x0f, 0x0a");
FRAGMENT(too_long, ".fill 15, 1, 0x66\n nop\n nop");
FRAGMENT(load_not_canonical, "mov rax, 0x8000000000000000\n" AT "mov rbx, [rax]");
FRAGMENT(store_not_canonical, "mov r10, 0x0000800000000000\n" AT "mov [r10], rbx");
FRAGMENT(stack_not_canonical, "mov rbp, 0xffff7fffffffff00\n" AT "mov rbx, [rbp]");
FRAGMENT(push_not_canonical, "mov rsp, 0x0000800000000008\n sub rsp, 0\n" AT "push rax");
FRAGMENT(jump_not_canonical, "mov rax, 0x0000800000000000\n" AT "jmp rax");
FRAGMENT(call_not_canonical, "mov rax, 0x0000800000000000\n" AT "call rax");
FRAGMENT(return_not_canonical, "mov rax, 0x0000800000000000\n push rax\n" AT "ret");
FRAGMENT(misaligned_and_absent, "mov eax, 0x7000000\n shl rax, 8\n add rax, 8\n" AT "pmuludq xmm0, [rax]");
FRAGMENT(repeated_prefixes,
         "push 0x1234\n"
         ".byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x8b, 0x44, 0x24, 0x00\n "
         "pop rcx");
FRAGMENT(misaligned_movaps, AT "movaps xmm0, [rsp + 8]");
FRAGMENT(halt, AT "hlt");
FRAGMENT(clear_interrupts, AT "cli");
FRAGMENT(write_msr, AT "wrmsr");
FRAGMENT(read_cr3_fragment, AT "mov rax, cr3");
FRAGMENT(int_kernel_only, AT "int 0x70");
FRAGMENT(load_ds_cx, AT "mov ds, ecx");
FRAGMENT(load_ss_cx, AT "mov ss, ecx");
FRAGMENT(misaligned_load, AT "mov rax, [rsp - 7]");
FRAGMENT(x87_nop, AT "fnop");
FRAGMENT(x87_wait, AT "fwait");
FRAGMENT(sse_add, AT "addps xmm0, xmm1");
FRAGMENT(x87_divide_by_zero,
         "push 0x037b\n fninit\n fldcw [rsp]\n fld1\n fldz\n fdivp\n mov eax, 1\n" AT "fwait\n mov eax, 2");
FRAGMENT(sse_divide_by_zero,
         "push 0x1d80\n ldmxcsr [rsp]\n push 1\n cvtsi2ss xmm0, dword ptr [rsp]\n xorps xmm1, xmm1\n" AT
         "divss xmm0, xmm1");
FRAGMENT(single_step, "nop\n" AT "nop\n nop");
FRAGMENT(single_step_popf, "push 0x102\n popfq\n mov eax, 1\n" AT "mov eax, 2\n mov eax, 3");
FRAGMENT(single_step_mov_ss, "mov ss, ecx\n nop\n" AT "nop");
FRAGMENT(single_step_branch, "jmp 1f\n nop\n 1: " AT "nop");
FRAGMENT(single_step_rep, AT "rep stosb");
FRAGMENT(resumed_after_ud2, "ud2\n nop\n mov eax, 1\n jmp 1f\n 1:");

namespace {

void in_both_rings(const char* name, const void* code, Vector vector, u64 error, const void* rip) {
    expect_trap(name, run(code), vector, error, rip);
    expect_trap(name, run(code, {}, Ring::User), vector, error, rip, Ring::User);
}

void divide_errors() {
    in_both_rings("#DE div by zero", divide_by_zero, Vector::DE, 0, divide_by_zero_at);
    in_both_rings("#DE idiv overflow", divide_overflow, Vector::DE, 0, divide_overflow_at);
    in_both_rings("#DE div r8 overflow", divide_byte_overflow, Vector::DE, 0, divide_byte_overflow_at);
    in_both_rings("#DE div r64 overflow", divide_quad_overflow, Vector::DE, 0, divide_quad_overflow_at);
    in_both_rings("#DE idiv m64 zero", divide_by_zero_in_memory, Vector::DE, 0, divide_by_zero_in_memory_at);
}

void software_traps() {
    in_both_rings("#BP int3", breakpoint, Vector::BP, 0, breakpoint_at);
    in_both_rings("#BP int 3", breakpoint_long, Vector::BP, 0, breakpoint_long_at);
    in_both_rings("#OF int 4", int_overflow, Vector::OF, 0, int_overflow_at);
    in_both_rings("#DB icebp", icebp, Vector::DB, 0, icebp_at);
    expect_trap("#GP int with DPL 0 gate", run(int_kernel_only, {}, Ring::User), Vector::GP, 0x70 * 8 + 2,
                int_kernel_only_at, Ring::User);
}

void undefined_opcodes() {
    in_both_rings("#UD ud2", undefined2, Vector::UD, 0, undefined2);
    in_both_rings("#UD ud1", undefined1, Vector::UD, 0, undefined1);
    in_both_rings("#UD into", undefined_into, Vector::UD, 0, undefined_into);
    in_both_rings("#UD push es", undefined_push_es, Vector::UD, 0, undefined_push_es);
    in_both_rings("#UD daa", undefined_daa, Vector::UD, 0, undefined_daa);
    in_both_rings("#UD far call direct", undefined_far_call, Vector::UD, 0, undefined_far_call);
    in_both_rings("#UD lock mov", undefined_lock_mov, Vector::UD, 0, undefined_lock_mov);
    in_both_rings("#UD lock add register", undefined_lock_register, Vector::UD, 0, undefined_lock_register);
    in_both_rings("#UD mov cs", undefined_mov_to_cs, Vector::UD, 0, undefined_mov_to_cs);
    in_both_rings("#UD lea register", undefined_lea_register, Vector::UD, 0, undefined_lea_register);
    in_both_rings("#UD cmpxchg8b register", undefined_cmpxchg8b_register, Vector::UD, 0,
                  undefined_cmpxchg8b_register);
    in_both_rings("#UD fe /2", undefined_group, Vector::UD, 0, undefined_group);
    in_both_rings("#UD 0f 0a", undefined_opcode_map, Vector::UD, 0, undefined_opcode_map);
    in_both_rings("#GP 16 byte instruction", too_long, Vector::GP, 0, too_long);
}

void protection_faults() {
    in_both_rings("#GP load not canonical", load_not_canonical, Vector::GP, 0, load_not_canonical_at);
    in_both_rings("#GP store not canonical", store_not_canonical, Vector::GP, 0, store_not_canonical_at);
    in_both_rings("#SS rbp not canonical", stack_not_canonical, Vector::SS, 0, stack_not_canonical_at);
    in_both_rings("#SS push not canonical", push_not_canonical, Vector::SS, 0, push_not_canonical_at);
    in_both_rings("#GP jmp not canonical", jump_not_canonical, Vector::GP, 0, jump_not_canonical_at);
    in_both_rings("#GP call not canonical", call_not_canonical, Vector::GP, 0, call_not_canonical_at);
    in_both_rings("#GP ret not canonical", return_not_canonical, Vector::GP, 0, return_not_canonical_at);
    in_both_rings("#GP movaps misaligned", misaligned_movaps, Vector::GP, 0, misaligned_movaps_at);
    in_both_rings("#GP of alignment before #PF", misaligned_and_absent, Vector::GP, 0,
                  misaligned_and_absent_at);
    // Fifteen bytes, most of them the same prefix: no room for another in a translation.
    check_equal("repeated prefixes", run(repeated_prefixes).registers.rax & 0xffff, 0x1234);

    const auto user_only = [](const char* name, const void* code, const void* at) {
        expect_trap(name, run(code, {}, Ring::User), Vector::GP, 0, at, Ring::User);
    };
    user_only("#GP hlt in user mode", halt, halt_at);
    user_only("#GP cli in user mode", clear_interrupts, clear_interrupts_at);
    user_only("#GP wrmsr in user mode", write_msr, write_msr_at);
    user_only("#GP mov cr3 in user mode", read_cr3_fragment, read_cr3_fragment_at);
}

void segment_loads() {
    constexpr u64 writable_data = 0x00cf93000000ffff;
    constexpr u64 present = 1ull << 47;
    gdt[Selector::Spare / 8] = writable_data & ~present;
    gdt[Selector::Spare / 8 + 1] = 0x00cf9b000000ffff & ~(1ull << 41);  // execute-only code
    const auto load = [](const char* name, const void* code, const void* at, u64 selector, Vector vector,
                         Ring ring) {
        Registers in;
        in.rcx = selector;
        expect_trap(name, run(code, in, ring), vector, selector & 0xfffc, at, ring);
    };
    load("#NP mov ds", load_ds_cx, load_ds_cx_at, 0x50, Vector::NP, Ring::Kernel);
    load("#SS mov ss not present", load_ss_cx, load_ss_cx_at, 0x50, Vector::SS, Ring::Kernel);
    load("#GP mov ds execute-only", load_ds_cx, load_ds_cx_at, 0x58, Vector::GP, Ring::Kernel);
    load("#GP mov ds beyond limit", load_ds_cx, load_ds_cx_at, 0x7f8, Vector::GP, Ring::Kernel);
    load("#GP mov ds in the absent LDT", load_ds_cx, load_ds_cx_at, 0x14, Vector::GP, Ring::Kernel);
    load("#GP mov ds of the kernel", load_ds_cx, load_ds_cx_at, 0x18, Vector::GP, Ring::User);
    load("#GP mov ss null in user mode", load_ss_cx, load_ss_cx_at, 0, Vector::GP, Ring::User);
    load("#GP mov ss wrong RPL", load_ss_cx, load_ss_cx_at, 0x2b, Vector::GP, Ring::Kernel);
    load("#GP mov ss is the TSS", load_ss_cx, load_ss_cx_at, 0x40, Vector::GP, Ring::Kernel);
    expect_done("mov ss null in the kernel", run(load_ss_cx));
}

void floating_point() {
    const u64 cr0 = read_cr0(), cr4 = read_cr4();
    write_cr0(cr0 | CR0::TS);
    in_both_rings("#NM x87 with TS", x87_nop, Vector::NM, 0, x87_nop_at);
    in_both_rings("#NM SSE with TS", sse_add, Vector::NM, 0, sse_add_at);
    in_both_rings("#NM fwait with TS and MP", x87_wait, Vector::NM, 0, x87_wait_at);
    write_cr0((cr0 | CR0::TS) & ~CR0::MP);
    expect_done("fwait with TS without MP", run(x87_wait));
    write_cr0(cr0 | CR0::EM);
    in_both_rings("#NM x87 with EM", x87_nop, Vector::NM, 0, x87_nop_at);
    in_both_rings("#UD SSE with EM", sse_add, Vector::UD, 0, sse_add_at);
    write_cr0(cr0);
    write_cr4(cr4 & ~CR4::OSFXSR);
    in_both_rings("#UD SSE without OSFXSR", sse_add, Vector::UD, 0, sse_add_at);
    write_cr4(cr4);

    in_both_rings("#MF at fwait", x87_divide_by_zero, Vector::MF, 0, x87_divide_by_zero_at);
    asm volatile("fnclex; fninit");
    in_both_rings("#XM divss", sse_divide_by_zero, Vector::XM, 0, sse_divide_by_zero_at);
    write_cr4(cr4 & ~CR4::OSXMMEXCPT);
    in_both_rings("#UD divss without OSXMMEXCPT", sse_divide_by_zero, Vector::UD, 0, sse_divide_by_zero_at);
    write_cr4(cr4);
    u32 mxcsr = 0x1f80;
    asm volatile("ldmxcsr %0" ::"m"(mxcsr));
}

void alignment_checks() {
    Registers in;
    in.rflags |= RFLAGS::AC;
    expect_done("AC without AM", run(misaligned_load, in, Ring::User));
    write_cr0(read_cr0() | CR0::AM);
    expect_done("AC and AM in the kernel", run(misaligned_load, in));
    expect_trap("#AC in user mode", run(misaligned_load, in, Ring::User), Vector::AC, 0, misaligned_load_at,
                Ring::User);
    write_cr0(read_cr0() & ~CR0::AM);
}

void debug_exceptions() {
    constexpr u64 dr6_single_step = 0x4000;
    Registers in;
    in.rflags |= RFLAGS::TF;
    const auto step = [&](const char* name, const void* code, const void* at, Registers from) {
        for (const Ring ring : {Ring::Kernel, Ring::User}) {
            write_dr6(0);
            const Outcome outcome = run(code, from, ring);
            expect_trap(name, outcome, Vector::DB, 0, at, ring);
            check_equal("DR6 of a single step", outcome.dr6 & 0xe00f, dr6_single_step);
        }
    };
    step("#DB single step", single_step, single_step_at, in);
    step("#DB single step of a branch", single_step_branch, single_step_branch_at, in);
    step("#DB popf sets TF: one instruction later", single_step_popf, single_step_popf_at, {});
    in.rdi = kernel_fragment_stack() - 4096;
    in.rcx = 5;
    write_dr6(0);
    Outcome outcome = run(single_step_rep, in);
    expect_trap("#DB after one iteration of rep stosb", outcome, Vector::DB, 0, single_step_rep_at);
    check_equal("rcx after one iteration", outcome.registers.rcx, 4);
    in.rcx = Selector::KernelData;
    expect_trap("#DB held off by mov ss", run(single_step_mov_ss, in), Vector::DB, 0, single_step_mov_ss_at);
}

void refused_calls() {
    u64& below = *reinterpret_cast<u64*>(user_fragment_stack() - user_alias - 8);
    below = 0x5a5a;
    (void)run(call_not_canonical, {}, Ring::User);
    check_equal("a call to a non-canonical address pushes nothing", below, 0x5a5a);
}

// A fault's frame has RF set, and IRET loads it.
void resume_flag() {
    set_handler(static_cast<u64>(Vector::UD), [](Frame& frame) { frame.rip += 2; });
    const Outcome outcome = run(resumed_after_ud2);
    set_handler(static_cast<u64>(Vector::UD), nullptr);
    check_equal("RF ends with the instruction after iret", outcome.registers.rflags >> 16 & 1, 0);
}

}  // namespace

void micro_main() {
    divide_errors();
    software_traps();
    undefined_opcodes();
    protection_faults();
    segment_loads();
    floating_point();
    alignment_checks();
    debug_exceptions();
    refused_calls();
    resume_flag();
}
