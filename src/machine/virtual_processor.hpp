// SPDX-License-Identifier: Apache-2.0
// VirtualProcessor: one vCPU of a machine with all that belongs to it alone: its state, MMU, engine, timer;
// and what the scheduler sees of it.
//
// run() is called by the scheduler, turn after turn, on whichever processor. Members that say so are called
// under the board's lock, which comes before the scheduler's; the rest is for before and after the run.

#pragma once

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "cpu/cpuid.hpp"
#include "cpu/vcpu.hpp"
#include "engine/engine.hpp"
#include "machine/board.hpp"
#include "machine/console.hpp"
#include "machine/environment.hpp"
#include "machine/event_loop.hpp"
#include "machine/guest_image.hpp"
#include "machine/timer_watch.hpp"
#include "memory/guest_memory.hpp"
#include "mmu/code_exchange.hpp"
#include "mmu/code_pages.hpp"
#include "mmu/mmu.hpp"
#include "schedule/scheduler.hpp"
#include "trace/ring.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace undercroft {

class VirtualProcessor final : public Task {
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
        Scheduler& scheduler;
        TraceKinds trace;
        // By the thread that executes, without the board's lock: the vCPU was asked to stop; has the guest
        // ended?
        std::function<bool(unsigned index)> has_ended;
        // The same: the guest ends, as the engine says.
        std::function<void(Exit)> failed;
    };

    VirtualProcessor(unsigned index, const Parts& parts, Alarm alarm);
    VirtualProcessor(const VirtualProcessor&) = delete;
    VirtualProcessor& operator=(const VirtualProcessor&) = delete;

    Vcpu& vcpu() { return *vcpu_; }
    const CodePages& code_pages() const { return code_pages_; }
    int alarm_fd() const { return alarm_.fd(); }
    // When the vCPU is in its start state.
    Result<void> make_engine(const EngineChoice& choice);

    // Guest code, until the guest has nothing to do, or another vCPU is to have the processor.
    TurnResult run() override;
    void preempt() noexcept override { vcpu_->request(Attention::Preempt); }
    void forget_preempt() noexcept override {
        vcpu_->attention.fetch_and(~Attention::Preempt, std::memory_order_relaxed);
    }
    bool is_ready() const noexcept override;
    std::string status() const;  // a line; while it does not execute, or by the thread that does
    // Accesses to devices, and times that the engine had something to say. Any thread.
    std::uint64_t exits() const { return environment_.accesses() + exits_.load(std::memory_order_relaxed); }

    const AddressSpaces& address_spaces() const { return vcpu_->address_spaces; }  // any thread

    // While it does not execute, by whoever sees to that.
    void forget_frames() noexcept { mmu_.forget_frames(); }

    // Under the board's lock.
    void request(std::uint32_t attention) {
        vcpu_->request(attention);
        wake();
    }
    void nmi() {
        request_nmi(*vcpu_);
        wake();
    }
    void init() {
        request_init(*vcpu_);
        wake();
    }
    void start_up(std::uint8_t vector) {
        request_start_up(*vcpu_, vector);
        wake();
    }
    // It waits for nothing but a sign.
    void wake() noexcept {
        if (waits_) scheduler_.wake(*this);
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
    const Figures& figures() const { return figures_; }
    const Engine& engine() const { return *engine_; }
    const MmuStatistics& mmu_statistics() const { return mmu_.statistics(); }
    const MachineEnvironment::Statistics& device_statistics() const { return environment_.statistics(); }
    std::uint64_t flushes_for_others() const { return environment_.steal_time().flushes(); }
    const TrapCounts& traps() const { return vcpu_->traps; }
    const TraceRing* trace() const { return trace_.get(); }  // null: none is kept

private:
    TurnResult take_turn();
    void record_turn(TraceKind kind, TurnEnd end) noexcept;
    Exit execute();
    bool begin_turn();
    TurnResult wait_for_work();
    TurnResult wait_for_console();
    TurnResult wait_in_loop();

    std::string_view log_subject_ = LogSubject::current();  // of its turns, too
    Scheduler& scheduler_;
    std::function<bool(unsigned)> has_ended_;
    std::function<void(Exit)> failed_;
    CodeExchange* exchange_;
    Board& board_;
    Console& console_;
    std::unique_ptr<Vcpu> vcpu_;
    CodePages code_pages_;
    Alarm alarm_;
    const Clock& clock_;
    TimerWatch timer_;     // under the board's lock, like the next
    bool waits_ = false;   // wake() has to tell the scheduler
    bool halted_ = false;  // the thread that executes: since its last turn, like the next
    bool console_full_ = false;
    MachineEnvironment environment_;
    Mmu mmu_;
    std::unique_ptr<TraceRing> trace_;
    std::unique_ptr<Engine> engine_;

    std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    Figures figures_;
    std::chrono::steady_clock::time_point waits_since_;
    std::atomic<std::uint64_t> exits_{0};  // written by the thread that executes
    bool dead_reported_ = false;
};

}  // namespace undercroft
