// SPDX-License-Identifier: Apache-2.0
// Processes: each has an address space of its own, and runs until it gives way, sleeps, ends, or its time is
// up.

#pragma once

#include "machine.hpp"

namespace softtlb {

// What trap_entry (start.S) saves, and the processor before it.
struct TrapFrame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    u64 vector, error_code;
    u64 rip, cs, rflags, rsp, ss;
};
static_assert(sizeof(TrapFrame) == 22 * 8 && sizeof(TrapFrame) % 16 == 0, "start.S pushes it");

// Where things lie in every address space.
namespace user {
inline constexpr u64 code = 0x400000;
inline constexpr u64 data = 0x10000000;
inline constexpr u64 data_size = 4ull << 20;
inline constexpr u64 stack_top = 0x7ffffff00000;
inline constexpr u64 stack_size = 64ull << 10;
}  // namespace user

enum class State : u8 { None, Ready, Sleeping };

struct Process {
    alignas(16) TrapFrame saved;  // RSP0 points behind it while the process runs
    TrapFrame* frame;             // &saved; for the idle loop, on its own stack
    unsigned number;              // the page table's name for it
    unsigned asid;                // the TLB's
    State state;
    u64 wake_at;      // in timer ticks
    u64 ticks_left;   // of the processor's time, before it is ended
    u64 trap_return;  // where a process goes on that wants to know of its own traps; zero: it ends
};

inline constexpr unsigned process_count = 2;  // numbers 1 and 2; 0 is the idle loop

// With one ASID each, or one for all and a flush at each switch.
enum class Asids : u8 { One, Each };

inline constexpr u64 no_limit = ~u64{0};
void start_process(unsigned number, void (*program)(u64), u64 argument, u64 ticks);
// Until all have ended.
void run_processes(Asids asids);

Process& current();
void end_current();
// A tick of its time is over: is any left?
bool use_up_tick();
void sleep_current(u64 ticks);
// A timer tick: wakes whoever has slept enough.
void tick();
// The next one in turn; the idle loop if nobody is ready.
TrapFrame* resume_next();

// A page of the kernel's own, outside the window: the TLB gets it with the next miss.
void map_kernel_page(u64 page, u64 low);

// For the kernel to use a process's memory directly: may the process?
bool is_readable(u64 address, u64 size);

// By start.S. False: the process has no such page.
extern "C" bool tlb_miss(u64 address, u64 error_code);

// What happened since the last reset_counters().
struct Counters {
    u64 misses;        // that came to the kernel
    u64 pages_zeroed;  // among them: first touches
    u64 switches;      // from one process to another
    u64 system_calls;
    u64 timer_ticks;
    u64 idle_ticks;
};
extern Counters counters;

}  // namespace softtlb
