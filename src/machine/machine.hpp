// SPDX-License-Identifier: Apache-2.0
// Machine: one guest from power-on to its end: processor, memory, devices and the engine that runs it.
//
// run() is called once, on a thread of its own (see lifecycle.hpp), and returns when the guest has ended.
// Meanwhile other threads may call stop(), show_status() and input_arrived(); the rest is for before and
// after.

#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "cpu/cpuid.hpp"
#include "cpu/vcpu.hpp"
#include "engine/engine.hpp"
#include "machine/board.hpp"
#include "machine/console.hpp"
#include "machine/environment.hpp"
#include "machine/event_loop.hpp"
#include "machine/guest_image.hpp"
#include "machine/halt.hpp"
#include "machine/statistics.hpp"
#include "machine/timer_watch.hpp"
#include "memory/guest_memory.hpp"
#include "mmu/code_pages.hpp"
#include "mmu/mmu.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>

namespace undercroft {

enum class Outcome : std::uint8_t { PoweredOff, Reset, TripleFault, Stopped, EnginesDiffer };

class Machine {
public:
    // All references outlive the machine.
    static Result<std::unique_ptr<Machine>> create(GuestImage image, const EngineChoice& engine,
                                                   Console& console, EventLoop& loop, const Clock& clock);
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;
    ~Machine();

    Outcome run();

    void stop();           // run() returns Stopped soon
    void show_status();    // prints a line on the console's side
    void input_arrived();  // the console has something for the guest

    // After run().
    Statistics statistics() const;
    std::string engine_failure() const { return engine_->failure(); }  // of Outcome::EnginesDiffer

private:
    Machine(GuestImage image, Console& console, EventLoop& loop, const Clock& clock, Alarm alarm);

    Board::Outputs board_outputs();
    void end(Outcome outcome);  // under the lock
    void halt();
    void print_status() const;

    Console& console_;
    EventLoop& loop_;
    const Clock& clock_;
    std::unique_ptr<GuestMemory> memory_;
    CodePages code_pages_;
    std::unique_ptr<Vcpu> vcpu_;
    CpuidTable cpuid_;
    Alarm alarm_;
    Board board_;
    TimerWatch timer_;  // under the board's lock, like the next
    Halt halt_;
    MachineEnvironment environment_;
    Mmu mmu_;
    std::unique_ptr<Engine> engine_;

    std::atomic<bool> status_wanted_{false};
    std::optional<Outcome> outcome_;  // under the board's lock: the first one counts
    std::chrono::steady_clock::time_point started_;
    std::chrono::nanoseconds ran_{};   // from start to end; vCPU's thread, like the next
    std::chrono::nanoseconds idle_{};  // of them, halted
    std::uint64_t halts_ = 0;
    bool dead_reported_ = false;
};

}  // namespace undercroft
