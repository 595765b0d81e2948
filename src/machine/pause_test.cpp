// SPDX-License-Identifier: Apache-2.0
// A machine that is paused executes nothing, goes on where it was, and can be ended.

#include "boot/test_kernels.hpp"
#include "machine/machine.hpp"
#include "machine/signals.hpp"
#include "schedule/scheduler.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <span>
#include <thread>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t code_address = 0x200000;
constexpr std::uint64_t counter_address = 0x300000;

// lock inc qword [0x300000]; jmp
constexpr std::array<std::uint8_t, 11> counting_loop{0xf0, 0x48, 0xff, 0x04, 0x25, 0, 0, 0x30, 0, 0xeb, 0xf5};

struct Pause : testing::Test {
    fs::path kernel = fs::path{testing::TempDir()} / ("undercroft-pause-" + std::to_string(getpid()));
    std::unique_ptr<EventLoop> loop = *EventLoop::create();
    std::unique_ptr<Console> console;
    HostClock clock;
    Machine::Disks disks;
    std::unique_ptr<Scheduler> scheduler = *Scheduler::create({.on_thread = [](const auto& body) {
        signals::AlternateStack stack;
        body();
    }});
    std::unique_ptr<Machine> machine;
    std::atomic<bool> ended{false};
    std::uint64_t* counter = nullptr;

    void SetUp() override {
        signals::block();
        auto code = std::as_bytes(std::span{counting_loop});
        boot::test::Bytes file = boot::test::elf(
            code_address, {{code_address, code_address, {code.begin(), code.end()}, code.size()}});
        std::ofstream{kernel, std::ios::binary}.write(reinterpret_cast<const char*>(file.data()),
                                                      static_cast<std::streamsize>(file.size()));
        MachineConfig config;
        config.kernel = kernel.string();
        config.memory = std::uint64_t{64} << 20;
        auto image = load_guest(config);
        ASSERT_TRUE(image) << image.error().message;
        counter = reinterpret_cast<std::uint64_t*>(image->memory->writable(GuestPhysical{counter_address}));
        console = *Console::open("file:/dev/null", *loop);
        auto made = Machine::create(
            *std::move(image), EngineKind::Translate, 1, {},
            {.disks = disks, .console = *console, .loop = *loop, .clock = clock, .scheduler = *scheduler});
        ASSERT_TRUE(made) << made.error().message;
        machine = *std::move(made);
    }
    void TearDown() override { fs::remove(kernel); }

    std::uint64_t count() const { return std::atomic_ref{*counter}.load(); }
    void wait_for_progress() const {
        for (std::uint64_t before = count(); count() == before;) std::this_thread::yield();
    }
    void start() {
        machine->start([this] {
            ended = true;
            ended.notify_all();
        });
    }
    void wait_for_end() const { ended.wait(false); }
};

TEST_F(Pause, StopsAGuestThatGoesOnAfterwards) {
    start();
    wait_for_progress();
    for (int round = 0; round < 20; ++round) {
        machine->pause();
        std::uint64_t before = count();
        if (round == 0) machine->show_status();
        for (int i = 0; i < 100; ++i) std::this_thread::yield();
        EXPECT_EQ(count(), before);
        EXPECT_FALSE(ended);
        machine->resume();
        wait_for_progress();
    }
    machine->stop();
    wait_for_end();
    EXPECT_TRUE(ended);
    EXPECT_EQ(machine->outcome(), Outcome::Stopped);
}

TEST_F(Pause, BeforeTheStart) {
    machine->pause();
    start();
    EXPECT_EQ(count(), 0u);
    machine->resume();
    wait_for_progress();
    machine->stop();
    wait_for_end();
}

TEST_F(Pause, APausedMachineCanBeStopped) {
    start();
    machine->pause();
    machine->stop();
    wait_for_end();
    EXPECT_EQ(machine->outcome(), Outcome::Stopped);
}

}  // namespace
}  // namespace undercroft
