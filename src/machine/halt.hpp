// SPDX-License-Identifier: Apache-2.0
// Halt: how a vCPU's thread sleeps while the guest is halted, and how others wake it.
//
// It sleeps in a futex on the attention word itself, so a wake-up is one host call, made only when it sleeps.
// sleeping_ is set and looked at under the machine's lock; whoever sets attention bits under that lock calls
// wake() under it.

#pragma once

#include "base/clock.hpp"
#include "cpu/vcpu.hpp"

#include <cstdint>
#include <optional>

namespace undercroft {

class Halt {
public:
    Halt(Vcpu& vcpu, const Clock& clock) : vcpu_{vcpu}, clock_{clock} {}

    void begin() noexcept { sleeping_ = true; }
    void end() noexcept { sleeping_ = false; }
    void wake() noexcept;  // another thread, after Vcpu::request()

    // Without the lock, between begin() and end(). Returns when the attention word is not zero or the clock
    // shows `deadline`; may return early.
    void sleep(std::optional<std::uint64_t> deadline) noexcept;

private:
    Vcpu& vcpu_;
    const Clock& clock_;
    bool sleeping_ = false;
};

// For a vCPU's thread: the host shall not round the ends of its sleeps up (by 50 us).
void ask_for_precise_sleep() noexcept;

}  // namespace undercroft
