// SPDX-License-Identifier: Apache-2.0
// Signal handlers: alternate stacks, nesting, masks, values, and what a handler may change or must not.

#include <pthread.h>

#include "result.h"

static char alternate[64 * 1024];
static volatile uint64_t handler_stack;

static void note_stack_and_leave(int signal, siginfo_t* info, void* context) {
    handler_stack = (uint64_t)__builtin_frame_address(0);
    note_and_leave(signal, info, context);
}

__attribute__((noinline)) static int recurse(int depth) {
    volatile char block[4096];
    block[0] = (char)depth;
    if (depth < 0) return 0;
    return recurse(depth + 1) + block[0];
}

static void* overflow(void* result) {
    const stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    sigaltstack(&stack, NULL);
    *(bool*)result = CATCHES(recurse(0));
    return NULL;
}

static void stack_overflow(void) {
    on_signal(SIGSEGV, note_stack_and_leave, SA_ONSTACK);
    bool left = false;
    pthread_t thread;
    pthread_create(&thread, NULL, overflow, &left);
    pthread_join(thread, NULL);
    const bool on_alternate =
        handler_stack >= (uint64_t)alternate && handler_stack < (uint64_t)alternate + sizeof alternate;
    check(left && caught.signal == SIGSEGV && on_alternate, "handlers.stack-overflow", "signal %d stack %#lx",
          caught.signal, handler_stack);
}

static void skip_instruction(int signal, siginfo_t* info, void* context) {
    note_signal(signal, info, context);
    greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
    registers[REG_RIP] += 2;  // ud2
    registers[REG_R10] = 0x1234567890abcdef;
    registers[REG_R11] = 0x0fedcba987654321;
    registers[REG_EFL] |= 1;  // carry
}

static void changed_registers(void) {
    on_signal(SIGILL, skip_instruction, 0);
    uint64_t r10 = 0, r11 = 0;
    uint8_t carry = 0;
    asm volatile("xor %%r10d, %%r10d; xor %%r11d, %%r11d; clc; ud2; setc %2; mov %%r10, %0; mov %%r11, %1"
                 : "=r"(r10), "=r"(r11), "=r"(carry)
                 :
                 : "r10", "r11", "cc");
    check(r10 == 0x1234567890abcdef && r11 == 0x0fedcba987654321 && carry == 1, "handlers.changed-registers",
          "r10 %#lx r11 %#lx carry %d", r10, r11, carry);
}

static void spoil(int signal, siginfo_t* info, void* context) {
    note_signal(signal, info, context);
    asm volatile(
        "pcmpeqd %%xmm0, %%xmm0; movaps %%xmm0, %%xmm7; movaps %%xmm0, %%xmm15; fninit; fldpi; fldpi; std; "
        "cld" ::
            : "xmm0", "xmm7", "xmm15");
    errno = EBADF;
}

static void preserved_registers(void) {
    on_signal(SIGUSR1, spoil, 0);
    _Alignas(32) static const uint64_t before[4] = {1, 0x2222, 0x333333, 0x4444444444};
    _Alignas(32) static uint64_t after[4];
    double x87 = 0;
    uint64_t flags = 0, rbx = 0, r10 = 0, result = 0;
    asm volatile(
        "movaps %[before], %%xmm0; movaps 16+%[before], %%xmm15; fninit; fld1; fld1; faddp\n"
        "mov $0x1111, %%rbx; mov $0x2222, %%r10; mov $0x3333, %%r13; pushf; popf; stc\n"
        "syscall\n"
        "pushfq; popq %[flags]; fstpl %[x87]; movaps %%xmm0, %[after]; movaps %%xmm15, 16+%[after]\n"
        "mov %%rbx, %[rbx]; mov %%r10, %[r10]"
        : [after] "=m"(after), [x87] "=m"(x87), [flags] "=m"(flags), [rbx] "=m"(rbx), [r10] "=m"(r10),
          "=a"(result)
        : [before] "m"(before), "a"(62L), "D"((long)getpid()), "S"((long)SIGUSR1)
        : "rbx", "rcx", "r10", "r11", "r13", "xmm0", "xmm15", "memory", "cc");
    check(result == 0 && caught.signal == SIGUSR1, "handlers.kill-self", "result %ld", (long)result);
    check(memcmp(before, after, sizeof after) == 0, "handlers.sse-preserved", "%#lx %#lx %#lx %#lx", after[0],
          after[1], after[2], after[3]);
    check(x87 == 2.0, "handlers.x87-preserved", "%f", x87);
    check(rbx == 0x1111 && r10 == 0x2222 && (flags & 1) == 1, "handlers.registers-preserved",
          "rbx %#lx r10 %#lx flags %#lx", rbx, r10, flags);
}

