// SPDX-License-Identifier: Apache-2.0
// What comes to the kernel but TLB misses: system calls, the timer, and what processes must not do.
#include "console.hpp"
#include "descriptors.hpp"
#include "process.hpp"
#include "system_call.hpp"
#include "timer.hpp"

namespace softtlb {
namespace {

u64 print_string(u64 text, u64 size) {
    if (!is_readable(text, size)) return 0;
    for (u64 at = 0; at < size; at++) print(reinterpret_cast<const char*>(text)[at]);  // may miss the TLB
    return size;
}

enum class Next : u8 { Same, Other };

// Figure B.3, step 3: decode the trap, do what was asked for; the return from the trap comes later.
Next system_call(Process& process, TrapFrame& frame) {
    counters.system_calls++;
    switch (SystemCall{frame.rax}) {
        case SystemCall::End: end_current(); return Next::Other;
        case SystemCall::Yield: return Next::Other;
        case SystemCall::Sleep: sleep_current(frame.rdi); return Next::Other;
        case SystemCall::Print: frame.rax = print_string(frame.rdi, frame.rsi); break;
        case SystemCall::PrintNumber: print(Hex{frame.rdi}); break;
        case SystemCall::Number: frame.rax = process.number; break;
        case SystemCall::OnTrap: process.trap_return = frame.rdi; break;
        default: frame.rax = no_such_call;
    }
    return Next::Same;
}

// A process that asked for it learns what its trap was; any other has ended.
Next offence(Process& process, TrapFrame& frame) {
    if (process.trap_return == 0) {
        print_line("process ", u64{process.number}, " ends: trap ", frame.vector, " at ", Hex{frame.rip});
        end_current();
        return Next::Other;
    }
    frame.rip = process.trap_return;
    frame.rax = frame.vector << 32 | (frame.error_code & 0xffff);
    return Next::Same;
}

}  // namespace

extern "C" TrapFrame* trap(TrapFrame* frame) {
    bool from_kernel = (frame->cs & 3) == 0;
    Process& process = current();
    switch (frame->vector) {
        case vector::timer:
            end_of_interrupt();
            if (from_kernel) process.frame = frame;
            tick();
            if (!from_kernel && !use_up_tick()) end_current();
            return resume_next();
        case vector::spurious: return frame;
        default: break;
    }
    if (from_kernel)
        panic(frame->vector == vector::double_fault ? "double fault at" : "kernel trap at", frame->rip);
    if (frame != &process.saved) process.saved = *frame;  // from the miss handler's stack
    if (frame->vector == vector::system_call)
        return system_call(process, process.saved) == Next::Same ? process.frame : resume_next();
    return offence(process, process.saved) == Next::Same ? process.frame : resume_next();
}

}  // namespace softtlb
