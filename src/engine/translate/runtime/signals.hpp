// SPDX-License-Identifier: Apache-2.0
// Host signals that a translated instruction raises as itself: #DE, #MF and #XM come as SIGFPE, alignment #GP
// as SIGSEGV.
//
// The handler brings the vCPU to rest before the instruction and leaves generated code; the single-step
// executor then finds the exact fault. A signal from anywhere else goes to whoever was there before, or stays
// loud.

#pragma once

namespace undercroft::translate {

class Translator;

// Once per process; any number of calls.
void install_signal_handlers();

// The translator whose code this thread runs now; null when none.
void set_running_translator(Translator* translator) noexcept;

}  // namespace undercroft::translate
