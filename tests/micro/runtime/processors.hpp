// SPDX-License-Identifier: Apache-2.0
// The other processors of the machine: starting them by INIT and start-up IPIs, and having all do something
// at once. Every processor shares the handlers that set_handler() installs; run() is for processor 0.

#pragma once

#include "runtime/apic.hpp"
#include "runtime/run.hpp"

namespace micro {

inline constexpr unsigned processor_limit = 8;
inline constexpr u64 trampoline_page = 0x70;
inline constexpr u32 assert_level = 1u << 14;
inline constexpr u32 delivery_init = 5u << 8;
inline constexpr u32 delivery_start_up = 6u << 8;
inline constexpr u32 destination_logical = 1u << 11;
inline constexpr u32 shorthand_all = 2u << 18;
inline constexpr u32 shorthand_others = 3u << 18;

// Writes the interrupt command register, in either mode.
void send_ipi(u32 destination, u32 command);

// Starts processor `apic_id`, which runs `work(index)` with interrupts off and then halts for good. Its index
// is the next one, from 1 on: the order of starts. False if it does not come up.
bool start_processor(u32 apic_id, void (*work)(unsigned index));
// The INIT and start-up IPI alone.
void send_init(u32 apic_id);
void send_start_up(u32 apic_id, u64 page);

unsigned this_processor();  // its index
unsigned processors_up();   // processor 0 among them

// Runs `work(index)` on processor 0 and on 1 … count - 1, which serve_work() must be running on, at the same
// time, and waits for all. False: some do not finish.
bool on_all(unsigned count, void (*work)(unsigned index));
void serve_work(unsigned index);  // for start_processor(): never returns; interrupts on

}  // namespace micro
