// SPDX-License-Identifier: Apache-2.0
// The border between program and kernel: what SYSCALL leaves in registers, segment bases, the vDSO, and a
// handful of calls that move data in bulk or wait.

#include <asm/hwcap2.h>
#include <asm/prctl.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>

#include "result.h"

extern char after_syscall[];

static void registers(void) {
    uint64_t rcx = 0, r11 = 0, rdx = 0x1111, r8 = 0, r10 = 0, result = 0;
    asm volatile(
        "mov $0x8888, %%r8d; mov $0x1010, %%r10d; stc; std; syscall; after_syscall: cld\n"
        "mov %%rcx, %[rcx]; mov %%r11, %[r11]; mov %%r8, %[r8]; mov %%r10, %[r10]"
        : "=&a"(result), "+d"(rdx), [rcx] "=m"(rcx), [r11] "=m"(r11), [r8] "=m"(r8), [r10] "=m"(r10)
        : "0"((uint64_t)SYS_getppid)
        : "rcx", "r8", "r10", "r11", "memory", "cc");
    check(result == (uint64_t)getppid(), "syscalls.result", "%lu", result);
    check(rcx == (uint64_t)after_syscall && (r11 & 0x601) == 0x601, "syscalls.rcx-r11", "rcx %#lx r11 %#lx",
          rcx, r11);
    check(rdx == 0x1111 && r8 == 0x8888 && r10 == 0x1010, "syscalls.kept", "rdx %#lx r8 %#lx r10 %#lx", rdx,
          r8, r10);
    uint8_t carry = 0;
    asm volatile("stc; syscall; mov %%r11, %[r11]; setc %[carry]"
                 : "=&a"(result), [r11] "=m"(r11), [carry] "=m"(carry)
                 : "0"((uint64_t)SYS_getppid)
                 : "rcx", "r11", "memory", "cc");
    check((r11 & 1) == 1 && carry == 1, "syscalls.flags", "r11 %#lx, carry %d", r11, carry);
    check(syscall(9999) == -1 && errno == ENOSYS, "syscalls.unknown", "errno %d", errno);
}

static void bases(void) {
    uint64_t gs = 0, fs = 0, value = 0;
    static uint64_t target[4] = {1, 2, 3, 4};
    syscall(SYS_arch_prctl, ARCH_SET_GS, target);
    syscall(SYS_arch_prctl, ARCH_GET_GS, &gs);
    syscall(SYS_arch_prctl, ARCH_GET_FS, &fs);
    asm volatile("movq %%gs:16, %0" : "=r"(value));
    check(gs == (uint64_t)target && value == 3, "syscalls.gs-base", "gs %#lx, value %lu", gs, value);
    asm volatile("movq %%fs:0, %0" : "=r"(value));
    check(value == fs, "syscalls.fs-base", "fs %#lx, first word %#lx", fs, value);
    for (int i = 0; i < 50; i++) {
        if (fork() == 0) {
            asm volatile("movq %%gs:24, %0" : "=r"(value));
            _exit(value == 4 ? 0 : 1);
        }
        int status = 1;
        wait(&status);
        gs += status != 0;
    }
    check(gs == (uint64_t)target, "syscalls.gs-base-kept", "%lu of 50 children", gs - (uint64_t)target);
}

__attribute__((target("fsgsbase"))) static void base_instructions(void) {
    if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)) return skip("syscalls.wrgsbase", "not enabled");
    static uint64_t target[2] = {11, 12};
    __builtin_ia32_wrgsbase64((uint64_t)target);
    for (int i = 0; i < 100; i++) sched_yield();
    uint64_t value;
    asm volatile("movq %%gs:8, %0" : "=r"(value));
    check(__builtin_ia32_rdgsbase64() == (uint64_t)target && value == 12, "syscalls.wrgsbase", "value %lu",
          value);
}

static void clock_page(void) {
    struct timeval direct, before, after;
    gettimeofday(&before, NULL);
    syscall(SYS_gettimeofday, &direct, NULL);
    gettimeofday(&after, NULL);
    const double first = (double)before.tv_sec + (double)before.tv_usec * 1e-6;
    const double middle = (double)direct.tv_sec + (double)direct.tv_usec * 1e-6;
    const double last = (double)after.tv_sec + (double)after.tv_usec * 1e-6;
    check(first <= middle && middle <= last, "syscalls.vdso-clock", "%f %f %f", first, middle, last);
}

static void data(void) {
    struct utsname name;
    check(uname(&name) == 0 && strcmp(name.sysname, "Linux") == 0 && strcmp(name.machine, "x86_64") == 0,
          "syscalls.uname", "%s %s", name.sysname, name.machine);

    static uint8_t out[100000], in[100000];
    for (unsigned i = 0; i < sizeof out; i++) out[i] = (uint8_t)(i * i >> 5);
    const int one = memfd_create("one", 0), two = memfd_create("two", 0);
    const struct iovec pieces[] = {{out, 1}, {out + 1, 4999}, {out + 5000, sizeof out - 5000}};
    const bool moved = writev(one, pieces, 3) == sizeof out && lseek(one, 0, SEEK_SET) == 0 &&
                       sendfile(two, one, NULL, sizeof out) == sizeof out &&
                       pread(two, in, sizeof in, 0) == sizeof in;
    check(moved && memcmp(in, out, sizeof in) == 0, "syscalls.writev-sendfile", "moved %d", moved);

    // The kernel's copies stop where the memory ends, and say so.
    uint8_t* pages = map_pages(2, PROT_READ | PROT_WRITE);
    mprotect(pages + PAGE, PAGE, PROT_NONE);
    check(pread(two, pages + PAGE - 100, 200, 0) == 100 && memcmp(pages + PAGE - 100, out, 100) == 0,
          "syscalls.partial-copy", "errno %d", errno);
    check(pread(two, pages + PAGE, 200, 0) == -1 && errno == EFAULT, "syscalls.bad-pointer", "errno %d",
          errno);
    check(syscall(SYS_uname, 0xffff888000000000) == -1 && errno == EFAULT, "syscalls.kernel-pointer",
          "errno %d", errno);
    check(syscall(SYS_uname, 0x8000000000000000) == -1 && errno == EFAULT, "syscalls.wild-pointer",
          "errno %d", errno);
    check(getrandom(in, sizeof in, 0) == sizeof in && memcmp(in, out, 64) != 0, "syscalls.getrandom",
          "errno %d", errno);
}

static void waiting(void) {
    const int event = eventfd(0, 0), poller = epoll_create1(0);
    struct epoll_event interest = {.events = EPOLLIN, .data.u32 = 17}, happened = {0};
    epoll_ctl(poller, EPOLL_CTL_ADD, event, &interest);
    const int none = epoll_wait(poller, &happened, 1, 20);
    if (fork() == 0) {
        usleep(20000);
        const uint64_t amount = 5;
        _exit(write(event, &amount, 8) == 8 ? 0 : 1);
    }
    const int some = epoll_wait(poller, &happened, 1, 5000);
    uint64_t amount = 0;
    const bool was_read = read(event, &amount, 8) == 8;
    wait(NULL);
    check(none == 0 && some == 1 && was_read && amount == 5 && happened.data.u32 == 17, "syscalls.epoll",
          "%d %d %lu", none, some, amount);
}

int main(void) {
    registers();
    bases();
    base_instructions();
    clock_page();
    data();
    waiting();
}
