// SPDX-License-Identifier: Apache-2.0
// A hostile process tries every way to what is not its own, and says which trap it got.
#include "descriptors.hpp"
#include "user/program.hpp"

// Executes `code`, and gives the trap that it made: vector << 32 | error code; zero if there was none.
#define ATTEMPT(code)                                                                \
    [] {                                                                             \
        u64 result;                                                                  \
        asm volatile("mov %%rsp, %%r8\n\tlea 2f(%%rip), %%rdi\n\tint $0x80\n\t" code \
                     "\n\txor %%eax, %%eax\n"                                        \
                     "2:\tmov %%r8, %%rsp"                                           \
                     : "=a"(result)                                                  \
                     : "a"(static_cast<u64>(SystemCall::OnTrap))                     \
                     : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "memory", "cc");     \
        return result;                                                               \
    }()

#define WINDOW "0xffff800000200000"  // the kernel's text
#define CALL(number, instruction) \
    ATTEMPT("mov $" number ", %%eax\n\tmov $0x400000, %%ebx\n\tmov $0x20000e, %%ecx\n\t" instruction)

namespace softtlb {
namespace {

constexpr u64 trap_of(u64 vector, u64 error = 0) { return vector << 32 | error; }
constexpr u64 protection = trap_of(13);
constexpr u64 forbidden = 1, write = 2, user_mode = 4, fetch = 16;  // error codes of page faults
constexpr u64 fault(u64 error) { return trap_of(vector::page_fault, error | user_mode); }

void reach_memory() {
    expect("a process cannot read the kernel", ATTEMPT("movabs $" WINDOW ", %%rax\n\tmov (%%rax), %%rax"),
           fault(forbidden));
    expect("a process cannot write the kernel", ATTEMPT("movabs $" WINDOW ", %%rax\n\tmov %%rax, (%%rax)"),
           fault(forbidden | write));
    expect("a process cannot jump into the kernel", ATTEMPT("movabs $" WINDOW ", %%rax\n\tjmp *%%rax"),
           fault(forbidden | fetch));
    expect("a process cannot reach devices",
           ATTEMPT("movabs $0xffff8000fee00000, %%rax\n\tmov (%%rax), %%eax"), fault(forbidden));
    expect("a process cannot write the code that all share",
           ATTEMPT("mov $0x400000, %%eax\n\tmov %%eax, (%%rax)"), fault(forbidden | write));
    expect("a process cannot execute its data",
           ATTEMPT("mov $0x10000000, %%eax\n\tmov %%eax, (%%rax)\n\tjmp *%%rax"), fault(forbidden | fetch));
    expect("a process cannot execute its stack",
           ATTEMPT("lea -64(%%rsp), %%rax\n\tmov %%eax, (%%rax)\n\tjmp *%%rax"), fault(forbidden | fetch));
    expect("nothing is mapped at zero", ATTEMPT("xor %%eax, %%eax\n\tmov (%%rax), %%rax"), fault(0));
    expect("the kernel's half has nothing but the window",
           ATTEMPT("movabs $0xffffffff81000000, %%rax\n\tmov %%rax, (%%rax)"), fault(write));
    expect("addresses that are not canonical", ATTEMPT("movabs $0x800000000000, %%rax\n\tmov (%%rax), %%rax"),
           protection);
}

void fill_the_tlb() {
    expect("a process cannot write the TLB", CALL("0x55430001", "vmmcall"), protection);
    expect("a process cannot write the TLB by the other instruction", CALL("0x55430001", "vmcall"),
           protection);
    expect("a process cannot register a miss handler", CALL("0x55430000", "vmmcall"), protection);
    expect("a process cannot flush a page", CALL("0x55430002", "vmmcall"), protection);
    expect("a process cannot flush an address space", CALL("0x55430003", "vmmcall"), protection);
    expect("a process cannot flush the TLB", CALL("0x55430004", "vmmcall"), protection);
    expect("a process cannot choose its address space", CALL("0x55430005", "vmmcall"), protection);
    expect("a process cannot switch the second level", CALL("0x55430006", "vmmcall"), protection);
    expect("a process cannot invalidate a page", ATTEMPT("invlpg (%%rsp)"), protection);
    expect("a process cannot load CR3", ATTEMPT("xor %%eax, %%eax\n\tmov %%rax, %%cr3"), protection);
    expect("a process cannot load CR0", ATTEMPT("xor %%eax, %%eax\n\tmov %%rax, %%cr0"), protection);
    expect("a process cannot see others' faults", ATTEMPT("mov %%cr2, %%rax"), protection);
}

void take_the_processor() {
    expect("a process cannot mask interrupts", ATTEMPT("cli"), protection);
    expect("a process cannot halt", ATTEMPT("hlt"), protection);
    expect("a process cannot load a GDT", ATTEMPT("lgdt (%%rsp)"), protection);
    expect("a process cannot load an IDT", ATTEMPT("lidt (%%rsp)"), protection);
    expect("a process cannot load a task", ATTEMPT("mov $0x28, %%eax\n\tltr %%ax"), protection);
    expect("a process cannot write MSRs", ATTEMPT("mov $0xc0000081, %%ecx\n\twrmsr"), protection);
    expect("a process cannot read MSRs", ATTEMPT("mov $0xc0000081, %%ecx\n\trdmsr"), protection);
    expect("a process cannot use ports", ATTEMPT("mov $0x600, %%edx\n\tmov $0x34, %%eax\n\tout %%al, %%dx"),
           protection);
    expect("a process cannot swap GS", ATTEMPT("swapgs"), protection);
    expect("a process cannot SYSRET", ATTEMPT("xor %%ecx, %%ecx\n\tsysretq"), trap_of(6));
    expect("a process cannot fake a page fault", ATTEMPT("int $14"), trap_of(13, 14 * 8 + 2));
    expect("a process cannot fake a timer tick", ATTEMPT("int $0x20"), trap_of(13, 0x20 * 8 + 2));
    expect(
        "a process cannot return into the kernel",
        ATTEMPT(
            "mov %%rsp, %%rax\n\tpush $0x10\n\tpush %%rax\n\tpush $2\n\tpush $8\n\tlea 1f(%%rip), %%rax\n\t"
            "push %%rax\n\tiretq\n1:"),
        trap_of(13, selector::kernel_code));
    expect("a process cannot jump far into the kernel",
           ATTEMPT("push $8\n\tlea 1f(%%rip), %%rax\n\tpush %%rax\n\tlretq\n1:"),
           trap_of(13, selector::kernel_code));
}

void deceive_the_kernel() {
    constexpr u64 window = 0xffff800000200000;
    expect("the kernel prints nothing of its own", system_call(SystemCall::Print, window, 16), 0);
    expect("the kernel prints nothing across the end",
           system_call(SystemCall::Print, user::stack_top - 8, 16), 0);
    expect("the kernel prints nothing that wraps", system_call(SystemCall::Print, ~u64{0} - 4, 16), 0);
    expect("there are no other system calls", system_call(SystemCall{99}), no_such_call);
    expect("another's page is not at its address here",
           *reinterpret_cast<volatile u64*>(user::data + page_size), 0);
}

}  // namespace

void attack(u64) {
    deceive_the_kernel();
    reach_memory();
    fill_the_tlb();
    take_the_processor();
    end();
}

}  // namespace softtlb
