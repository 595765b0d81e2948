// SPDX-License-Identifier: Apache-2.0
#include "virtual_processor.hpp"

#include "machine/engine_choice.hpp"

#include <fmt/core.h>

#include <mutex>
#include <optional>
#include <utility>

namespace undercroft {
namespace {

using SteadyClock = std::chrono::steady_clock;

// A vCPU with its number, which its connections ask for.
std::unique_ptr<Vcpu> make_vcpu(unsigned index) {
    auto vcpu = std::make_unique<Vcpu>();
    vcpu->index = vcpu->apic_id = index;
    return vcpu;
}

}  // namespace

VirtualProcessor::VirtualProcessor(unsigned index, const Parts& parts, Alarm alarm)
    : scheduler_{parts.scheduler},
      has_ended_{parts.has_ended},
      failed_{parts.failed},
      exchange_{parts.exchange},
      board_{parts.board},
      console_{parts.console},
      vcpu_{make_vcpu(index)},
      code_pages_{parts.memory.page_limit(), parts.exchange, index},
      alarm_{std::move(alarm)},
      clock_{parts.clock},
      timer_{parts.board.local_apic(index), parts.clock, alarm_},
      environment_{*vcpu_, parts.board, parts.console.output(), parts.clock, parts.shared},
      mmu_{parts.memory, code_pages_, environment_, vcpu_->paging, vcpu_->tlb} {
    if (exchange_ != nullptr)
        exchange_->rendezvous().join(index, vcpu_->attention, Attention::Notice, &vcpu_->elsewhere);
    vcpu_->mmu = &mmu_;
    vcpu_->environment = &environment_;
    vcpu_->cpuid = &parts.cpuid;
    mmu_.flush_all();
    if (!parts.trace.none()) {
        trace_ = std::make_unique<TraceRing>(parts.trace,
                                             TraceRing::Source{vcpu_->rip, vcpu_->paging.cr3, vcpu_->cpl});
        vcpu_->trace = trace_.get();
        mmu_.set_trace(trace_.get());
    }
    if (index == 0) return;  // the boot processor starts as the loader says
    reset(*vcpu_);
    vcpu_->activity = Activity::WaitForSipi;
}

Result<void> VirtualProcessor::make_engine(const EngineChoice& choice) {
    auto made = undercroft::make_engine(choice, *vcpu_);
    if (!made) return made.error();
    engine_ = *std::move(made);
    return {};
}

Exit VirtualProcessor::execute() {
    if (exchange_ != nullptr) exchange_->rendezvous().enter(vcpu_->index);
    Exit exit = engine_->run(*vcpu_);
    exits_.store(exits_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (exchange_ != nullptr) exchange_->rendezvous().leave(vcpu_->index);
    return exit;
}

void VirtualProcessor::record_turn(TraceKind kind, TurnEnd end) noexcept {
    if (trace_ == nullptr) return;
    constexpr unsigned number_bits = 0xfff;  // Linux: the node's number is above
    unsigned auxiliary = 0;
    __builtin_ia32_rdtscp(&auxiliary);
    trace_->record(kind, {.value = auxiliary & number_bits, .detail = static_cast<std::uint8_t>(end)});
}

TurnResult VirtualProcessor::run() {
    LogSubject subject{log_subject_};
    record_turn(TraceKind::TurnBegin, {});
    environment_.steal_time().turn_begins(mmu_, stolen());
    TurnResult result = take_turn();
    if (result.end == TurnEnd::Ended) return result;  // its trace and memory are being looked at
    environment_.steal_time().turn_ends(mmu_);
    record_turn(TraceKind::TurnEnd, result.end);
    return result;
}

TurnResult VirtualProcessor::take_turn() {
    if (!begin_turn()) return {TurnEnd::Waits};
    for (;;) {
        Exit exit = execute();
        switch (exit) {
            case Exit::Halt: return wait_for_work();
            case Exit::Spin: return wait_in_loop();
            case Exit::Pause: return {TurnEnd::Paused};
            case Exit::Preempt:
                if (console_.output().is_full()) return wait_for_console();
                return {TurnEnd::Preempted};
            case Exit::Stop: break;
            case Exit::Shutdown:
            case Exit::Differ:
            case Exit::Lost: failed_(exit); break;
        }
        figures_.ran = SteadyClock::now() - started_;  // before others hear of the end
        if (has_ended_(vcpu_->index)) return {TurnEnd::Ended};
    }
}

// False: it still waits for the console.
bool VirtualProcessor::begin_turn() {
    if (console_full_ && !is_ready()) return false;
    if (!waits_) return true;
    if (halted_) figures_.idle += SteadyClock::now() - waits_since_;
    std::lock_guard lock{board_.lock()};
    if (halted_) timer_.resume();
    waits_ = halted_ = console_full_ = false;
    return true;
}

bool VirtualProcessor::is_ready() const noexcept {
    std::uint32_t bits = vcpu_->attention.load(std::memory_order_relaxed) & ~Attention::Preempt;
    if (console_full_) return !console_.output().is_full() || (bits & Attention::Stop) != 0;
    return bits != 0;
}

// The guest has nothing to do: what it wrote goes out, what was typed comes in. Further processors end like
// this when the guest powers off, and wait for their start.
TurnResult VirtualProcessor::wait_for_work() {
    waits_since_ = SteadyClock::now();
    ++figures_.halts;
    if (vcpu_->interrupt_flag == 0 && vcpu_->index == 0 && !dead_reported_) {
        dead_reported_ = true;
        log(LogLevel::Warn, "the guest halted with interrupts off at rip {:#x}: nothing but an NMI wakes it",
            vcpu_->rip);
    }
    console_.output().flush();
    std::lock_guard lock{board_.lock()};
    console_.input().renew();
    board_.feed_serial();
    waits_ = halted_ = true;
    TurnResult result{TurnEnd::Waits};
    if (auto deadline = timer_.halt()) {
        std::uint64_t now = clock_.ticks();
        result.deadline = time_now() + (*deadline > now ? clock_.host_ns(*deadline - now) : 0);
    }
    return result;
}

TurnResult VirtualProcessor::wait_for_console() {
    std::lock_guard lock{board_.lock()};
    waits_ = console_full_ = true;
    return {TurnEnd::Waits};
}

// What it polls may be written by others than this vCPU: it will look again soon, without a sign, too.
TurnResult VirtualProcessor::wait_in_loop() {
    console_.output().flush();
    std::lock_guard lock{board_.lock()};
    waits_ = true;
    return {TurnEnd::Spins};
}

void VirtualProcessor::alarm_rang() {
    alarm_.acknowledge();
    std::lock_guard lock{board_.lock()};
    timer_.rang();
}

std::string VirtualProcessor::status() const {
    std::chrono::duration<double> up = SteadyClock::now() - started_;
    std::string line =
        fmt::format("up {:.1f} s, of them idle {:.1f} s, halted {} times, at rip {:#x}", up.count(),
                    std::chrono::duration<double>{figures_.idle}.count(), figures_.halts, vcpu_->rip);
    if (exchange_ != nullptr) line = fmt::format("vCPU {}: ", vcpu_->index) + line;
    return line;
}

}  // namespace undercroft
