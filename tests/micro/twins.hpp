// SPDX-License-Identifier: Apache-2.0
// The same instructions with other registers must do the same: for a translator that treats some registers
// unlike the others.
//
// TWIN(name, kinds, text) is text with operands \\a and \\b (\\ad, \\aw, \\ab: the 32-, 16- and 8-bit parts).
// It is assembled once for each pair of registers; all must give what the pair (rbx, rsi) gives: both
// operands, all other registers, flags and memory. `kinds` says what goes in: 'n' a number, 'p' a pointer to
// memory, 'i' a small index. rcx holds 3, rdx a number, rax a number, rbp a pointer, all the same for every
// pair.

#pragma once

#include "runtime/run.hpp"

namespace micro {

struct TwinVariant {
    const void* code;
    u64 Registers::*a;
    u64 Registers::*b;
};

// The first variant is the reference.
struct Twin {
    const char* name;
    const char* kinds;
    const TwinVariant* variants;
    unsigned count;
};

void compare(const Twin& twin);

}  // namespace micro

#define TWIN_TEMPLATE(name, text) \
    asm(".macro " #name "_template a, b, ad, bd, aw, bw, ab, bb\n" text "\n.endm\n")

#define R10_R11_DEFINE(name, kinds, text)                                                     \
    TWIN_TEMPLATE(name, text);                                                                \
    FRAGMENT(name##_plain, #name "_template rbx, rsi, ebx, esi, bx, si, bl, sil");            \
    FRAGMENT(name##_homed, #name "_template r10, r11, r10d, r11d, r10w, r11w, r10b, r11b");   \
    FRAGMENT(name##_swapped, #name "_template r11, r10, r11d, r10d, r11w, r10w, r11b, r10b"); \
    FRAGMENT(name##_first, #name "_template r10, rdi, r10d, edi, r10w, di, r10b, dil");       \
    FRAGMENT(name##_second, #name "_template r13, r11, r13d, r11d, r13w, r11w, r13b, r11b");

#define R10_R11_COMPARE(name, kinds, text)                                                         \
    {                                                                                              \
        static const TwinVariant variants[] = {{name##_plain, &Registers::rbx, &Registers::rsi},   \
                                               {name##_homed, &Registers::r10, &Registers::r11},   \
                                               {name##_swapped, &Registers::r11, &Registers::r10}, \
                                               {name##_first, &Registers::r10, &Registers::rdi},   \
                                               {name##_second, &Registers::r13, &Registers::r11}}; \
        compare({"r10/r11 " #name, kinds, variants, 5});                                           \
    }
