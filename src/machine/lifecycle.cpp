// SPDX-License-Identifier: Apache-2.0
#include "lifecycle.hpp"

#include "machine/console.hpp"
#include "machine/event_loop.hpp"
#include "machine/signals.hpp"
#include "machine/terminal.hpp"
#include "machine/vcpu_threads.hpp"

#include <unistd.h>

#include <csignal>
#include <mutex>
#include <utility>

namespace undercroft {
namespace {

using SteadyClock = std::chrono::steady_clock;
const SteadyClock::time_point process_start = SteadyClock::now();

// Lockstep executes some hundred times slower than translated code. More would make a guest's busy waits too
// long.
constexpr std::uint64_t lockstep_slowness = 32;

double seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>{time}.count(); }

Result<Machine::Disks> open_disks(const MachineConfig& config) {
    Machine::Disks disks;
    for (const DiskChoice& choice : config.disks) {
        auto disk = RawDisk::open(choice.path, choice.access);
        if (!disk) return disk.error();
        disks.push_back(*std::move(disk));
    }
    return disks;
}

// One process' run: the parts that outlive a reboot.
class Run {
public:
    Run(const RunOptions& options, Machine::Disks disks, EventLoop& loop, Console& console, Fd signals,
        Doorbell console_failed)
        : options_{options},
          disks_{std::move(disks)},
          loop_{loop},
          console_{console},
          signals_{std::move(signals)},
          console_failed_{std::move(console_failed)} {
        loop_.watch(signals_.get(), [this] { on_signal(); });
        loop_.watch(console_failed_.fd(), [this] {
            console_failed_.acknowledge();
            stop();
        });
        console_.on_input([this] { machine_->input_arrived(); });
        console_.on_command([this](Escape::Command command) { on_command(command); });
        console_.output().on_failure([this](Error error) {
            std::lock_guard lock{mutex_};
            report_.console_failure = std::move(error);
            console_failed_.ring();
        });
    }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    ~Run() {
        loop_.forget(signals_.get());
        loop_.forget(console_failed_.fd());
        console_.on_input([] {});
        console_.on_command([](Escape::Command) {});
        console_.output().on_failure({});
    }

    Result<RunReport> to_end(GuestImage image) {
        for (;;) {
            StatisticsSection loading{"start",
                                      {{"read and unpack kernel", seconds(image.unpacking), "s"},
                                       {"place in memory", seconds(image.placing), "s"}}};
            auto machine =
                Machine::create(std::move(image), options_.machine.engine, options_.machine.processors,
                                disks_, console_, loop_, guest_clock());
            if (!machine) return machine.error();
            loading.figures.push_back(
                {"until the guest ran", seconds(SteadyClock::now() - process_start), "s"});
            machine_ = std::move(*machine);
            run_machine();
            bool again = options_.reboot && !stopping_ && !report_.console_failure &&
                         (report_.outcome == Outcome::Reset || report_.outcome == Outcome::TripleFault);
            if (!again) {
                finish(std::move(loading));
                return std::move(report_);
            }
            machine_.reset();
            auto next = load_guest(options_.machine);
            if (!next) return next.error();
            image = *std::move(next);
        }
    }

private:
    const Clock& guest_clock() const {
        if (options_.machine.engine.kind == EngineKind::Lockstep) return slow_clock_;
        return clock_;
    }

    void run_machine() {
        threads_.start(*machine_, [this] { loop_.stop(); });
        loop_.run();
        threads_.join();
        report_.outcome = machine_->outcome();
    }

    void finish(StatisticsSection loading) {
        console_.output().finish();
        if (auto first = console_.output().first_output()) {
            loading.figures.push_back({"until the first output", seconds(*first - process_start), "s"});
        }
        loading.figures.push_back({"until the end", seconds(SteadyClock::now() - process_start), "s"});
        report_.statistics = machine_->statistics();
        report_.engine_failure = machine_->engine_failure();
        report_.statistics.insert(report_.statistics.begin(), std::move(loading));
        report_.statistics.push_back({"console", {{"output", console_.output().bytes_written(), "bytes"}}});
        machine_.reset();
        terminal::leave();
    }

    // Asked again, because the machine does not end: go at once. Not at once after the first time, since
    // timeout(1), for one, sends its signal twice.
    void stop() {
        if (stopping_) {
            if (SteadyClock::now() - stopping_since_ < std::chrono::seconds{1}) return;
            terminal::leave();
            Console::notice("the machine does not stop; leaving it");
            _exit(1);
        }
        stopping_ = true;
        stopping_since_ = SteadyClock::now();
        console_.output().cancel();
        machine_->stop();
    }

    void on_signal() {
        int signal = signals::take(signals_.get());
        if (signal == SIGCONT) terminal::enter_again();
        if (signal == 0 || signal == SIGCONT) return;
        report_.signal = signal;
        stop();
    }

    void on_command(Escape::Command command) {
        switch (command) {
            case Escape::Command::End: stop(); break;
            case Escape::Command::Status: machine_->show_status(); break;
            case Escape::Command::Help:
                Console::notice("Ctrl-A x ends the machine, c shows its status, Ctrl-A sends Ctrl-A");
                break;
        }
    }

    const RunOptions& options_;
    Machine::Disks disks_;
    EventLoop& loop_;
    Console& console_;
    Fd signals_;
    Doorbell console_failed_;
    HostClock clock_;
    SlowClock slow_clock_{clock_, lockstep_slowness};
    std::unique_ptr<Machine> machine_;
    VcpuThreads threads_;  // joined before the machine goes
    bool stopping_ = false;
    SteadyClock::time_point stopping_since_;
    std::mutex mutex_;
    RunReport report_;  // console_failure under the lock; the rest by the loop's thread
};

}  // namespace

Result<RunReport> run_to_end(const RunOptions& options) {
    signals::block();
    auto loop = EventLoop::create();
    if (!loop) return loop.error();
    auto signal_fd = signals::open();
    if (!signal_fd) return signal_fd.error();
    auto bell = Doorbell::create();
    if (!bell) return bell.error();
    auto disks = open_disks(options.machine);
    if (!disks) return disks.error();
    auto image = load_guest(options.machine);
    if (!image) return image.error();
    terminal::restore_on_crash();
    // Last, since it is what leaves traces: a file, a socket, a terminal in raw mode.
    auto console = Console::open(options.console, **loop);
    if (!console) return console.error();
    Run run{options, *std::move(disks), **loop, **console, *std::move(signal_fd), *std::move(bell)};
    return run.to_end(*std::move(image));
}

}  // namespace undercroft
