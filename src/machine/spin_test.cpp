// SPDX-License-Identifier: Apache-2.0
// The chapter's idle loop, and loops that poll memory: beside a guest that computes, on one processor.

#include "machine/small_machine.hpp"

namespace undercroft::test {
namespace {

using Code = std::vector<std::uint8_t>;

// while (1);
const Code idle_loop{0xeb, 0xfe};

// Until the word changes; then two is written there.
const Code polling_loop{0x48, 0x83, 0x3c, 0x25, 0, 0, 0x30, 0, 0,           // 0: cmp qword [0x300000], 0
                        0x74, 0xf5,                                         // je 0
                        0x48, 0xc7, 0x04, 0x25, 0, 0, 0x30, 0, 2, 0, 0, 0,  // mov qword [0x300000], 2
                        0xeb, 0xfe};
const Code polling_loop_with_pause{0x48, 0x83, 0x3c, 0x25, 0, 0, 0x30, 0, 0,  // 0: cmp qword [0x300000], 0
                                   0x75, 0x04,                                // jne 1
                                   0xf3, 0x90,                                // pause
                                   0xeb, 0xf1,                                // jmp 0
                                   0x48, 0xc7, 0x04, 0x25, 0, 0, 0x30, 0, 2, 0, 0, 0,  // 1: mov …, 2
                                   0xeb, 0xfe};

struct Loop {
    Code code;
    EngineKind engine = EngineKind::Translate;
};

struct Spin : testing::TestWithParam<Loop> {
    std::unique_ptr<Scheduler> scheduler = make_scheduler(1);
    SmallMachine computes{*scheduler, counting_loop};
    SmallMachine spins{*scheduler, GetParam().code, {}, GetParam().engine};

    void SetUp() override {
        computes.start();
        spins.start();
        computes.wait_for_progress();
    }
    void TearDown() override {
        spins.stop();
        computes.stop();
    }
    // Of what both had of the processor while `time` more passed on it.
    double computing_part(Nanoseconds time) {
        ShareFigures before = computes.machine().share();
        ShareFigures spun_before = spins.machine().share();
        for (;;) {
            Nanoseconds computed = computes.machine().share().ran - before.ran;
            Nanoseconds spun = spins.machine().share().ran - spun_before.ran;
            if (computed + spun >= time)
                return static_cast<double>(computed) / static_cast<double>(computed + spun);
            std::this_thread::yield();
        }
    }
};

TEST_P(Spin, LeavesTheProcessorToWhoComputes) {
    constexpr Nanoseconds millisecond = 1'000'000;
    (void)computing_part(50 * millisecond);  // until the loop is known
    double part = computing_part(1000 * millisecond);
    RecordProperty("computing_part", std::to_string(part));
    EXPECT_GE(part, 0.95);
    EXPECT_GT(spins.machine().share().turns, 0u) << "it looks now and then";
}

INSTANTIATE_TEST_SUITE_P(Loops, Spin,
                         testing::Values(Loop{idle_loop}, Loop{polling_loop}, Loop{polling_loop_with_pause},
                                         Loop{idle_loop, EngineKind::Step}));

struct Poll : Spin {};

TEST_P(Poll, GoesOnWhenMemoryChanges) {
    constexpr Nanoseconds millisecond = 1'000'000;
    (void)computing_part(50 * millisecond);
    spins.data() = 1;
    while (spins.data() != 2) std::this_thread::yield();
}

INSTANTIATE_TEST_SUITE_P(Loops, Poll, testing::Values(Loop{polling_loop}, Loop{polling_loop_with_pause}));

}  // namespace
}  // namespace undercroft::test
