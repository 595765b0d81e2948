// SPDX-License-Identifier: Apache-2.0
#include "monitor.hpp"

#include "base/log.hpp"
#include "machine/console.hpp"
#include "machine/event_loop.hpp"
#include "machine/signals.hpp"
#include "machine/terminal.hpp"
#include "memory/sharing_thread.hpp"
#include "memory/swap_file.hpp"
#include "monitor/control/directory.hpp"
#include "monitor/control/server.hpp"
#include "monitor/memory_summary.hpp"
#include "monitor/shared_terminal.hpp"
#include "monitor/tenant.hpp"

#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace undercroft {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Tenants = std::vector<std::unique_ptr<Tenant>>;

std::string_view text_of(Outcome outcome) {
    switch (outcome) {
        case Outcome::PoweredOff: return "powered off";
        case Outcome::Reset: return "reset";
        case Outcome::TripleFault: return "triple fault";
        case Outcome::Stopped: return "ended";
        case Outcome::EnginesDiffer: return "the engines differ";
        case Outcome::StateLost: return "its state is lost";
    }
    return "";
}

// For consoles that are slow to take what has been printed; for all of them together.
constexpr std::chrono::seconds patience_at_end{1};

// A machine has a dozen files open; the usual limit is meant for programs that use select(2).
void allow_many_files() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

class Monitor {
public:
    // Without a terminal, each machine has a console of its own.
    Monitor(EventLoop& loop, Scheduler& scheduler, MemoryKeepers keepers, Fd signals, Tenants tenants,
            std::unique_ptr<SharedTerminal> terminal, std::function<bool(int)> take_signal)
        : loop_{loop},
          scheduler_{scheduler},
          keepers_{keepers},
          signals_{std::move(signals)},
          terminal_{std::move(terminal)},
          tenants_{std::move(tenants)},
          take_signal_{std::move(take_signal)} {
        loop_.watch(signals_.get(), [this] { on_signal(); });
        if (terminal_) share_terminal();
        for (unsigned number = 0; number < tenants_.size(); ++number) {
            Console& console = tenants_[number]->console();
            console.on_command([this](Escape::Command command) { on_command(command); });
            console.on_room([this, number] { on_room(number); });
        }
    }
    Monitor(const Monitor&) = delete;
    Monitor& operator=(const Monitor&) = delete;
    ~Monitor() { loop_.forget(signals_.get()); }

    Result<void> open_control(const std::string& path) {
        if (path == "none") return {};
        auto own = path.empty() ? control::own_socket() : path;
        auto server = own ? control::Server::open(*own, loop_, tenants_) : own.error();
        if (server) {
            server_ = *std::move(server);
        } else if (path.empty()) {
            log(LogLevel::Info, "no control socket: {}", server.error().message);
        } else {
            return server.error();
        }
        return {};
    }

    Result<MonitorReport> to_end() {
        for (auto& tenant : tenants_) {
            auto started =
                tenant->start(scheduler_, keepers_, clock_, [this, it = tenant.get()] { on_end(*it); });
            if (!started) return started.error();
        }
        loop_.run();
        auto until = SteadyClock::now() + patience_at_end;
        for (auto& tenant : tenants_) report_.machines.push_back(tenant->report(until));
        if (terminal_) terminal_->finish(until);
        terminal::leave();
        return std::move(report_);
    }

private:
    bool several() const { return tenants_.size() > 1; }

    void share_terminal() {
        terminal_->on_input([this](unsigned number, std::span<const std::byte> typed) {
            return tenants_[number]->console().type(typed);
        });
        terminal_->on_command([this](Escape::Command command) { on_command(command); });
    }

    void on_room(unsigned number) {
        if (terminal_) terminal_->has_room(number);
        if (server_) server_->has_room(*tenants_[number]);
    }

    void on_end(const Tenant& tenant) {
        if (several()) Console::notice(fmt::format("{}: {}", tenant.name(), text_of(tenant.outcome())));
        if (auto number = alone(); number && tenants_[*number].get() == &tenant) terminal_->show_all();
        attach_another(tenant);
        if (server_) server_->ended(tenant);
        auto ended = [](const auto& each) { return each->state() == Tenant::State::Ended; };
        if (std::ranges::all_of(tenants_, ended)) loop_.stop();
    }

    // The machine that the terminal shows, if it shows one of several.
    std::optional<unsigned> alone() const {
        if (!terminal_) return std::nullopt;
        return terminal_->shown_alone();
    }

