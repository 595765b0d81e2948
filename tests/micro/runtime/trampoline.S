// SPDX-License-Identifier: Apache-2.0
// Where a start-up IPI begins: real mode, CS = page * 256, to long mode on the first page tables, and into
// processor_entry(index) with a stack of its own. Copied to a page below 1 MiB.

    .section .text.trampoline, "ax"
    .balign 16
    .globl trampoline, trampoline_end
    .code16
trampoline:
    cli
    cld
    mov %cs, %ax
    mov %ax, %ds
    movzwl %ax, %ebx
    shl $4, %ebx                 // where this page lies
    lgdtl trampoline_gdt_register - trampoline
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $0x08, $in_protected_mode

    .balign 8
trampoline_gdt_register:
    .word 39
    .long trampoline_gdt
trampoline_end:

    .code32
in_protected_mode:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %cr4, %eax
    or $0x20, %eax               // PAE
    mov %eax, %cr4
    mov $boot_pml4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx        // IA32_EFER: SCE, LME, NXE
    rdmsr
    or $0x901, %eax
    wrmsr
    mov $0x80010033, %eax        // CR0: PG WP NE ET MP PE
    mov %eax, %cr0
    ljmp $0x18, $in_long_mode

    .code64
in_long_mode:
    mov $0x20, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $1, %edi
    lock xadd %edi, processors_started(%rip)
    inc %edi                     // processor 0 does not come this way
    mov %edi, %eax
    shl $14, %eax
    lea processor_stacks(%rip), %rsp
    add %rax, %rsp               // the top of stack index - 1
    mov %ebx, %esi
    call processor_entry
1:  hlt
    jmp 1b

    .data
    .balign 16
trampoline_gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff
    .globl processors_started
processors_started:
    .long 0

    .bss
    .balign 4096
processor_stacks:
    .skip 16384 * 8
