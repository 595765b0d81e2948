// SPDX-License-Identifier: Apache-2.0
// Guests with several virtual processors: stock kernels bring them all up, programs run on each, and
// stressors that fork, map, lock and start threads on all of them find every result right.

#include "guest_process.hpp"
#include "settings.hpp"

namespace undercroft {
namespace {

#define CONSOLE(guest) "console:\n" << (guest).output() << "\nerrors:\n" << (guest).errors()

TEST(Processors, AllOfThemRunPrograms) {
    NEED_GUEST(Image::Plain);
    int cpus = std::stoi(setting("UNDERCROFT_CPUS", "2"));
    std::vector<std::string> arguments = run_script("shell");
    arguments.emplace_back("--stats");
    GuestProcess guest{arguments};
    ASSERT_TRUE(guest.wait_for("undercroft: init reached at ", patience(60))) << CONSOLE(guest);
    ASSERT_TRUE(guest.wait_for("# ", patience(30))) << CONSOLE(guest);
    guest.send("echo processors=$(nproc)=\n");
    EXPECT_TRUE(guest.wait_for("processors=" + std::to_string(cpus) + "=", patience(20))) << CONSOLE(guest);
    for (int cpu = 0; cpu < cpus; ++cpu) {
        std::string number = std::to_string(cpu);
        // Field 39 of stat is the processor that the program was on last.
        guest.send("echo ran=$(taskset -c " + number + " cut -d' ' -f39 /proc/self/stat)=\n");
        EXPECT_TRUE(guest.wait_for("ran=" + number + "=", patience(20))) << CONSOLE(guest);
    }
    guest.send("exit\n");
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
    for (const char* sign : {"Oops", "soft lockup", "rcu_sched", "BUG:", "WARNING:"})
        EXPECT_EQ(count(guest.output(), sign), 0u) << CONSOLE(guest);
    EXPECT_NE(guest.errors().find("\n  " + std::to_string(cpus - 1) + ", run "), std::string::npos)
        << "statistics of each: " << guest.errors();
}

TEST(Processors, ResetAndPanicEndAllOfThem) {
    NEED_GUEST(Image::Plain);
    for (const char* script : {"reboot", "crash"}) {
        GuestProcess guest{run_script(script)};
        EXPECT_TRUE(guest.wait_for("undercroft: init reached at ", patience(60))) << CONSOLE(guest);
        EXPECT_EQ(guest.wait_for_exit(patience(30)), 3) << script << ": " << CONSOLE(guest);
    }
}

TEST(Processors, StressorsPass) {
    NEED_GUEST(Image::Stress);
    GuestProcess guest{run_script(
        "stress", Image::Stress,
        "undercroft.tests=fork,mmap,futex,pthread undercroft.bytes=" + setting("UNDERCROFT_SECONDS", "15"))};
    ASSERT_TRUE(guest.wait_for("undercroft: init reached at ", patience(60))) << CONSOLE(guest);
    EXPECT_TRUE(guest.wait_for("TESTS passed=", patience(240))) << CONSOLE(guest);
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
    EXPECT_EQ(count(guest.output(), " PASS"), 4u) << CONSOLE(guest);
}

}  // namespace
}  // namespace undercroft
