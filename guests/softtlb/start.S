// SPDX-License-Identifier: Apache-2.0
// The way in, and out of every trap.

    .set window, 0xffff800000000000
    .set call_enable, 0x55430000

// 64-bit Linux boot protocol: identity map, interrupts off. We run at physical addresses, and ask for the
// software-managed TLB: from there on only the window is mapped, and we go on in it.
    .section .text.start, "ax"
    .globl start
start:
    cli
    cld
    mov $0x40000100, %eax
    cpuid
    cmp $0x65646e55, %ebx           // "Unde"
    jne halt
    movabs $window, %rdi
    lea in_window(%rip), %rbx       // where to go on
    lea tlb_miss_entry(%rip), %rcx  // the miss handler
    lea miss_stack_top(%rip), %rdx  // and its stack
    add %rdi, %rbx
    add %rdi, %rcx
    add %rdi, %rdx
    mov $call_enable, %eax
    vmmcall
in_window:
    lea boot_stack_top(%rip), %rsp
    call kernel_main
halt:
    hlt
    jmp halt

// --- TLB misses -----------------------------------------------------------------------------------------------
// On the miss stack, interrupts off: error code, RIP, CS, RFLAGS, RSP, SS. CR2 is the address.
    .text
tlb_miss_entry:
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    mov %cr2, %rdi
    mov 80(%rsp), %rsi
    cld
    call tlb_miss                   // bool(address, error code): is the translation in the TLB now?
    test %al, %al
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    jz 1f
    add $8, %rsp
    iretq                           // the instruction is tried again
1:  push $14                        // nobody may have that page: as any other page fault
    jmp trap_entry

// --- all other traps ------------------------------------------------------------------------------------------
// From a process: RSP0 lies at the end of its frame, so that it is saved where it belongs.
    .globl trap_entry
trap_entry:
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
    lea trap_stack_top(%rip), %rsp
    call trap                       // TrapFrame*(TrapFrame*): whom to resume
resume:
    mov %rax, %rsp
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

// void enter_processes(TrapFrame*): comes back when leave_processes() is called.
    .globl enter_processes, leave_processes
enter_processes:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, kernel_stack_pointer(%rip)
    mov %rdi, %rax
    jmp resume
leave_processes:
    mov kernel_stack_pointer(%rip), %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

// The processor has nothing to do.
    .globl idle_loop
idle_loop:
    hlt
    jmp idle_loop

// One entry for each vector, 16 bytes apart. Where the processor pushes no error code we do.
    .balign 16
    .globl vector_entries
vector_entries:
    .set vector, 0
    .rept 256
    .balign 16
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
    push $0
    .endif
    push $vector
    jmp trap_entry
    .set vector, vector + 1
    .endr

    .bss
    .balign 16
    .globl idle_stack_top, fault_stack_top
    .skip 8192
boot_stack_top:
    .skip 8192
trap_stack_top:
    .skip 8192
miss_stack_top:
    .skip 4096
idle_stack_top:
    .skip 4096
fault_stack_top:
kernel_stack_pointer:
    .skip 8
