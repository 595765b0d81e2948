// SPDX-License-Identifier: Apache-2.0
// 32-bit code at CPL 3 under a 64-bit kernel: what the 64-bit encodings took away (INTO, BOUND, PUSHA, short
// INC, far calls, decimal adjusts), 32-bit stacks and wrap-around, segment bases and limits, 16-bit operands,
// code and addresses, system calls, the way to 64-bit code and back.
//
// Source: Intel SDM vol. 3A sections 5.2.1, 5.3; vol. 2.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

#define FRAGMENT32(name, text) FRAGMENT(name, ".code32\n" text "\n.code64\n")
#define AT32 AT

FRAGMENT32(into_overflow, "mov eax, 0x7fffffff\n inc eax\n into\n" AT32 "nop");
FRAGMENT32(into_not, "xor eax, eax\n into\n mov ebx, 5");
FRAGMENT32(bound_outside, "mov ecx, esp\n push 20\n push 10\n mov eax, 21\n" AT32 "bound eax, [esp]");
FRAGMENT32(bound_inside, "push 20\n push 10\n mov eax, 20\n bound eax, [esp]\n add esp, 8");
FRAGMENT32(
    push_all,
    "pusha\n mov ebp, esp\n mov eax, [esp + 28]\n mov ebx, [esp + 12]\n add dword ptr [esp + 16], 5\n popa");
FRAGMENT32(decimal,
           "mov al, 0x79\n add al, 0x35\n daa\n mov cl, al\n mov al, 0x15\n sub al, 0x27\n das\n mov ch, "
           "al\n mov ax, 0x0105\n aad\n mov dl, al\n"
           " mov al, 77\n aam\n mov bx, ax\n mov ax, 0x000b\n aaa");
FRAGMENT32(short_forms, "inc eax\n dec ecx\n inc edx\n dec ebx\n push es\n pop es\n push ds\n pop ds");
FRAGMENT32(zero_extends, "mov eax, -1\n add ecx, 1\n mov edx, [esp]");
FRAGMENT32(calls,
           "call 1f\n jmp 2f\n 1: mov eax, [esp]\n ret\n 2: push cs\n call 3f\n jmp 4f\n 3: mov ebx, [esp + "
           "4]\n retf\n 4:");
FRAGMENT32(far_to_64,
           "push 0x33\n call 1f\n 1: .byte 0x83, 0x04, 0x24, 2f - 1b\n retf\n 2: .code64\n mov r10, "
           "0x123456789a\n mov rax, r10\n lea rcx, [rip + 3f]\n"
           " push 0x23\n push rcx\n .byte 0x48, 0xcb\n .code32\n 3: mov edx, cs");
FRAGMENT32(stack_words,
           ".byte 0x66, 0x68, 0x34, 0x12\n mov eax, esp\n .byte 0x66, 0x59\n push cs\n pop ebx\n enter 16, "
           "1\n leave");
FRAGMENT32(loops, "mov ecx, 5\n xor eax, eax\n 1: inc eax\n loop 1b\n jecxz 2f\n mov eax, 0\n 2:");
FRAGMENT32(string_move, "mov ecx, 8\n rep movsb\n mov eax, [edi - 4]");
FRAGMENT32(address16, ".byte 0x67, 0x8b, 0x07");  // mov eax, [bx]
FRAGMENT32(wraps, "mov eax, [ebx + ecx]");
FRAGMENT32(through_fs, "mov fs, edx\n mov eax, fs:[4]\n" AT32 "mov ebx, fs:[16]");
FRAGMENT32(through_small_ss, "mov ss, edx\n" AT32 "push eax");
FRAGMENT32(write_code_segment, AT32 "mov cs:[esp], eax");
FRAGMENT32(null_segment, "mov ecx, 0\n mov fs, ecx\n" AT32 "mov eax, fs:[esp]");
FRAGMENT32(system_call, AT32 "syscall");
FRAGMENT32(system_enter, AT32 "sysenter");
FRAGMENT32(interrupt80, "mov eax, 20\n int 0x80");
FRAGMENT32(store_tables,
           "sub esp, 32\n mov dword ptr [esp + 6], 0x5a5a5a5a\n sgdt [esp]\n mov eax, [esp + 6]");
FRAGMENT32(load_far, "push 0x2b\n push 0x12345678\n les eax, [esp]\n mov ebx, es\n add esp, 8");
FRAGMENT32(flags_word, "stc\n pushf\n pop eax\n or eax, 0x800\n push eax\n popf\n lahf\n .byte 0xd6");
// 48 ff c0: `inc rax` in 64-bit code; `dec eax; inc eax` in 32-bit code.
FRAGMENT(two_meanings, ".byte 0x48, 0xff, 0xc0\n .byte 0x48, 0xff, 0xc0");

namespace {

constexpr u64 low = 0xb0000000, image = 0x200000;

u64 low_address(const void* what) { return address(what) - image + low; }

Registers inputs() {
    Registers in;
    in.rsp = user_fragment_stack() - user_alias - image + low;
    in.rdx = 2, in.rbx = 3, in.rcx = 4;
    return in;
}

Outcome run32(const void* code, const Registers& in = inputs()) {
    return run(reinterpret_cast<const void*>(low_address(code)), in, Ring::Compatibility);
}

void traps32(const char* name, const Outcome& out, Vector vector, u64 error, const void* at) {
    expect_trap(name, out, vector, error, reinterpret_cast<const void*>(low_address(at)),
                Ring::Compatibility);
    check_equal("CS of 32-bit code", out.cs, Selector::UserCode32);
}

void instructions() {
    traps32("into", run32(into_overflow), Vector::OF, 0, into_overflow_at);
    check_equal("into without overflow", run32(into_not).registers.rbx, 5);
    traps32("bound outside", run32(bound_outside), Vector::BR, 0, bound_outside_at);
    expect_done("bound inside", run32(bound_inside));
    Registers in = inputs();
    in.rax = 0x11, in.rbp = 0x22;
    Outcome out = run32(push_all, in);
    check("pusha and popa", out.registers.rax == 0x11 && out.registers.rbp == 0x22 &&
                                out.registers.rbx == 8 && out.registers.rsp == in.rsp);
    out = run32(decimal);
    check_equal("daa, das", out.registers.rcx & 0xffff, 0x8814);
    check_equal("aad", out.registers.rdx & 0xff, 15);
    check_equal("aam", out.registers.rbx & 0xffff, 0x0707);
    check_equal("aaa", out.registers.rax & 0xffff, 0x0101);
    out = run32(short_forms);
    check("short inc and dec", out.registers.rax == 1 && out.registers.rcx == 3 && out.registers.rdx == 3 &&
                                   out.registers.rbx == 2);
    in = inputs();
    in.rcx = 0xffffffff;
    check_equal("results are zero-extended", run32(zero_extends, in).registers.rcx, 0);
    out = run32(loops);
    check_equal("loop and jecxz", out.registers.rax, 5);
    out = run32(flags_word);
    check_equal("salc", out.registers.rax & 0xff, 0xff);
    check_equal("popf sets OF", out.registers.rflags & RFLAGS::OF, RFLAGS::OF);
    expect_done("sgdt", run32(store_tables));
    out = run32(load_far);
    check("les", out.registers.rax == 0x12345678 && out.registers.rbx == 0x2b);
    Tally tally{"one code in 64-bit and 32-bit mode"};
    for (int i = 0; i < 20; ++i) {
        tally.expect(run32(two_meanings).registers.rax, 0);
        tally.expect(
            run(reinterpret_cast<const void*>(low_address(two_meanings) - user_alias), {}, Ring::User)
                .registers.rax,
            2);
    }
}

void stacks_and_calls() {
    Outcome out = run32(calls);
    expect_done("calls", out);
    check_equal("far return", out.registers.rbx & 0xffff, Selector::UserCode32);
    out = run32(stack_words);
    check("word push", out.registers.rax == inputs().rsp - 2 && (out.registers.rcx & 0xffff) == 0x1234);
    check_equal("push cs", out.registers.rbx & 0xffff, Selector::UserCode32);
    out = run32(far_to_64);
    expect_done("to 64-bit code and back", out);
    check_equal("64-bit code ran", out.registers.r10, 0x123456789a);
    check_equal("back in 32-bit code", out.registers.rdx, Selector::UserCode32);
    out = run32(interrupt80);
    check("int 0x80", out.vector == 0x80 && out.cs == Selector::UserCode32 && out.registers.rax == 20);
}

void addresses() {
    static u8 source[16] = {1, 2, 3, 4, 5, 6, 7, 8}, target[16];
    Registers in = inputs();
    in.rsi = low_address(source) | 0xabcd00000000, in.rdi = low_address(target) | 0x123400000000;
    Outcome out = run32(string_move, in);
    check("rep movsb ignores upper halves",
          out.done() && out.registers.rax == 0x08070605 && out.registers.rdi == low_address(target) + 8);
    static u32 value = 0x600df00d;
    in.rbx = low_address(&value) + 0x1000, in.rcx = 0xfffff000;
    check_equal("addresses wrap at 4 GiB", run32(wraps, in).registers.rax, 0x600df00d);
    in.rbx = 0x12340000 | 0x8000;
    out = run32(address16, in);
    check("16-bit address", out.vector == static_cast<u64>(Vector::PF) && out.cr2 == 0x8000);

    // Bases and limits of segments from the GDT.
    static u32 words[8] = {10, 11, 12, 13, 14};
    const u64 base = low_address(words);
    gdt[Selector::Spare / 8] = 0x0040f20000000000 | 15 | (base & 0xffffff) << 16 | (base >> 24) << 56;
    in = inputs();
    in.rdx = Selector::Spare | 3;
    out = run32(through_fs, in);
    traps32("beyond a segment's limit", out, Vector::GP, 0, through_fs_at);
    check_equal("through a segment's base", out.registers.rax, 11);
    traps32("beyond the stack's limit", run32(through_small_ss, in), Vector::SS, 0, through_small_ss_at);
    traps32("store to the code segment", run32(write_code_segment), Vector::GP, 0, write_code_segment_at);
    traps32("null segment", run32(null_segment), Vector::GP, 0, null_segment_at);
}

void system_calls() {
    const bool amd = cpuid(0).ebx == 0x68747541;
    const Outcome out = run32(system_call);
    if (amd) {
        wrmsr(Msr::IA32_CSTAR, rdmsr(Msr::IA32_LSTAR));
        check_equal("syscall from 32-bit code (AMD)", run32(system_call).vector, syscall_vector);
        traps32("sysenter (AMD)", run32(system_enter), Vector::UD, 0, system_enter_at);
    } else {
        traps32("syscall from 32-bit code (Intel)", out, Vector::UD, 0, system_call_at);
        wrmsr(Msr::IA32_SYSENTER_CS, 0);
        traps32("sysenter without CS (Intel)", run32(system_enter), Vector::GP, 0, system_enter_at);
    }
}

}  // namespace

void micro_main() {
    // The image once more below 4 GiB, for CPL 3.
    constexpr u64 large = 0x200000;
    for (u64 i = 0; i < 4; ++i) entry(low + i * large, 2) = (image + i * large) | user_page | PageEntry::PS;
    write_cr3(read_cr3());
    wrmsr(Msr::IA32_CSTAR, rdmsr(Msr::IA32_LSTAR));
    set_gate(static_cast<u64>(Vector::OF), 1, 3);
    instructions();
    stacks_and_calls();
    addresses();
    system_calls();
}
