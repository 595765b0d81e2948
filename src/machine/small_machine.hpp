// SPDX-License-Identifier: Apache-2.0
// For tests: a whole machine whose kernel is a few bytes of 64-bit code.

#pragma once

#include "boot/test_kernels.hpp"
#include "machine/machine.hpp"
#include "machine/signals.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace undercroft::test {

// Before there are other threads: their signals are the monitor's.
inline std::unique_ptr<Scheduler> make_scheduler(unsigned processors) {
    signals::block();
    return *Scheduler::create({.processors = processors, .on_thread = signals::on_alternate_stack});
}

class SmallMachine {
public:
    static constexpr std::uint64_t code_address = 0x200000;
    static constexpr std::uint64_t data_address = 0x300000;

    // `code` may use the quadword at data_address.
    SmallMachine(Scheduler& scheduler, const std::vector<std::uint8_t>& code, ShareOptions share = {},
                 EngineKind engine = EngineKind::Translate) {
        auto bytes = std::as_bytes(std::span{code});
        boot::test::Bytes file = boot::test::elf(
            code_address, {{code_address, code_address, {bytes.begin(), bytes.end()}, bytes.size()}});
        namespace fs = std::filesystem;
        fs::path kernel = fs::path{testing::TempDir()} / ("undercroft-kernel-" + std::to_string(getpid()));
        std::ofstream{kernel, std::ios::binary}.write(reinterpret_cast<const char*>(file.data()),
                                                      static_cast<std::streamsize>(file.size()));
        MachineConfig config;
        config.kernel = kernel.string();
        config.memory = std::uint64_t{64} << 20;
        auto image = load_guest(config);
        fs::remove(kernel);
        CHECK(image, "the kernel is one");
        data_ = reinterpret_cast<std::uint64_t*>(image->memory->writable(GuestPhysical{data_address}));
        auto made = Machine::create(*std::move(image), engine, 1, share,
                                    {.disks = disks_,
                                     .networks = networks_,
                                     .console = *console_,
                                     .loop = *loop_,
                                     .clock = clock_,
                                     .scheduler = scheduler});
        CHECK(made, "a machine");
        machine_ = *std::move(made);
    }

    Machine& machine() { return *machine_; }
    std::atomic_ref<std::uint64_t> data() const { return std::atomic_ref{*data_}; }
    void wait_for_progress() const {
        for (std::uint64_t before = data(); data() == before;) std::this_thread::yield();
    }

    void start() {
        machine_->start([this] {
            ended_ = true;
            ended_.notify_all();
        });
    }
    bool has_ended() const { return ended_; }
    void wait_for_end() const { ended_.wait(false); }
    void stop() {
        machine_->stop();
        wait_for_end();
    }

private:
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::unique_ptr<Console> console_ = *Console::open("file:/dev/null", *loop_);
    HostClock clock_;
    Machine::Disks disks_;
    Machine::Networks networks_;
    std::unique_ptr<Machine> machine_;
    std::atomic<bool> ended_{false};
    std::uint64_t* data_ = nullptr;
};

// lock inc qword [data_address]; jmp
inline const std::vector<std::uint8_t> counting_loop{0xf0, 0x48, 0xff, 0x04, 0x25, 0, 0, 0x30, 0, 0xeb, 0xf5};

}  // namespace undercroft::test
