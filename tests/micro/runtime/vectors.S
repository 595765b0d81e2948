// SPDX-License-Identifier: Apache-2.0
// 256 exception and interrupt entries, the SYSCALL entry, and the switch into and out of a fragment.
//
// Every way in ends in trap_common with a struct Frame (run.hpp) on the handler's stack.

    .section .text.vectors, "ax"
    .balign 16
    .globl vector_stubs
vector_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
    .else
    push $0
    .endif
    push $vector
    jmp trap_common
    .set vector, vector + 1
    .endr

// SYSCALL does not switch stacks: build the frame of a made-up vector 256.
    .globl syscall_entry
syscall_entry:
    mov %rsp, syscall_user_rsp(%rip)
    mov $syscall_stack_top, %rsp
    push $0x2b
    push syscall_user_rsp(%rip)
    push %r11
    push $0x33
    push %rcx
    push $0
    push $256
    jmp trap_common

    .globl trap_common
trap_common:
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    cld
    mov %rsp, %rdi
    mov %rsp, %rbx
    and $-16, %rsp
    call trap_dispatch
    mov %rbx, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq

// enter_fragment(rdi = Registers, rsi = CS, rdx = SS): loads everything and IRETs; returns by leave_fragment.
    .globl enter_fragment
enter_fragment:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, fragment_context(%rip)
    push %rdx
    push 15*8(%rdi)              // rsp
    push 17*8(%rdi)              // rflags
    push %rsi
    push 16*8(%rdi)              // rip
    mov 0*8(%rdi), %r15
    mov 1*8(%rdi), %r14
    mov 2*8(%rdi), %r13
    mov 3*8(%rdi), %r12
    mov 4*8(%rdi), %r11
    mov 5*8(%rdi), %r10
    mov 6*8(%rdi), %r9
    mov 7*8(%rdi), %r8
    mov 9*8(%rdi), %rsi
    mov 10*8(%rdi), %rbp
    mov 11*8(%rdi), %rbx
    mov 12*8(%rdi), %rdx
    mov 13*8(%rdi), %rcx
    mov 14*8(%rdi), %rax
    mov 8*8(%rdi), %rdi
    iretq

    .globl leave_fragment
leave_fragment:
    mov fragment_context(%rip), %rsp
    pushq $2
    popfq
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    .bss
    .balign 16
fragment_context: .skip 8
syscall_user_rsp: .skip 8
    .balign 4096
    .skip 16384
syscall_stack_top:
