// SPDX-License-Identifier: Apache-2.0
// A machine that is paused executes nothing, goes on where it was, and can be ended.

#include "machine/small_machine.hpp"

namespace undercroft::test {
namespace {

struct Pause : testing::Test {
    std::unique_ptr<Scheduler> scheduler = make_scheduler(host_processors());
    SmallMachine counts{*scheduler, counting_loop};
    Machine& machine = counts.machine();
};

TEST_F(Pause, StopsAGuestThatGoesOnAfterwards) {
    counts.start();
    counts.wait_for_progress();
    for (int round = 0; round < 20; ++round) {
        machine.pause();
        std::uint64_t before = counts.data();
        if (round == 0) machine.show_status("");
        for (int i = 0; i < 100; ++i) std::this_thread::yield();
        EXPECT_EQ(counts.data(), before);
        EXPECT_FALSE(counts.has_ended());
        machine.resume();
        counts.wait_for_progress();
    }
    counts.stop();
    EXPECT_EQ(machine.outcome(), Outcome::Stopped);
}

TEST_F(Pause, BeforeTheStart) {
    machine.pause();
    counts.start();
    EXPECT_EQ(counts.data(), 0u);
    machine.resume();
    counts.wait_for_progress();
    counts.stop();
}

TEST_F(Pause, APausedMachineCanBeStopped) {
    counts.start();
    machine.pause();
    counts.stop();
    EXPECT_EQ(machine.outcome(), Outcome::Stopped);
}

}  // namespace
}  // namespace undercroft::test
