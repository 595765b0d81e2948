// SPDX-License-Identifier: Apache-2.0
#include "machine.hpp"

#include "machine/start_state.hpp"

#include <sched.h>

#include <mutex>
#include <utility>

namespace undercroft {
namespace {

// Processors of the host that this process may use.
unsigned host_processors() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return static_cast<unsigned>(CPU_COUNT(&set));
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::create(GuestImage image, const EngineChoice& engine,
                                                 unsigned processors, const Disks& disks, Console& console,
                                                 EventLoop& loop, const Clock& clock) {
    std::vector<Alarm> alarms;
    for (unsigned n = 0; n < processors; ++n) {
        auto alarm = Alarm::create();
        if (!alarm) return alarm.error();
        alarms.push_back(*std::move(alarm));
    }
    boot::EntryState entry = image.entry;
    std::unique_ptr<Machine> machine{new Machine{std::move(image), processors, disks, console, loop, clock}};
    bool crowded = processors > host_processors();
    VirtualProcessor::Parts parts{.memory = *machine->memory_,
                                  .exchange = machine->exchange_.get(),
                                  .board = machine->board_,
                                  .console = console,
                                  .clock = clock,
                                  .cpuid = machine->cpuid_,
                                  .shared = machine->shared_};
    for (unsigned n = 0; n < processors; ++n) {
        machine->processors_.push_back(std::make_unique<VirtualProcessor>(n, parts, std::move(alarms[n])));
        VirtualProcessor& processor = *machine->processors_.back();
        if (n == 0) set_start_state(processor.vcpu(), entry);
        auto made = processor.make_engine(engine, crowded);
        if (!made) return made.error();
        loop.watch(processor.alarm_fd(), [&processor] { processor.alarm_rang(); });
    }
    for (unsigned slot = 0; slot < disks.size(); ++slot)
        machine->disks_.push_back(
            std::make_unique<DiskDevice>(slot, *disks[slot], machine->dma_memory_, machine->board_));
    return machine;
}

Machine::Machine(GuestImage image, unsigned processors, const Disks& disks, Console& console, EventLoop& loop,
                 const Clock& clock)
    : loop_{loop},
      clock_{clock},
      memory_{std::move(image.memory)},
      exchange_{processors > 1 || !disks.empty() ? std::make_unique<CodeExchange>(memory_->page_limit())
                                                 : nullptr},
      dma_memory_{*memory_,
                  [this](GuestPhysical address, std::uint64_t length) {
                      if (exchange_) exchange_->device_wrote(address, length);
                  }},
      cpuid_{clock.hz() / 1000, processors},
      board_{clock, console.output(), console.input(), board_outputs(), processors},
      shared_{clock} {}

Machine::~Machine() {
    for (const auto& processor : processors_) loop_.forget(processor->alarm_fd());
}

Board::Outputs Machine::board_outputs() {
    auto report = [this](std::string_view space) {
        return [this, space](std::uint64_t address, Access access) {
            processors_[board_.accessor()]->report_unclaimed(space, address, access);
        };
    };
    return {.attention = [this](unsigned processor,
                                std::uint32_t bits) { processors_[processor]->request(bits); },
            .timer_changed = [this](unsigned processor) { processors_[processor]->timer_changed(); },
            .nmi = [this](unsigned processor) { processors_[processor]->nmi(); },
            .init = [this](unsigned processor) { processors_[processor]->init(); },
            .start_up = [this](unsigned processor,
                               std::uint8_t vector) { processors_[processor]->start_up(vector); },
            .power_off = [this] { end(Outcome::PoweredOff); },
            .reset = [this] { end(Outcome::Reset); },
            .unclaimed_port = report("port"),
            .unclaimed_memory = report("address")};
}

void Machine::end(Outcome outcome) {
    if (!outcome_) outcome_ = outcome;
    interrupt_all();
}

void Machine::interrupt_all() {
    for (const auto& processor : processors_) processor->request(Attention::Stop);
    wake_.notify_all();
}

void Machine::stop() {
    std::lock_guard lock{board_.lock()};
    end(Outcome::Stopped);
}

void Machine::show_status() {
    std::lock_guard lock{board_.lock()};
    for (unsigned n = 0; n < processors(); ++n) status_wanted_ |= 1ull << n;
    interrupt_all();
}

void Machine::pause() {
    std::lock_guard lock{board_.lock()};
    paused_ = true;
    interrupt_all();
}

void Machine::resume() {
    std::lock_guard lock{board_.lock()};
    paused_ = false;
    wake_.notify_all();
}

bool Machine::is_at_rest() {
    std::lock_guard lock{board_.lock()};
    return at_rest_ == processors();
}

void Machine::input_arrived() {
    std::lock_guard lock{board_.lock()};
    board_.feed_serial();
}

bool Machine::has_ended(unsigned processor) {
    std::uint64_t bit = 1ull << processor;
    std::unique_lock lock{board_.lock()};
    for (;;) {
        if ((status_wanted_ & bit) != 0) {
            status_wanted_ &= ~bit;
            lock.unlock();
            Console::notice(processors_[processor]->status());
            lock.lock();
        } else if (outcome_ || !paused_) {
            return outcome_.has_value();
        } else {
            ++at_rest_;
            wake_.wait(lock);
            --at_rest_;
        }
    }
}

void Machine::run(unsigned processor) {
    VirtualProcessor& it = *processors_[processor];
    auto failed = [this](Outcome outcome) {
        std::lock_guard lock{board_.lock()};
        end(outcome);
    };
    bool ended = has_ended(processor);
    while (!ended) {
        switch (it.execute()) {
            case Exit::Halt: it.halt(); continue;
            case Exit::Shutdown: failed(Outcome::TripleFault); break;
            case Exit::Differ: failed(Outcome::EnginesDiffer); break;
            case Exit::Stop: break;
        }
        ended = has_ended(processor);
    }
    it.finish();
    std::lock_guard lock{board_.lock()};
    ++at_rest_;
}

std::string Machine::engine_failure() const {
    for (const auto& processor : processors_) {
        if (auto failure = processor->engine().failure(); !failure.empty()) return failure;
    }
    return {};
}

}  // namespace undercroft
