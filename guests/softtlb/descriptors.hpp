// SPDX-License-Identifier: Apache-2.0
// The tables that the processor reads by itself: segments, the task's stacks, the vectors. All lie in the
// window.

#pragma once

#include "machine.hpp"

namespace softtlb {

namespace selector {
inline constexpr u16 kernel_code = 0x08;
inline constexpr u16 kernel_data = 0x10;
inline constexpr u16 user_data = 0x1b;
inline constexpr u16 user_code = 0x23;
inline constexpr u16 task = 0x28;
}  // namespace selector

namespace vector {
inline constexpr unsigned double_fault = 8;
inline constexpr unsigned page_fault = 14;
inline constexpr unsigned timer = 0x20;
inline constexpr unsigned system_call = 0x80;  // B.3's `int 80h`
inline constexpr unsigned spurious = 0xff;
}  // namespace vector

void load_descriptors();
// Where a trap from a process saves its state: below `end`.
void set_process_stack(void* end);

}  // namespace softtlb
