// SPDX-License-Identifier: Apache-2.0
// Debugging as a debugger and a program do it: single steps by ptrace and by the trap flag, breakpoints
// planted in another process, hardware breakpoints and watchpoints.

#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "result.h"

// Each instruction of this function is one step; `traced_steps` of them from the first to the last.
extern char traced_begin[], traced_end[], traced_write[], traced_after_write[];
uint64_t traced_value, traced_other;
void traced(void);
asm(".text; .globl traced; traced:\n"
    "traced_begin: mov $5, %ecx\n"
    "1: add $3, %rax; dec %ecx; jnz 1b\n"
    "push %rbx; cpuid; pop %rbx\n"
    "movl $1, traced_other(%rip)\n"
    "traced_write: movq $77, traced_value(%rip)\n"
    "traced_after_write: nop\n"
    "mov $2, %ecx; lea traced_other(%rip), %rdi; xor %eax, %eax; rep stosb\n"
    "traced_end: ret");
enum { TracedSteps = 1 + 5 * 3 + 3 + 1 + 1 + 1 + 3 + 2 };  // each iteration of rep is a step

static volatile int steps_inside, steps_wrong;

static void count_step(int signal, siginfo_t* info, void* context) {
    note_signal(signal, info, context);
    if (caught.rip > (uint64_t)traced_begin && caught.rip <= (uint64_t)traced_end) steps_inside++;
    if (info->si_code != TRAP_TRACE || caught.address != caught.rip || caught.trap != 1) steps_wrong++;
}

static void trap_flag(void) {
    on_signal(SIGTRAP, count_step, 0);
    asm volatile(
        "sub $128, %%rsp; pushfq; orq $0x100, (%%rsp); popfq; call traced; pushfq; andq $~0x100, (%%rsp); "
        "popfq; "
        "add $128, %%rsp" ::
            : "rax", "rcx", "rdx", "rdi", "memory", "cc");
    check(steps_inside == TracedSteps, "trace.trap-flag", "%d steps, expected %d", steps_inside, TracedSteps);
    check(steps_wrong == 0, "trace.trap-flag-code", "%d of the steps", steps_wrong);
}

static pid_t traced_child(void) {
    const pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        traced();
        _exit(traced_value == 77 ? 42 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    return child;
}

static struct user_regs_struct registers_of(pid_t child) {
    struct user_regs_struct registers;
    ptrace(PTRACE_GETREGS, child, NULL, &registers);
    return registers;
}

// Lets the child go on and end.
static int finish(pid_t child) {
    int status = 0;
    ptrace(PTRACE_CONT, child, NULL, NULL);
    waitpid(child, &status, 0);
    return status;
}

static void check_finish(pid_t child, const char* name) {
    const int status = finish(child);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 42, name, "status %#x", status);
}

// Plants an int3, returns the byte it replaces.
static long plant(pid_t child, const char* where) {
    const long word = ptrace(PTRACE_PEEKTEXT, child, where, NULL);
    ptrace(PTRACE_POKETEXT, child, where, (word & ~0xffL) | 0xcc);
    return word;
}

static void breakpoint_and_steps(void) {
    const pid_t child = traced_child();
    int status = 0;
    const long word = plant(child, traced_begin);
    ptrace(PTRACE_CONT, child, NULL, NULL);
    waitpid(child, &status, 0);
    struct user_regs_struct registers = registers_of(child);
    check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP && registers.rip == (uint64_t)traced_begin + 1,
          "trace.breakpoint", "status %#x rip %#llx", status, registers.rip);

    ptrace(PTRACE_POKETEXT, child, traced_begin, word);
    registers.rip--;
    registers.rax = 1000;
    ptrace(PTRACE_SETREGS, child, NULL, &registers);
    int steps = 0;
    uint64_t sum = 0;
    do {
        ptrace(PTRACE_SINGLESTEP, child, NULL, NULL);
        waitpid(child, &status, 0);
        registers = registers_of(child);
        if (++steps == 1 + 5 * 3) sum = registers.rax;
    } while (WIFSTOPPED(status) && registers.rip != (uint64_t)traced_end && steps < 1000);
    check(steps == TracedSteps, "trace.single-steps", "%d steps, expected %d", steps, TracedSteps);
    check(sum == 1015, "trace.registers", "rax %lu", sum);
    check_finish(child, "trace.goes-on");
}

static bool set_debug_register(pid_t child, unsigned number, uint64_t value) {
    return ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg) + number * 8, value) == 0;
}

static uint64_t debug_status(pid_t child) {
    return (uint64_t)ptrace(PTRACE_PEEKUSER, child, offsetof(struct user, u_debugreg) + 6 * 8, NULL);
}

static void hardware_breakpoints(void) {
    const pid_t child = traced_child();
    int status = 0;
    const uint64_t execute = 0, write8 = (1 | 2 << 2);  // R/W and LEN fields of DR7
    if (!set_debug_register(child, 0, (uint64_t)traced_begin) ||
        !set_debug_register(child, 1, (uint64_t)&traced_value) ||
        !set_debug_register(child, 7, 1 << 0 | 1 << 2 | execute << 16 | write8 << 20)) {
        finish(child);
        return skip("trace.hardware", "the kernel does not take the debug registers");
    }
    ptrace(PTRACE_CONT, child, NULL, NULL);
    waitpid(child, &status, 0);
    uint64_t rip = registers_of(child).rip;
    check(WIFSTOPPED(status) && rip == (uint64_t)traced_begin && (debug_status(child) & 0xf) == 1,
          "trace.hardware-execute", "status %#x rip %#lx dr6 %#lx", status, rip, debug_status(child));
    if (WIFEXITED(status)) return;
    ptrace(PTRACE_CONT, child, NULL, NULL);
    waitpid(child, &status, 0);
    rip = registers_of(child).rip;
    check(WIFSTOPPED(status) && rip == (uint64_t)traced_after_write && (debug_status(child) & 0xf) == 2,
          "trace.hardware-watch", "status %#x rip %#lx dr6 %#lx", status, rip, debug_status(child));
    if (WIFEXITED(status)) return;
    check_finish(child, "trace.hardware-goes-on");
}

int main(void) {
    trap_flag();
    breakpoint_and_steps();
    hardware_breakpoints();
}
