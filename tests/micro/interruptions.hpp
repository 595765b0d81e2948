// SPDX-License-Identifier: Apache-2.0
// Timer interrupts all the time, for code that should notice nothing.

#pragma once

namespace micro {

// A periodic timer whose handler does nothing but end its interrupt. False where there is none to be had (the
// host).
bool start_interruptions();
unsigned interruptions();

}  // namespace micro
