// SPDX-License-Identifier: Apache-2.0
// What processes are made of: programs, and their system calls.
//
// Programs are compiled into the kernel's image and run at user::code, where only they are mapped: they may
// not name anything outside this folder.

#pragma once

#include "process.hpp"
#include "system_call.hpp"

#pragma GCC visibility push(hidden)  // addressed without a table

namespace softtlb {

// Touches pages in turn and gives way after each round: rounds << 32 | pages.
void walk(u64 rounds_and_pages);
// Never gives way.
void spin(u64);
// Sleeps so many ticks, ten times.
void doze(u64 ticks);
// Tries all that a process must not do.
void attack(u64);
// Keeps a secret meanwhile.
void keep_secret(u64);

inline u64 system_call(SystemCall number, u64 first = 0, u64 second = 0) {
    u64 result = static_cast<u64>(number);
    asm volatile("int $0x80" : "+a"(result) : "D"(first), "S"(second) : "memory");
    return result;
}

[[noreturn]] inline void end() {
    for (;;) system_call(SystemCall::End);
}
inline void yield() { system_call(SystemCall::Yield); }
inline void sleep(u64 ticks) { system_call(SystemCall::Sleep, ticks); }

template <unsigned long size>
void say(const char (&text)[size]) {
    system_call(SystemCall::Print, reinterpret_cast<u64>(text), size - 1);
}

// A line that the tests count.
template <unsigned long size>
void expect(const char (&what)[size], u64 got, u64 want) {
    if (got == want)
        say("PASS ");
    else
        say("FAIL ");
    say(what);
    if (got != want) {
        say(" got ");
        system_call(SystemCall::PrintNumber, got);
    }
    say("\n");
}

}  // namespace softtlb

#pragma GCC visibility pop
