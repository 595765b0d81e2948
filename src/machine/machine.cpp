// SPDX-License-Identifier: Apache-2.0
#include "machine.hpp"

#include "machine/engine_choice.hpp"
#include "machine/start_state.hpp"

#include <fmt/core.h>

#include <mutex>
#include <string>
#include <utility>

namespace undercroft {
namespace {
using SteadyClock = std::chrono::steady_clock;
}

Result<std::unique_ptr<Machine>> Machine::create(GuestImage image, const EngineChoice& engine,
                                                 Console& console, EventLoop& loop, const Clock& clock) {
    auto alarm = Alarm::create();
    if (!alarm) return alarm.error();
    boot::EntryState entry = image.entry;
    std::unique_ptr<Machine> machine{new Machine{std::move(image), console, loop, clock, *std::move(alarm)}};
    Vcpu& vcpu = *machine->vcpu_;
    set_start_state(vcpu, entry);
    vcpu.mmu = &machine->mmu_;
    vcpu.environment = &machine->environment_;
    vcpu.cpuid = &machine->cpuid_;
    machine->mmu_.flush_all();
    auto made = make_engine(engine, vcpu);
    if (!made) return made.error();
    machine->engine_ = *std::move(made);
    return machine;
}

Machine::Machine(GuestImage image, Console& console, EventLoop& loop, const Clock& clock, Alarm alarm)
    : console_{console},
      loop_{loop},
      clock_{clock},
      memory_{std::move(image.memory)},
      code_pages_{memory_->page_limit()},
      vcpu_{std::make_unique<Vcpu>()},
      cpuid_{clock.hz() / 1000, 1},
      alarm_{std::move(alarm)},
      board_{clock, console.output(), console.input(), board_outputs()},
      timer_{board_.local_apic(), clock, alarm_},
      halt_{*vcpu_, clock},
      environment_{*vcpu_, board_, console.output(), clock},
      mmu_{*memory_, code_pages_, environment_, vcpu_->paging, vcpu_->tlb} {
    loop_.watch(alarm_.fd(), [this] {
        alarm_.acknowledge();
        std::lock_guard lock{board_.lock()};
        timer_.rang();
    });
}

Machine::~Machine() { loop_.forget(alarm_.fd()); }

Board::Outputs Machine::board_outputs() {
    return {.attention =
                [this](std::uint32_t bits) {
                    vcpu_->request(bits);
                    halt_.wake();
                },
            .timer_changed = [this] { timer_.changed(); },
            .power_off = [this] { end(Outcome::PoweredOff); },
            .reset = [this] { end(Outcome::Reset); },
            .unclaimed_port = [this](std::uint64_t port,
                                     Access access) { environment_.report_unclaimed("port", port, access); },
            .unclaimed_memory =
                [this](std::uint64_t address, Access access) {
                    environment_.report_unclaimed("address", address, access);
                }};
}

void Machine::end(Outcome outcome) {
    if (!outcome_) outcome_ = outcome;
    vcpu_->request(Attention::Stop);
    halt_.wake();
}

void Machine::stop() {
    std::lock_guard lock{board_.lock()};
    end(Outcome::Stopped);
}

void Machine::show_status() {
    std::lock_guard lock{board_.lock()};
    status_wanted_ = true;
    vcpu_->request(Attention::Stop);
    halt_.wake();
}

void Machine::input_arrived() {
    std::lock_guard lock{board_.lock()};
    board_.feed_serial();
}

Outcome Machine::run() {
    started_ = SteadyClock::now();
    std::optional<Outcome> outcome;
    while (!outcome) {
        switch (engine_->run(*vcpu_)) {
            case Exit::Halt: halt(); break;
            case Exit::Shutdown: outcome = Outcome::TripleFault; break;
            case Exit::Differ: outcome = Outcome::EnginesDiffer; break;
            case Exit::Stop:
                if (status_wanted_.exchange(false)) print_status();
                std::lock_guard lock{board_.lock()};
                outcome = outcome_;
                break;
        }
    }
    ran_ = SteadyClock::now() - started_;
    return *outcome;
}

// The guest has nothing to do: what it wrote goes out, what was typed comes in, and then its thread sleeps.
void Machine::halt() {
    SteadyClock::time_point begin = SteadyClock::now();
    ++halts_;
    if (vcpu_->interrupt_flag == 0 && !dead_reported_) {
        dead_reported_ = true;
        log(LogLevel::Warn, "the guest halted with interrupts off at rip {:#x}: nothing but an NMI wakes it",
            vcpu_->rip);
    }
    console_.output().flush();
    std::optional<std::uint64_t> deadline;
    {
        std::lock_guard lock{board_.lock()};
        console_.input().renew();
        board_.feed_serial();
        deadline = timer_.halt();
        halt_.begin();
    }
    halt_.sleep(deadline);
    {
        std::lock_guard lock{board_.lock()};
        halt_.end();
        timer_.resume();
    }
    idle_ += SteadyClock::now() - begin;
}

void Machine::print_status() const {
    std::chrono::duration<double> up = SteadyClock::now() - started_;
    std::string line = fmt::format("up {:.1f} s, idle {:.1f} s, {} MiB resident", up.count(),
                                   std::chrono::duration<double>{idle_}.count(), resident_bytes() >> 20);
    for (const auto& [name, value] : engine_->statistics()) line += fmt::format(", {} {}", value, name);
    Console::notice(line);
}

}  // namespace undercroft
