// SPDX-License-Identifier: Apache-2.0
// The program of a guest process (program.S), as bytes.
    .section .rodata
    .global undercroft_direct_program
    .global undercroft_direct_program_end
    .balign 16
undercroft_direct_program:
    .incbin DIRECT_PROGRAM
undercroft_direct_program_end:
    .section .note.GNU-stack, "", @progbits
