// SPDX-License-Identifier: Apache-2.0
#include "machine.hpp"

#include "machine/start_state.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <mutex>
#include <utility>

namespace undercroft {
Result<std::unique_ptr<Machine>> Machine::create(GuestImage image, const EngineChoice& engine,
                                                 unsigned processors, ShareOptions share,
                                                 const Ground& ground) {
    std::vector<Alarm> alarms;
    for (unsigned n = 0; n < processors; ++n) {
        auto alarm = Alarm::create();
        if (!alarm) return alarm.error();
        alarms.push_back(*std::move(alarm));
    }
    boot::EntryState entry = image.entry;
    std::unique_ptr<Machine> machine{new Machine{std::move(image), processors, share, ground}};
    VirtualProcessor::Parts parts{.memory = *machine->memory_,
                                  .exchange = machine->exchange_.get(),
                                  .board = machine->board_,
                                  .console = ground.console,
                                  .clock = ground.clock,
                                  .cpuid = machine->cpuid_,
                                  .shared = machine->shared_,
                                  .scheduler = ground.scheduler,
                                  .trace = ground.trace,
                                  .has_ended = [it = machine.get()](unsigned n) { return it->has_ended(n); },
                                  .failed = [it = machine.get()](Exit exit) { it->failed(exit); }};
    for (unsigned n = 0; n < processors; ++n) {
        machine->processors_.push_back(std::make_unique<VirtualProcessor>(n, parts, std::move(alarms[n])));
        VirtualProcessor& processor = *machine->processors_.back();
        if (n == 0) set_start_state(processor.vcpu(), entry);
        auto made = processor.make_engine(engine);
        if (!made) return made.error();
        ground.scheduler.add(processor, machine->share_);
        ground.loop.watch(processor.alarm_fd(), [&processor] { processor.alarm_rang(); });
    }
    if (auto added = machine->add_devices(ground); !added) return added.error();
    return machine;
}

Machine::Machine(GuestImage image, unsigned processors, ShareOptions share, const Ground& ground)
    : loop_{ground.loop},
      clock_{ground.clock},
      console_{ground.console},
      scheduler_{ground.scheduler},
      keepers_{ground.keepers},
      share_{share},
      memory_{std::move(image.memory)},
      exchange_{processors > 1 || !ground.disks.empty() || !ground.networks.empty() ||
                        !ground.folders.empty() || !ground.console_ports.empty() || ground.balloon ||
                        ground.entropy || ground.vsock != nullptr
                    ? std::make_unique<CodeExchange>(memory_->page_limit())
                    : nullptr},
      dma_memory_{*memory_,
                  [this](GuestPhysical address, std::uint64_t length) {
                      if (exchange_) exchange_->device_wrote(address, length);
                  }},
      cpuid_{clock_.hz() / 1000, processors, ground.paravirtual},
      board_{clock_, console_.output(), console_.input(), board_outputs(), processors},
      shared_{clock_, ground.paravirtual} {
    console_.output().on_room([this] {
        std::lock_guard lock{board_.lock()};
        for (const auto& processor : processors_) processor->wake();
    });
}

Result<void> Machine::add_devices(const Ground& ground) {
    unsigned slot = 0;
    for (const auto& disk : ground.disks) {
        disks_.push_back(std::make_unique<ServedDevice<VirtioBlock>>(
            slot, fmt::format("disk '{}'", disk->name()), dma_memory_, board_, *disk, dma_memory_,
            board_.lock(), fmt::format("undercroft-{}", slot), processors()));
        ++slot;
    }
    for (const Folder& folder : ground.folders) {
        folders_.push_back(std::make_unique<ServedDevice<VirtioFileSystem>>(
            slot++, fmt::format("share '{}'", folder.server->path()), dma_memory_, board_, *folder.server,
            dma_memory_, board_.lock(), folder.tag));
    }
    if (!ground.console_ports.empty()) {
        console_ports_ = std::make_unique<ServedDevice<VirtioConsole>>(
            slot++, "console", dma_memory_, board_, ground.console_ports, dma_memory_, board_.lock());
    }
    if (ground.balloon) {
        BalloonMemory& pages = *this;
        balloon_ = std::make_unique<ServedDevice<VirtioBalloon>>(slot++, "balloon", dma_memory_, board_,
                                                                 pages, dma_memory_, board_.lock());
    }
    for (const NetConnection& network : ground.networks) {
        auto bell = Doorbell::create();
        if (!bell) return bell.error();
        networks_.push_back(std::make_unique<PolledDevice<VirtioNet>>(
            slot++, fmt::format("network '{}'", network.backend->name()), *std::move(bell), dma_memory_,
            board_, *network.backend, network.address, dma_memory_, board_.lock()));
    }
    if (ground.entropy) {
        entropy_ = std::make_unique<ServedDevice<VirtioEntropy>>(slot++, "entropy", dma_memory_, board_,
                                                                 dma_memory_, board_.lock());
    }
    if (ground.vsock != nullptr) {
        auto bell = Doorbell::create();
        if (!bell) return bell.error();
        vsock_ = std::make_unique<PolledDevice<VirtioVsock>>(
            slot++, fmt::format("vsock '{}'", ground.vsock->path()), *std::move(bell), dma_memory_, board_,
            *ground.vsock, dma_memory_, board_.lock());
    }
    return {};
}

Machine::~Machine() {
    keepers_.remove(*this);
    for (const auto& processor : processors_) {
        scheduler_.remove(*processor);
        loop_.forget(processor->alarm_fd());
    }
    console_.output().on_room([] {});
}

void Machine::start(std::function<void()> on_end) {
    on_end_ = std::move(on_end);
    running_ = processors();
    keepers_.add(*this);
    for (const auto& processor : processors_) scheduler_.wake(*processor);
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
}

void Machine::stop() {
    {
        std::lock_guard lock{board_.lock()};
        end(Outcome::Stopped);
    }
    keepers_.remove(*this);  // it may be held, for want of room
    resume();
}

void Machine::show_status(std::string whose) {
    std::lock_guard pausing{pausing_};
    if (paused_) {
        for (const auto& processor : processors_) Console::notice(whose + processor->status());
        return;
    }
    std::lock_guard lock{board_.lock()};
    status_prefix_ = std::move(whose);
    for (unsigned n = 0; n < processors(); ++n) status_wanted_ |= 1ull << n;
    interrupt_all();
}

void Machine::pause() {
    std::lock_guard pausing{pausing_};
    if (!std::exchange(paused_, true)) scheduler_.hold(share_);
}

void Machine::resume() {
    std::lock_guard pausing{pausing_};
    if (std::exchange(paused_, false)) scheduler_.release(share_);
}

// Not for long: a vCPU may be waiting for who asks.
bool Machine::hold() {
    constexpr Nanoseconds patience = 5'000'000;
    if (!scheduler_.hold(share_, patience)) return false;
    if (!memory_->requests().try_close()) {
        scheduler_.release(share_);
        return false;
    }
    for (const auto& processor : processors_) processor->forget_frames();
    return true;
}

void Machine::release() {
    memory_->requests().open();
    scheduler_.release(share_);
}

// Pages with code stay: nobody would tell those who have translated it.
bool Machine::give_up(std::span<const PageRange> pages, GivenUp how) {
    given_up_.clear();
    if (!hold()) return false;
    const CodePages& code = processors_.front()->code_pages();
    for (const PageRange& range : pages) {
        std::uint64_t limit = memory_->page_limit();
        std::uint64_t end = range.pfn + std::min(range.count, limit);
        for (std::uint64_t pfn = range.pfn; pfn < std::min(end, limit); ++pfn) {
            if (!code.holds_code(pfn)) given_up_.push_back(pfn);
        }
    }
    memory_->give_up(given_up_, how == GivenUp::IntoBalloon ? PageState::Ballooned : PageState::Unbacked);
    release();
    return true;
}

Result<void> Machine::press_power_button() {
    std::lock_guard pausing{pausing_};
    if (paused_) return Error{"it is paused, and cannot power off: resume it first, or end it with --now"};
    std::lock_guard lock{board_.lock()};
    board_.press_power_button();
    return {};
}

Result<void> Machine::set_memory_target(std::uint64_t bytes) {
    if (!balloon_) return Error{"it has no balloon: it has to be started with one"};
    std::lock_guard lock{board_.lock()};
    if (!has_balloon_driver()) return Error{"its guest has no driver for the balloon (virtio_balloon)"};
    std::uint64_t all = memory_->size();
    wanted_by_user_ = (all - std::min(bytes, all)) >> 12;
    set_balloon_target();
    return {};
}

bool Machine::ask_to_do_without(std::uint64_t pages) {
    std::lock_guard lock{board_.lock()};
    if (!has_balloon_driver()) return false;
    wanted_for_pool_ = pages;
    set_balloon_target();
    return true;
}

void Machine::set_balloon_target() {
    std::uint64_t pages = std::min(wanted_by_user_ + wanted_for_pool_, memory_->size() >> 12);
    balloon_->device().set_target(static_cast<std::uint32_t>(pages));
}

void Machine::input_arrived() {
    std::lock_guard lock{board_.lock()};
    board_.feed_serial();
}

bool Machine::has_ended(unsigned processor) {
    std::uint64_t bit = 1ull << processor;
    std::unique_lock lock{board_.lock()};
    if ((status_wanted_ & bit) != 0) {
        status_wanted_ &= ~bit;
        std::string whose = status_prefix_;
        lock.unlock();
        Console::notice(whose + processors_[processor]->status());
        lock.lock();
    }
    if (!outcome_) return false;
    bool last = --running_ == 0;
    lock.unlock();
    if (last) on_end_();
    return true;
}

void Machine::failed(Exit exit) {
    std::lock_guard lock{board_.lock()};
    switch (exit) {
        case Exit::Differ: return end(Outcome::EnginesDiffer);
        case Exit::Lost: return end(Outcome::StateLost);
        default: return end(Outcome::TripleFault);
    }
}

std::string Machine::engine_failure() const {
    for (const auto& processor : processors_) {
        if (auto failure = processor->engine().failure(); !failure.empty()) return failure;
    }
    return {};
}

}  // namespace undercroft
