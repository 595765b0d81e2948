// SPDX-License-Identifier: Apache-2.0
// For our guest test programs: RESULT lines (guests/README.md), and catching signals with all they carry.

#pragma once

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
#define PAGE 4096UL

// Prints one RESULT line: FAIL with the printf-like reason if `good` is false.
__attribute__((format(printf, 3, 4))) UNUSED static void check(bool good, const char* name,
                                                               const char* reason, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, reason);
    vsnprintf(text, sizeof text, reason, arguments);
    va_end(arguments);
    if (good)
        printf("RESULT %s PASS\n", name);
    else
        printf("RESULT %s FAIL %s\n", name, text);
    fflush(stdout);
}

UNUSED static void skip(const char* name, const char* reason) {
    printf("RESULT %s SKIP %s\n", name, reason);
    fflush(stdout);
}

// What the last caught signal brought.
struct Caught {
    int signal, code;
    uint64_t address;  // si_addr
    uint64_t rip, rsp, flags, rcx, rsi, rdi;
    uint64_t trap, error;  // x86's vector and error code, as the kernel passes them on
};
UNUSED static volatile struct Caught caught;
UNUSED static sigjmp_buf recovery;

UNUSED static void note_signal(int signal, siginfo_t* info, void* context) {
    const greg_t* registers = ((ucontext_t*)context)->uc_mcontext.gregs;
    caught.signal = signal;
    caught.code = info->si_code;
    caught.address = (uint64_t)info->si_addr;
    caught.rip = (uint64_t)registers[REG_RIP];
    caught.rsp = (uint64_t)registers[REG_RSP];
    caught.flags = (uint64_t)registers[REG_EFL];
    caught.rcx = (uint64_t)registers[REG_RCX];
    caught.rsi = (uint64_t)registers[REG_RSI];
    caught.rdi = (uint64_t)registers[REG_RDI];
    caught.trap = (uint64_t)registers[REG_TRAPNO];
    caught.error = (uint64_t)registers[REG_ERR];
}

UNUSED static void note_and_leave(int signal, siginfo_t* info, void* context) {
    note_signal(signal, info, context);
    siglongjmp(recovery, 1);
}

UNUSED static void on_signal(int signal, void (*handler)(int, siginfo_t*, void*), int flags) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigaction(signal, &action, NULL);
}

// Runs `statement`; true if a signal that note_and_leave handles ended it.
#define CATCHES(statement)                        \
    ({                                            \
        memset((void*)&caught, 0, sizeof caught); \
        volatile bool left_ = true;               \
        if (sigsetjmp(recovery, 1) == 0) {        \
            statement;                            \
            left_ = false;                        \
        }                                         \
        left_;                                    \
    })

UNUSED static void* map_pages(size_t pages, int protection) {
    void* memory = mmap(NULL, pages * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return memory;
}