    // Asked again, because the machines do not end: go at once. Not at once after the first time, since
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
        for (auto& tenant : tenants_) tenant->stop();
    }

    void on_signal() {
        int signal = signals::take(signals_.get());
        if (signal == SIGCONT) terminal::enter_again();
        if (signal == 0 || signal == SIGCONT || take_signal_(signal) || signal == SIGWINCH) return;
        report_.signal = signal;
        stop();
    }

    void on_command(Escape::Command command) {
        switch (command.kind) {
            case Escape::Kind::End:
                if (auto number = alone()) {
                    tenants_[*number]->stop();
                } else {
                    stop();
                }
                break;
            case Escape::Kind::Status:
                for (unsigned number = 0; number < tenants_.size(); ++number) {
                    if (alone().value_or(number) != number) continue;
                    tenants_[number]->show_status(several() ? tenants_[number]->name() + ": " : "");
                }
                show_memory();
                break;
            case Escape::Kind::Help: help(); break;
            case Escape::Kind::Choose: choose(command.choice); break;
        }
    }

    void show_memory() const {
        std::uint64_t touched = 0;
        for (const auto& tenant : tenants_) touched += tenant->figures().touched.value_or(0);
        std::string whose = several() ? "all machines: " : "";
        Console::notice(whose + memory_summary(touched, host_memory(tenants_)));
    }

    // What is typed goes to another machine than the one that has ended.
    void attach_another(const Tenant& ended) {
        if (!terminal_ || stopping_ || tenants_[terminal_->attached()].get() != &ended) return;
        for (unsigned number = 0; number < tenants_.size(); ++number) {
            const Tenant& other = *tenants_[number];
            if (other.state() == Tenant::State::Ended || other.options().console != "stdio") continue;
            if (terminal_->hand_over(number))
                Console::notice(fmt::format("what you type goes to {} now", other.name()));
            return;
        }
    }

    void choose(unsigned choice) {
        if (!terminal_) return;
        if (choice == 0) return terminal_->show_all();
        const Tenant& tenant = *tenants_[choice - 1];
        if (tenant.options().console != "stdio")
            return Console::notice(
                fmt::format("{}: its console is {}", tenant.name(), tenant.options().console));
        Console::notice(fmt::format("{} (Ctrl-A 0 shows all machines, Ctrl-A h the keys)", tenant.name()));
        terminal_->attach(choice - 1);
    }

    void help() const {
        if (!terminal_)
            return Console::notice("Ctrl-A x ends the machine, c shows its status, Ctrl-A sends Ctrl-A");
        std::string text = "Ctrl-A and a digit show one machine, 0 all:";
        for (std::size_t n = 0; n < std::min<std::size_t>(tenants_.size(), 9); ++n)
            text += fmt::format(" {} {}", n + 1, tenants_[n]->name());
        Console::notice(text);
        Console::notice("Ctrl-A x ends what is shown, c shows its status, Ctrl-A sends Ctrl-A");
    }

    EventLoop& loop_;
    Scheduler& scheduler_;
    MemoryKeepers keepers_;
    Fd signals_;
    HostClock clock_;
    std::unique_ptr<SharedTerminal> terminal_;
    Tenants tenants_;
    std::function<bool(int)> take_signal_;
    std::unique_ptr<control::Server> server_;
    bool stopping_ = false;
    SteadyClock::time_point stopping_since_;
    MonitorReport report_;
};

// Where several machines want it: one line for each, whether it uses it or not.
Result<std::unique_ptr<SharedTerminal>> open_terminal(const Tenants& tenants, EventLoop& loop) {
    std::vector<std::string> names;
    std::optional<unsigned> first;
    for (const auto& tenant : tenants) {
        if (tenant->options().console == "stdio" && !first) first = static_cast<unsigned>(names.size());
        names.push_back(tenant->name());
    }
    if (names.size() < 2 || !first) return std::unique_ptr<SharedTerminal>{};
    return SharedTerminal::open(names, *first, loop);
}

}  // namespace

Result<MonitorReport> run_machines(MonitorOptions options) {
    signals::block();
    allow_many_files();
    auto loop = EventLoop::create();
    if (!loop) return loop.error();
    auto signal_fd = signals::open();
    if (!signal_fd) return signal_fd.error();
    auto scheduler =
        Scheduler::create({.processors = options.processors, .on_thread = signals::on_alternate_stack});
    if (!scheduler) return scheduler.error();
    auto pool = FramePool::create();
    if (!pool) return std::move(pool.error()).in("cannot reserve memory");
    std::optional<Reclaim> reclaim;
    if (options.pool) {
        auto swap = SwapFile::create(options.swap_folder);
        if (!swap) return std::move(swap.error()).in("swap file in");
        (*swap)->tell_of_waits(**scheduler);
        (*pool)->set_limit(*options.pool >> 12, *std::move(swap));
        reclaim.emplace(*pool, [](const std::string& text) { Console::notice(text); });
    }
    PageSharing sharing{*pool, options.equal_pages};
    SharingThread sharing_thread{sharing, *pool};
    Images images;
    Switches switches;
    Tenants tenants;
    bool several = options.machines.size() > 1;
    for (TenantOptions& machine : options.machines) {
        machine.machine.pool = *pool;
        if (several) machine.log_name = machine.name;
        auto tenant = Tenant::create(std::move(machine), **loop, images, switches);
        if (!tenant) return tenant.error();
        tenants.push_back(*std::move(tenant));
    }
    for (auto& tenant : tenants) {
        if (auto loaded = tenant->load(); !loaded) return loaded.error();
    }
    terminal::restore_on_crash();
    // Last, since it is what leaves traces: a file, a socket, a terminal in raw mode.
    auto shared = open_terminal(tenants, **loop);
    if (!shared) return shared.error();
    for (unsigned number = 0; number < tenants.size(); ++number) {
        Tenant& tenant = *tenants[number];
        SharedTerminal* terminal = tenant.options().console == "stdio" ? shared->get() : nullptr;
        if (auto opened = tenant.open_console(terminal, number); !opened) return opened.error();
    }
    Monitor monitor{**loop,
                    **scheduler,
                    {&sharing, reclaim ? &*reclaim : nullptr},
                    *std::move(signal_fd),
                    std::move(tenants),
                    *std::move(shared),
                    std::move(options.on_signal)};
    if (auto opened = monitor.open_control(options.control); !opened) return opened.error();
    return monitor.to_end();
}

}  // namespace undercroft
