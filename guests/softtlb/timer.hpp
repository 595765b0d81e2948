// SPDX-License-Identifier: Apache-2.0
// The local APIC's timer: a tick from time to time.

#pragma once

#include "machine.hpp"

namespace softtlb {

void start_timer(u64 ticks_per_second);
void stop_timer();
void end_of_interrupt();

}  // namespace softtlb
