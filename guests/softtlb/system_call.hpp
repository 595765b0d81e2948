// SPDX-License-Identifier: Apache-2.0
// System calls, as processes and the kernel know them: `int 80h` with the number in RAX, arguments in RDI and
// RSI.

#pragma once

#include "machine.hpp"

namespace softtlb {

enum class SystemCall : u64 {
    End,          // the process
    Yield,        // let others run
    Sleep,        // RDI: timer ticks
    Print,        // RDI: text, RSI: bytes. RAX: how many were printed
    PrintNumber,  // RDI
    Number,       // of this process, in RAX
    OnTrap,       // RDI: go on there after a trap of one's own, RAX = vector << 32 | error code
};
inline constexpr u64 no_such_call = ~u64{0};  // RAX

}  // namespace softtlb
