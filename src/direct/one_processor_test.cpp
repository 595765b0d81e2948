// SPDX-License-Identifier: Apache-2.0
#include "direct/one_processor.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace undercroft {
namespace {

cpu_set_t processors_of(pid_t process) {
    cpu_set_t set;
    CPU_ZERO(&set);
    EXPECT_EQ(sched_getaffinity(process, sizeof set, &set), 0);
    return set;
}

struct OneProcessorTest : testing::Test {
    void SetUp() override {
        before = processors_of(0);
        other = fork();
        if (other == 0)
            for (;;) pause();
    }
    void TearDown() override {
        kill(other, SIGKILL);
        waitpid(other, nullptr, 0);
        sched_setaffinity(0, sizeof before, &before);
    }
    void expect_both(const cpu_set_t& where) const {
        cpu_set_t mine = processors_of(0);
        cpu_set_t its = processors_of(other);
        EXPECT_TRUE(CPU_EQUAL(&mine, &where));
        EXPECT_TRUE(CPU_EQUAL(&its, &where));
    }

    cpu_set_t before{};
    pid_t other = 0;
};

TEST_F(OneProcessorTest, BothAreOnOneAndBackWhereTheyMayBe) {
    OneProcessor one{other};
    one.keep(1'000'000'000);
    cpu_set_t mine = processors_of(0);
    cpu_set_t its = processors_of(other);
    EXPECT_EQ(CPU_COUNT(&mine), 1);
    EXPECT_TRUE(CPU_EQUAL(&mine, &its));
    one.leave();
    expect_both(before);
    one.leave();
    expect_both(before);
}

TEST_F(OneProcessorTest, TheEndIsLeaving) {
    {
        OneProcessor one{other};
        one.keep(1'000'000'000);
    }
    expect_both(before);
}

// Somebody else has their processor, by the looks of it: they have used nothing of it.
TEST_F(OneProcessorTest, TheyAreFreeForAWhileWhenOthersWantTheProcessor) {
    OneProcessor one{other};
    std::uint64_t now = 1'000'000'000;
    one.keep(now);
    usleep(1000);
    one.keep(now + 1);  // not looked at so soon
    cpu_set_t mine = processors_of(0);
    EXPECT_EQ(CPU_COUNT(&mine), 1);
    now += 100'000'000;
    one.keep(now);
    expect_both(before);
    one.keep(now + 1);
    expect_both(before);
    one.keep(now + 1'000'000'000);
    mine = processors_of(0);
    EXPECT_EQ(CPU_COUNT(&mine), 1);
}

// What somebody has set for the thread counts.
TEST_F(OneProcessorTest, KeepsToWhatTheThreadMayUse) {
    cpu_set_t first;
    CPU_ZERO(&first);
    int cpu = 0;
    while (!CPU_ISSET(static_cast<unsigned>(cpu), &before)) ++cpu;
    CPU_SET(static_cast<unsigned>(cpu), &first);
    ASSERT_EQ(sched_setaffinity(0, sizeof first, &first), 0);
    OneProcessor one{other};
    one.keep(1'000'000'000);
    expect_both(first);
    one.leave();
    expect_both(first);
}

}  // namespace
}  // namespace undercroft
