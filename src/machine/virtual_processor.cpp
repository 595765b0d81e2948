// SPDX-License-Identifier: Apache-2.0
#include "virtual_processor.hpp"

#include "machine/engine_choice.hpp"
#include "machine/statistics.hpp"

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
    : exchange_{parts.exchange},
      board_{parts.board},
      console_{parts.console},
      vcpu_{make_vcpu(index)},
      code_pages_{parts.memory.page_limit(), parts.exchange, index},
      alarm_{std::move(alarm)},
      timer_{parts.board.local_apic(index), parts.clock, alarm_},
      halt_{*vcpu_, parts.clock},
      environment_{*vcpu_, parts.board, parts.console.output(), parts.clock, parts.shared},
      mmu_{parts.memory, code_pages_, environment_, vcpu_->paging, vcpu_->tlb} {
    if (exchange_ != nullptr) exchange_->rendezvous().join(index, vcpu_->attention, Attention::Notice);
    vcpu_->mmu = &mmu_;
    vcpu_->environment = &environment_;
    vcpu_->cpuid = &parts.cpuid;
    mmu_.flush_all();
    if (index == 0) return;  // the boot processor starts as the loader says
    reset(*vcpu_);
    vcpu_->activity = Activity::WaitForSipi;
}

Result<void> VirtualProcessor::make_engine(const EngineChoice& choice, bool yields_in_spins) {
    auto made = undercroft::make_engine(choice, *vcpu_, yields_in_spins);
    if (!made) return made.error();
    engine_ = *std::move(made);
    return {};
}

Exit VirtualProcessor::execute() {
    if (exchange_ != nullptr) exchange_->rendezvous().enter(vcpu_->index);
    Exit exit = engine_->run(*vcpu_);
    if (exchange_ != nullptr) exchange_->rendezvous().leave(vcpu_->index);
    return exit;
}

// Further processors end like this when the guest powers off, and wait for their start.
void VirtualProcessor::halt() {
    SteadyClock::time_point begin = SteadyClock::now();
    ++figures_.halts;
    if (vcpu_->interrupt_flag == 0 && vcpu_->index == 0 && !dead_reported_) {
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
    figures_.idle += SteadyClock::now() - begin;
}

void VirtualProcessor::alarm_rang() {
    alarm_.acknowledge();
    std::lock_guard lock{board_.lock()};
    timer_.rang();
}

std::string VirtualProcessor::status() const {
    std::chrono::duration<double> up = SteadyClock::now() - started_;
    std::string line =
        fmt::format("up {:.1f} s, idle {:.1f} s, {} MiB resident", up.count(),
                    std::chrono::duration<double>{figures_.idle}.count(), resident_bytes() >> 20);
    if (exchange_ != nullptr) line = fmt::format("vCPU {}: ", vcpu_->index) + line;
    for (const auto& [name, value] : engine_->statistics()) line += fmt::format(", {} {}", value, name);
    return line;
}

}  // namespace undercroft
