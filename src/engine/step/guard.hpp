// SPDX-License-Identifier: Apache-2.0
// Running a stub that may fault: host signals raised by the guest's instruction become exceptions of the
// guest.
//
// Floating-point instructions run under the guest's control words, so that unmasked exceptions reach us as
// SIGFPE. The handler of SIGFPE, SIGSEGV and SIGILL recognises the stub region of the run that is active on
// this thread, and resumes behind the stub; every other signal goes to the handler that was there before.

#pragma once

#include "cpu/vcpu.hpp"
#include "engine/step/instruction.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace undercroft {

enum class GuardedResult : std::uint8_t {
    Done,
    DivideError,  // the exceptions #DE, #UD, #GP, #MF, #XM
    Undefined,
    Protection,
    X87Error,
    SimdError,
};

// What run_guarded_stub (guard.cpp) works on. Standard layout: assembly reads it.
struct GuardedRun {
    std::uint64_t host_stack = 0;
    void* xsave = nullptr;
    Vcpu* vcpu = nullptr;
    void* memory = nullptr;
    NativeStub stub = nullptr;
    std::uint32_t x87 = 0;  // one: load and store x87 state around the stub
    std::uint32_t host_mxcsr = 0x1f80;
    // Not for assembly.
    const std::byte* region = nullptr;
    std::size_t region_size = 0;
    GuardedResult result = GuardedResult::Done;
};

// Installs the handlers; once per process, any number of calls.
void install_guard();

// Runs `stub(vcpu, memory)`, which lies in `region`. With `x87` the x87 and MMX state of vcpu.xsave is the
// host's meanwhile.
GuardedResult run_guarded(Vcpu& vcpu, NativeStub stub, void* memory, bool x87,
                          std::span<const std::byte> region);

}  // namespace undercroft
