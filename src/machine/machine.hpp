// SPDX-License-Identifier: Apache-2.0
// Machine: one guest from power-on to its end: processors, memory, devices and the engines that run it.
//
// Between start() and its end a scheduler runs its vCPUs. Meanwhile other threads, but none of the
// scheduler's, may call what says so; the rest is for before and after.

#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "cpu/cpuid.hpp"
#include "machine/board.hpp"
#include "machine/console.hpp"
#include "machine/environment.hpp"
#include "machine/event_loop.hpp"
#include "machine/guest_image.hpp"
#include "machine/machine_figures.hpp"
#include "machine/polled_device.hpp"
#include "machine/served_device.hpp"
#include "machine/statistics.hpp"
#include "machine/virtual_processor.hpp"
#include "memory/guest_memory.hpp"
#include "memory/memory_keepers.hpp"
#include "mmu/code_exchange.hpp"
#include "schedule/scheduler.hpp"
#include "trace/trace.hpp"
#include "virtio/balloon.hpp"
#include "virtio/block.hpp"
#include "virtio/console.hpp"
#include "virtio/entropy.hpp"
#include "virtio/file_system.hpp"
#include "virtio/net.hpp"
#include "virtio/vsock.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace undercroft {

enum class Outcome : std::uint8_t { PoweredOff, Reset, TripleFault, Stopped, EnginesDiffer, StateLost };

class Machine final : private MemoryTenant, private BalloonMemory {
public:
    using Disks = std::vector<std::unique_ptr<Disk>>;
    using Networks = std::vector<NetConnection>;
    struct Folder {
        std::unique_ptr<FolderServer> server;
        std::string tag;
    };
    using Folders = std::vector<Folder>;

    // What it stands on. All of it outlives the machine.
    struct Ground {
        const Disks& disks;
        const Networks& networks;
        Console& console;
        EventLoop& loop;
        const Clock& clock;
        Scheduler& scheduler;
        MemoryKeepers keepers{};  // of its memory, while it runs
        std::span<const Folder> folders{};
        std::span<ConsolePort* const> console_ports{};  // of a virtio console; none: there is none
        bool balloon = false;                           // the machine has one
        bool entropy = false;                           // and one of these
        VsockHost* vsock = nullptr;                     // null: no socket device
        std::uint32_t paravirtual = 0;                  // what it is offered of KVM's interface
        TraceKinds trace{};                             // what is recorded
    };

    // Its log lines name the caller's LogSubject.
    static Result<std::unique_ptr<Machine>> create(GuestImage image, const EngineChoice& engine,
                                                   unsigned processors, ShareOptions share,
                                                   const Ground& ground);
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;
    ~Machine();

    unsigned processors() const { return static_cast<unsigned>(processors_.size()); }
    // Once. `on_end` is called when the guest has ended, on a thread of the scheduler's. The machine may be
    // destroyed then (on another one).
    void start(std::function<void()> on_end);

    // Any thread, without the board's lock.
    void stop();  // it ends soon
    // Prints a line for each vCPU on the console's side, which begins with `whose`.
    void show_status(std::string whose);
    void input_arrived();  // the console has something for the guest

    // Any thread. A paused guest executes nothing, and its clocks go on; one that does not run yet begins
    // paused. None of its vCPUs executes when pause() has returned.
    void pause();
    void resume();
    // Asks the guest to power off; what it does is its own affair. Error: it is paused.
    Result<void> press_power_button();
    // Asks the guest to make do with so many bytes of its memory, as far as it can. Error: there is no
    // balloon, or no driver for it.
    Result<void> set_memory_target(std::uint64_t bytes);
    ShareFigures share() const { return scheduler_.figures(share_); }

    MachineFigures figures() const;  // any thread

    // After the end.
    Outcome outcome() const { return outcome_.value_or(Outcome::Stopped); }
    Statistics statistics() const;
    // What its vCPUs recorded, as traces of a machine of this name.
    std::vector<Trace> traces(const std::string& name) const;
    std::string engine_failure() const;  // of Outcome::EnginesDiffer and StateLost

private:
    Machine(GuestImage image, unsigned processors, ShareOptions share, const Ground& ground);

    // Of the MemoryTenant.
    GuestMemory& guest_memory() noexcept override { return *memory_; }
    bool hold() override;
    void release() override;
    bool ask_to_do_without(std::uint64_t pages) override;
    // Of the BalloonMemory.
    bool give_up(std::span<const PageRange> pages, GivenUp how) override;
    std::chrono::nanoseconds ran() const override {
        return std::chrono::nanoseconds{scheduler_.figures(share_).ran};
    }

    Result<void> add_devices(const Ground& ground);  // each in the next virtio slot
    // Under the lock.
    bool has_balloon_driver() const { return balloon_ && balloon_->device().has_driver(); }
    void set_balloon_target();
    Board::Outputs board_outputs();
    void end(Outcome outcome);  // under the lock: the first one counts
    void failed(Exit exit);
    void interrupt_all();                // under the lock: every vCPU looks at what is wanted
    bool has_ended(unsigned processor);  // after a Stop

    EventLoop& loop_;
    const Clock& clock_;
    Console& console_;
    Scheduler& scheduler_;
    MemoryKeepers keepers_;
    Share share_;
    std::unique_ptr<GuestMemory> memory_;
    std::unique_ptr<CodeExchange> exchange_;  // if others than one vCPU write memory
    DmaMemory dma_memory_;
    CpuidTable cpuid_;
    Board board_;
    MachineEnvironment::Shared shared_;
    std::vector<std::unique_ptr<VirtualProcessor>> processors_;

    // Their threads end before there are no vCPUs to interrupt.
    std::vector<std::unique_ptr<ServedDevice<VirtioBlock>>> disks_;
    std::vector<std::unique_ptr<ServedDevice<VirtioFileSystem>>> folders_;
    std::unique_ptr<ServedDevice<VirtioConsole>> console_ports_;
    std::unique_ptr<ServedDevice<VirtioBalloon>> balloon_;
    std::vector<std::unique_ptr<PolledDevice<VirtioNet>>> networks_;
    std::unique_ptr<ServedDevice<VirtioEntropy>> entropy_;
    std::unique_ptr<PolledDevice<VirtioVsock>> vsock_;
    std::vector<std::uint64_t> given_up_;  // of the balloon's thread
    // Under the board's lock: pages for the balloon, as the user wants it, and for the pool's sake.
    std::uint64_t wanted_by_user_ = 0;
    std::uint64_t wanted_for_pool_ = 0;

    std::optional<Outcome> outcome_;   // under the board's lock, like the next
    std::uint64_t status_wanted_ = 0;  // a bit for each vCPU that has not printed its line yet
    std::string status_prefix_;
    unsigned running_ = 0;  // vCPUs that have not ended
    std::function<void()> on_end_;
    std::mutex pausing_;  // protects the next; the outermost lock
    bool paused_ = false;
};

}  // namespace undercroft
