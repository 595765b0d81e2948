// SPDX-License-Identifier: Apache-2.0
// The two ways into a micro-guest, and its first page tables.
//
// linux_entry: Linux 64-bit boot protocol (Documentation/arch/x86/boot.rst), RSI = boot_params.
// pvh_entry: 32-bit protected mode, flat segments, paging off (Xen PVH): the way in under other
// implementations, where expectations are checked. Both end in runtime_main(boot_params or null).

    .section .note.Xen, "a", @note
    .long 4, 8, 18
    .asciz "Xen"
    .quad pvh_entry

    .section .text.entry, "ax"
    .code64
    .globl linux_entry
linux_entry:
    cli
    cld
    mov $boot_stack_top, %rsp
    mov %rsi, %rdi
start64:
    lea boot_gdt_register(%rip), %rax
    lgdt (%rax)
    mov $boot_pml4, %eax
    mov %rax, %cr3
    mov $0x18, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    push $0x10
    push $1f
    lretq
1:  xor %ebp, %ebp
    call runtime_main
2:  hlt
    jmp 2b

    .code32
    .globl pvh_entry
pvh_entry:
    cli
    cld
    mov $boot_stack_top, %esp
    lgdt boot_gdt_register
    mov $0x20, %eax              // CR4.PAE
    mov %eax, %cr4
    mov $boot_pml4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx        // IA32_EFER: SCE, LME, NXE
    mov $0x901, %eax
    xor %edx, %edx
    wrmsr
    mov $0x80010033, %eax        // CR0: PG WP NE ET MP PE
    mov %eax, %cr0
    ljmp $0x10, $3f
    .code64
3:  xor %edi, %edi
    jmp start64

    .data
    .balign 16
boot_gdt:
    .quad 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdt_register:
    .word . - boot_gdt - 1
    .quad boot_gdt

    .balign 4096
    .globl boot_pml4
boot_pml4:                       // 0: the identity map; 1: the tests' window; 2: the user's alias
    .quad boot_pdpt + 7
    .quad 0
    .quad user_pdpt + 7
    .fill 509, 8, 0
boot_pdpt:
    .quad boot_pd + 7, boot_pd + 0x1007, boot_pd + 0x2007, boot_pd + 0x3007
    .fill 508, 8, 0
boot_pd:                         // the first 4 GiB in 2 MiB pages, supervisor only
    .set address, 0
    .rept 2048
    .quad address + 0x83
    .set address, address + 0x200000
    .endr
user_pdpt:
    .quad user_pd + 7
    .fill 511, 8, 0
user_pd:                         // the first 64 MiB once more, for CPL 3
    .set address, 0
    .rept 32
    .quad address + 0x87
    .set address, address + 0x200000
    .endr
    .fill 480, 8, 0

    .bss
    .balign 4096
    .skip 65536
boot_stack_top:
