// SPDX-License-Identifier: Apache-2.0
// Which frames of physical memory are free.

#pragma once

#include "machine.hpp"

namespace softtlb {

// The physical address of a frame full of zeroes: nobody may see what its last owner wrote.
u64 take_zeroed_frame();
void give_frame_back(u64 frame);

}  // namespace softtlb