// A processor with AVX keeps the upper halves of the registers across a handler, too.
__attribute__((target("avx2"))) static void avx_preserved(void) {
    _Alignas(32) static const uint64_t before[4] = {11, 22, 33, 44};
    _Alignas(32) static uint64_t after[4];
    if (!__builtin_cpu_supports("avx2")) return skip("handlers.avx-preserved", "no AVX2");
    uint64_t result = 0;
    asm volatile(
        "vmovdqa %[before], %%ymm7; vmovdqa %%ymm7, %%ymm15; syscall; vpand %%ymm7, %%ymm15, %%ymm7\n"
        "vmovdqa %%ymm7, %[after]; vzeroupper"
        : [after] "=m"(after), "=a"(result)
        : [before] "m"(before), "a"(62L), "D"((long)getpid()), "S"((long)SIGUSR1)
        : "rcx", "r11", "xmm7", "xmm15", "memory");
    check(memcmp(before, after, sizeof after) == 0, "handlers.avx-preserved", "%lu %lu %lu %lu", after[0],
          after[1], after[2], after[3]);
}

static volatile int depth, deepest, order[8], orders;

static void nest(int signal) {
    depth++;
    if (depth > deepest) deepest = depth;
    if (signal == SIGUSR1 && depth < 5) raise(SIGUSR1);
    depth--;
}

static void note_order(int signal, siginfo_t* info, void* context UNUSED) {
    order[orders++ % 8] = signal == SIGUSR2 ? info->si_value.sival_int : -1;
}

static void nesting_and_masks(void) {
    struct sigaction action = {.sa_handler = nest, .sa_flags = SA_NODEFER};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    check(deepest == 5 && depth == 0, "handlers.nested", "deepest %d, now %d", deepest, depth);

    sigset_t set, pending, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, &old);
    on_signal(SIGUSR1, note_order, 0);
    on_signal(SIGUSR2, note_order, 0);
    raise(SIGUSR1);
    sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 4711});
    sigpending(&pending);
    const bool held =
        orders == 0 && sigismember(&pending, SIGUSR1) == 1 && sigismember(&pending, SIGUSR2) == 1;
    sigprocmask(SIG_SETMASK, &old, NULL);
    check(held && orders == 2 && (order[0] == 4711 || order[1] == 4711), "handlers.blocked",
          "held %d, then %d", held, orders);
}

// A child that takes no precautions dies of the signal, and its parent learns of which one.
static void death_by_signal(void) {
    const int signals[] = {SIGSEGV, SIGILL, SIGFPE, SIGABRT, SIGTRAP};
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
        char name[40];
        snprintf(name, sizeof name, "handlers.dies-%d", signals[i]);
        const pid_t child = fork();
        if (child == 0) {
            signal(signals[i], SIG_DFL);
            volatile int zero = 0;
            int* volatile nowhere = (int*)8;
            if (i == 0) *nowhere = 1;
            if (i == 1) asm volatile("ud2");
            if (i == 2) asm volatile("idivl %0" ::"r"(zero), "a"(1), "d"(0));
            if (i == 3) abort();
            if (i == 4) asm volatile("int3");
            _exit(0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        check(WIFSIGNALED(status) && WTERMSIG(status) == signals[i], name, "status %#x", status);
    }
}

int main(void) {
    stack_overflow();
    changed_registers();
    preserved_registers();
    avx_preserved();
    nesting_and_masks();
    death_by_signal();
}
