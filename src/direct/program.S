// SPDX-License-Identifier: Apache-2.0
// The program of a guest process: it makes room, gives up whatever it could do to the host, and stops. From
// then on it is told where to go by its tracer: to `work` (in rax when it stops), to make the system calls that
// are on the list, until it stops before `work_done` (in rcx); to `plain_flags` (in rbx), until `plain_flags_done`
// (in rdx); or to the guest's code.
//
// It has no stack and no memory that can be written: nothing that guest code could change under it.

#include "program.h"

#include <asm/unistd_64.h>

// <linux/prctl.h>, <linux/seccomp.h> and others, whose headers are C.
#define PR_SET_PDEATHSIG 1
#define PR_SET_NAME 15
#define PR_SET_SECCOMP 22
#define SECCOMP_MODE_FILTER 2
#define SECCOMP_RET_ALLOW 0x7fff0000
#define SECCOMP_RET_TRAP 0x00030000
#define PR_SET_NO_NEW_PRIVS 38
#define AUDIT_ARCH_X86_64 0xc000003e
#define PROT_READ 1
#define MAP_SHARED 1
#define MAP_FIXED 0x10
#define SIG_SETMASK 2
#define SIGKILL 9

    .macro must number, rdi_value, rsi_value=0, rdx_value=0, r10_value=0, r8_value=0, r9_value=0
    inc     %ebx
    mov     $\number, %eax
    movabs  $\rdi_value, %rdi
    movabs  $\rsi_value, %rsi
    movabs  $\rdx_value, %rdx
    movabs  $\r10_value, %r10
    movabs  $\r8_value, %r8
    movabs  $\r9_value, %r9
    syscall
    cmp     $-4096, %rax
    ja      failed
    .endm

    .set    above, DIRECT_USER_END - DIRECT_END_ADDRESS
    .set    shared, MAP_SHARED | MAP_FIXED

    .text
    .globl  _start
_start:
    xor     %ebx, %ebx
    must    __NR_prctl, PR_SET_PDEATHSIG, SIGKILL
    must    __NR_rt_sigprocmask, SIG_SETMASK, none, 0, 8
    must    __NR_prctl, PR_SET_NAME, called
    must    __NR_prctl, PR_SET_NO_NEW_PRIVS, 1
    must    __NR_mmap, DIRECT_LIST_ADDRESS, DIRECT_LIST_SIZE, PROT_READ, shared, DIRECT_LIST_FILE
    must    __NR_close, DIRECT_LIST_FILE
    must    __NR_munmap, 0, DIRECT_PROGRAM_ADDRESS
    must    __NR_munmap, DIRECT_END_ADDRESS, above
    must    __NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter
    lea     work(%rip), %rax
    lea     work_done(%rip), %rcx
    lea     plain_flags(%rip), %rbx
    lea     plain_flags_done(%rip), %rdx
    int3

// rbx: the list; rbp: how many calls. Stops with rbp zero when all are done, or at the one that failed.
    .balign 16
work:
    mov     (%rbx), %rax
    mov     8(%rbx), %rdi
    mov     16(%rbx), %rsi
    mov     24(%rbx), %rdx
    mov     32(%rbx), %r10
    mov     40(%rbx), %r8
    mov     48(%rbx), %r9
    syscall
    cmp     $-4096, %rax
    ja      1f
    add     $DIRECT_CALL_SIZE, %rbx
    dec     %rbp
    jnz     work
1:  int3
work_done:

// Reads memory only.
    .balign 16
plain_flags:
    lea     flags(%rip), %rsp
    popfq
    int3
plain_flags_done:

failed:
    mov     %ebx, %edi
    mov     $__NR_exit_group, %eax
    syscall

    .balign 8
none:
    .quad   0
flags:
    .quad   0x202
called:
    .asciz  "undercroft-user"
    .balign 8
// Nothing but mapping: the tracer sees to the rest before it comes here.
rules:
    .macro  rule code, if_true, if_false, value
    .short  \code
    .byte   \if_true, \if_false
    .long   \value
    .endm
    rule    0x20, 0, 0, 4                      // the architecture
    rule    0x15, 0, 4, AUDIT_ARCH_X86_64
    rule    0x20, 0, 0, 0                      // the number
    rule    0x15, 1, 0, __NR_mmap
    rule    0x15, 0, 1, __NR_munmap
    rule    0x06, 0, 0, SECCOMP_RET_ALLOW
    rule    0x06, 0, 0, SECCOMP_RET_TRAP
filter:
    .short  7
    .short  0, 0, 0
    .quad   rules
    .section .note.GNU-stack, "", @progbits
