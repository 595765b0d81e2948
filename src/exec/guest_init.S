// SPDX-License-Identifier: Apache-2.0
// The guest's first process (guest/init.c), as bytes.
    .section .rodata
    .global undercroft_exec_init
    .global undercroft_exec_init_end
    .balign 16
undercroft_exec_init:
    .incbin EXEC_INIT
undercroft_exec_init_end:
    .section .note.GNU-stack, "", @progbits
