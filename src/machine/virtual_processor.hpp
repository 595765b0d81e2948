// SPDX-License-Identifier: Apache-2.0
// VirtualProcessor: one vCPU of a machine with all that belongs to it alone: its state, MMU, engine, timer,
// and how its thread sleeps.
//
// execute() and halt() are called by one thread, which today is the vCPU's own. Members that say so are
// called under the board's lock; the rest is for before and after the run.

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
#include "machine/timer_watch.hpp"
#include "memory/guest_memory.hpp"
#include "mmu/code_exchange.hpp"
#include "mmu/code_pages.hpp"
#include "mmu/mmu.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

namespace undercroft {

class VirtualProcessor {
public:
    // All of them outlive it. Without an exchange the machine has one vCPU.
    struct Parts {
        GuestMemory& memory;
        CodeExchange* exchange;
        Board& board;
        Console& console;
        const Clock& clock;
        const CpuidTable& cpuid;
        MachineEnvironment::Shared& shared;
    };

    VirtualProcessor(unsigned index, const Parts& parts, Alarm alarm);
    VirtualProcessor(const VirtualProcessor&) = delete;
    VirtualProcessor& operator=(const VirtualProcessor&) = delete;

    Vcpu& vcpu() { return *vcpu_; }
    int alarm_fd() const { return alarm_.fd(); }
    // When the vCPU is in its start state.
    Result<void> make_engine(const EngineChoice& choice, bool yields_in_spins);

    // Guest code, until the engine has something to say.
    Exit execute();
    // The guest has nothing to do: what it wrote goes out, what was typed comes in, and then the thread
    // sleeps.
    void halt();
    std::string status() const;  // a line; by the thread that executes

    // Under the board's lock.
    void request(std::uint32_t attention) {
        vcpu_->request(attention);
        halt_.wake();
    }
    void nmi() {
        request_nmi(*vcpu_);
        halt_.wake();
    }
    void init() {
        request_init(*vcpu_);
        halt_.wake();
    }
    void start_up(std::uint8_t vector) {
        request_start_up(*vcpu_, vector);
        halt_.wake();
    }
    void timer_changed() noexcept { timer_.changed(); }
    void alarm_rang();  // takes the lock by itself
    void report_unclaimed(std::string_view space, std::uint64_t address, Access access) {
        environment_.report_unclaimed(space, address, access);
    }

    // Afterwards.
    struct Figures {
        std::chrono::nanoseconds ran{};   // from start to end
        std::chrono::nanoseconds idle{};  // of them, halted
        std::uint64_t halts = 0;
    };
    void finish() { figures_.ran = std::chrono::steady_clock::now() - started_; }
    const Figures& figures() const { return figures_; }
    const Engine& engine() const { return *engine_; }
    const MmuStatistics& mmu_statistics() const { return mmu_.statistics(); }
    const MachineEnvironment::Statistics& device_statistics() const { return environment_.statistics(); }
    const TrapCounts& traps() const { return vcpu_->traps; }

private:
    CodeExchange* exchange_;
    Board& board_;
    Console& console_;
    std::unique_ptr<Vcpu> vcpu_;
    CodePages code_pages_;
    Alarm alarm_;
    TimerWatch timer_;  // under the board's lock, like the next
    Halt halt_;
    MachineEnvironment environment_;
    Mmu mmu_;
    std::unique_ptr<Engine> engine_;

    std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    Figures figures_;
    bool dead_reported_ = false;
};

}  // namespace undercroft
