// SPDX-License-Identifier: Apache-2.0
// Tenant: one machine's stay in the monitor, with what outlives its reboots: its console and its disks.
//
// create(), load(), open_console() and start() come in this order; nothing leaves a trace on the host before
// open_console(). Everything belongs to the event loop's thread, and nothing waits for the guest: when it has
// ended, the loop hears of it, and of a kernel that was read again for a reboot.

#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "machine/machine.hpp"
#include "monitor/console_tap.hpp"
#include "monitor/output_log.hpp"
#include "monitor/reports.hpp"
#include "monitor/shared_terminal.hpp"
#include "schedule/scheduler.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>

namespace undercroft {

class Tenant {
public:
    enum class State : std::uint8_t { Loading, Running, Paused, Ended };

    // Opens disks, networks and folders. The loop outlives it. Errors: what the user gave cannot be used.
    static Result<std::unique_ptr<Tenant>> create(TenantOptions options, EventLoop& loop, Images& images,
                                                  Switches& switches);
    Tenant(const Tenant&) = delete;
    Tenant& operator=(const Tenant&) = delete;
    ~Tenant();

    Result<void> load();
    // Its own, or line `number` of a terminal, which outlives it.
    Result<void> open_console(SharedTerminal* terminal, unsigned number);
    // `on_end` is called when the machine has ended for good. They outlive the tenant; without sharing nobody
    // looks through its memory.
    Result<void> start(Scheduler& scheduler, MemoryKeepers keepers, const Clock& clock,
                       std::function<void()> on_end);

    const std::string& name() const { return options_.name; }
    const TenantOptions& options() const { return options_; }
    State state() const;
    Outcome outcome() const { return report_.outcome; }  // after the end
    Console& console() { return *console_; }
    ConsoleTap& tap() { return tap_; }
    std::chrono::nanoseconds up() const;  // since its start; stands still after the end
    MachineFigures figures() const;       // of this boot, or the last one

    void stop();                        // at once
    Result<void> press_power_button();  // see Machine
    void pause();
    void resume();
    void show_status(std::string whose);
    Result<void> set_memory_target(std::uint64_t bytes);  // see Machine

    // After the end: waits, until then at most, for those at the other ends of the console, of channels
    // and of sockets to take all.
    TenantReport report(std::chrono::steady_clock::time_point until);

private:
    struct Bells {
        Doorbell ended;
        Doorbell loaded;
        Doorbell console_failed;
        Doorbell room_changed;
    };

    Tenant(TenantOptions options, EventLoop& loop, Bells bells);

    Result<void> open_disks(Images& images);
    Result<void> open_networks(Switches& switches);
    Result<void> open_folders();
    Result<void> open_channels();
    Result<void> open_vsock();

    Result<void> run();
    void on_machine_end();
    void load_again();
    void on_loaded();
    void end();
    void on_room_changed();
    bool is_held() const { return paused_ || waits_for_room_; }

    TenantOptions options_;
    std::atomic<unsigned> waiting_disks_ = 0;  // counted by their threads
    Machine::Disks disks_;
    Machine::Networks networks_;
    Machine::Folders folders_;
    std::vector<std::unique_ptr<Channel>> channels_;
    std::vector<ConsolePort*> console_ports_;  // these and others
    std::unique_ptr<VsockHost> vsock_;
    EventLoop& loop_;
    Scheduler* scheduler_ = nullptr;
    MemoryKeepers keepers_;
    const Clock* clock_ = nullptr;  // the guest's
    std::optional<SlowClock> slow_clock_;
    Bells bells_;
    std::function<void()> on_end_;
    std::optional<Result<GuestImage>> image_;  // by load() or the loader, until the machine takes it
    std::optional<OutputLog> log_;             // under the lock of the console's output
    ConsoleTap tap_;
    std::unique_ptr<Console> console_;
    std::unique_ptr<Machine> machine_;
    std::thread loader_;

    bool stopping_ = false;
    bool paused_ = false;          // by the user
    bool waits_for_room_ = false;  // of the host's, for its disks
    std::chrono::steady_clock::time_point started_at_;
    std::optional<std::chrono::steady_clock::time_point> ended_at_;
    StatisticsSection start_;  // how long which part of the start took
    TenantReport report_;
    MachineFigures last_figures_;
    std::mutex mutex_;  // protects what follows: written under the console's lock, on any thread
    std::optional<Error> console_failure_;
};

// Bytes of the host's memory that machines of one monitor have together.
std::uint64_t host_memory(std::span<const std::unique_ptr<Tenant>> tenants);

}  // namespace undercroft
