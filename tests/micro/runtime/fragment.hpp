// SPDX-License-Identifier: Apache-2.0
// Code under test, written out instruction by instruction.
//
// FRAGMENT(name, "...") assembles Intel-syntax text as `name`, followed by the INT that run() takes as its
// end. AT inside the text marks an instruction of interest, visible as `name_at` (the fragment's start
// without AT).

#pragma once

#include "runtime/cpu.hpp"

namespace micro {

inline constexpr u64 done_vector = 0x81;  // the INT at a fragment's end

}  // namespace micro

#define AT "771:\n"

#define FRAGMENT(name, ...)                                                                               \
    extern "C" char name[];                                                                               \
    extern "C" char name##_at[];                                                                          \
    asm(".pushsection .fragments,\"awx\",@progbits\n.balign 64\n.globl " #name "\n.globl " #name          \
        "_at\n"                                                                                           \
        "771:\n" #name ":\n.intel_syntax noprefix\n" __VA_ARGS__ "\n.att_syntax\n int $0x81\n.set " #name \
        "_at, 771b\n.popsection\n")
