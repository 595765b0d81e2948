// SPDX-License-Identifier: Apache-2.0
// Stock kernels boot to init, power off, reset, crash; and the test programs of guests/ pass inside them.

#include "guest_process.hpp"
#include "settings.hpp"

#include <array>
#include <cstdio>
#include <sstream>

namespace undercroft {

namespace {

std::string last_lines(const std::string& text) {
    std::size_t from = text.size() > 3000 ? text.size() - 3000 : 0;
    return text.substr(from);
}

// The console's end, for a failed expectation.
#define CONSOLE(guest) \
    "console ends with:\n" << last_lines((guest).output()) << "\nerrors:\n" << last_lines((guest).errors())

std::vector<std::string> lines_that_begin_with(const std::string& text, const std::string& word) {
    std::vector<std::string> found;
    std::istringstream stream{text};
    for (std::string line; std::getline(stream, line);) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        if (line.rfind(word, 0) == 0) found.push_back(line);
    }
    return found;
}

TEST(Boot, ReachesInitAndPowersOff) {
    NEED_GUEST(Image::Plain);
    int boots = std::stoi(setting("UNDERCROFT_BOOTS", "1"));
    for (int boot = 0; boot < boots; ++boot) {
        GuestProcess guest{run_script("poweroff")};
        ASSERT_TRUE(guest.wait_for("undercroft: init reached at ", patience(60)))
            << "boot " << boot << ": " << CONSOLE(guest);
        ASSERT_EQ(guest.wait_for_exit(patience(30)), 0) << "boot " << boot << ": " << CONSOLE(guest);
    }
}

// For the single-step executor, which takes minutes to reach init: through early start-up, timers and the
// first device interrupts.
TEST(Boot, KernelStarts) {
    NEED_GUEST(Image::Plain);
    GuestProcess guest{run_script("poweroff")};
    EXPECT_TRUE(guest.wait_for("Linux version 6.1", patience(20))) << CONSOLE(guest);
    EXPECT_TRUE(guest.wait_for("smpboot: Total of 1 processors activated", patience(20))) << CONSOLE(guest);
    EXPECT_TRUE(guest.wait_for("Switched to clocksource", patience(20))) << CONSOLE(guest);
}

// For lockstep: the first seconds. The end compares all of memory, and a difference is told on standard
// error.
TEST(Boot, EnginesAgreeInEarlyStart) {
    NEED_GUEST(Image::Plain);
    GuestProcess guest{run_script("poweroff")};
    EXPECT_TRUE(guest.wait_for("Linux version 6.1", patience(10))) << CONSOLE(guest);
    guest.terminate();
    guest.wait_for_exit(patience(2));
    EXPECT_EQ(guest.errors().find("differ"), std::string::npos) << CONSOLE(guest);
}

TEST(Boot, ResetEndsWithStatus3) {
    NEED_GUEST(Image::Plain);
    GuestProcess guest{run_script("reboot")};
    EXPECT_TRUE(guest.wait_for("undercroft: init reached at ", patience(60))) << CONSOLE(guest);
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 3) << CONSOLE(guest);
}

TEST(Boot, PanicResets) {
    NEED_GUEST(Image::Plain);
    GuestProcess guest{run_script("crash")};
    EXPECT_TRUE(guest.wait_for("Kernel panic", patience(60))) << CONSOLE(guest);
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 3) << CONSOLE(guest);
}

TEST(Boot, RebootOptionStartsAgain) {
    NEED_GUEST(Image::Plain);
    std::vector<std::string> arguments = run_script("reboot");
    arguments.emplace_back("--reboot");
    GuestProcess guest{arguments};
    for (int boot = 0; boot < 3; ++boot)
        ASSERT_TRUE(guest.wait_for("undercroft: init reached at ", patience(60)))
            << "boot " << boot << ": " << CONSOLE(guest);
    guest.terminate();
    EXPECT_NE(guest.wait_for_exit(patience(10)), 0);
}

TEST(Boot, ShellTakesCommands) {
    NEED_GUEST(Image::Plain);
    GuestProcess guest{run_script("shell")};
    ASSERT_TRUE(guest.wait_for("undercroft: init reached at ", patience(60))) << CONSOLE(guest);
    ASSERT_TRUE(guest.wait_for("# ", patience(30))) << CONSOLE(guest);
    guest.send("echo sum=$((40 + 2))\n");
    EXPECT_TRUE(guest.wait_for("sum=42", patience(20))) << CONSOLE(guest);
    // From its answer on, the foreground process is one that Ctrl-C kills. (The shell's line editor takes
    // Ctrl-C for a byte, and between two commands busybox's shell may lose it, on bare processors, too.)
    guest.send("sh -c 'echo waits=$((1 + 1)); exec sleep 1000'\n");
    EXPECT_TRUE(guest.wait_for("waits=2", patience(20))) << CONSOLE(guest);
    guest.send("\x03");  // goes to the guest
    guest.send("uname -m; exit\n");
    EXPECT_TRUE(guest.wait_for("x86_64", patience(20))) << CONSOLE(guest);
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
}

TEST(Boot, StatisticsNameWhatAGuestDid) {
    NEED_GUEST(Image::Plain);
    std::vector<std::string> arguments = run_script("poweroff");
    arguments.emplace_back("--stats");
    GuestProcess guest{arguments};
    ASSERT_EQ(guest.wait_for_exit(patience(60)), 0) << CONSOLE(guest);
    for (const char* figure :
         {"- translating", "- single steps", "- guest code and its traps", "system calls", "#PF page fault",
          "TLB misses, read", "TLB misses, write", "blocks translated", "code cache bytes", "overhead"}) {
        std::size_t line = guest.errors().find(std::string{"\n  "} + figure + " ");
        ASSERT_NE(line, std::string::npos) << figure << " is missing in:\n" << guest.errors();
        std::string text = guest.errors().substr(line + 1, guest.errors().find('\n', line + 1) - line - 1);
        EXPECT_NE(text.find_first_of("123456789"), std::string::npos) << "nothing was counted: " << text;
    }
}

// What the vector program prints on this host: `VECTOR group HASH`.
std::vector<std::string> host_vector_lines() {
    std::string text;
    std::FILE* pipe = popen(GUESTS_CACHE "/programs/vector", "r");
    std::array<char, 4096> bytes;
    for (std::size_t n; (n = std::fread(bytes.data(), 1, bytes.size(), pipe)) > 0;)
        text.append(bytes.data(), n);
    pclose(pipe);
    return lines_that_begin_with(text, "VECTOR ");
}

// How many RESULT lines say PASS; none may say FAIL.
unsigned passed_results(const std::string& output) {
    unsigned passed = 0;
    for (const std::string& line : lines_that_begin_with(output, "RESULT ")) {
        std::istringstream words{line};
        std::string result, name, verdict;
        words >> result >> name >> verdict;
        EXPECT_NE(verdict, "FAIL") << line;
        passed += verdict == "PASS";
    }
    return passed;
}

// Stressors that pass on a processor pass here; `./run --script stress` runs those that this leaves out.
TEST(Boot, StressorsPass) {
    NEED_GUEST(Image::Stress);
    GuestProcess guest{run_script("stress", Image::Stress, "undercroft.tests=selected")};
    ASSERT_TRUE(guest.wait_for("undercroft: init reached at ", patience(60))) << CONSOLE(guest);
    EXPECT_TRUE(guest.wait_for("TESTS passed=", patience(500))) << CONSOLE(guest);
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
    EXPECT_GE(passed_results(guest.output()), 45u);
}

TEST(Boot, TestProgramsPass) {
    NEED_GUEST(Image::Tests);
    std::string only = setting("UNDERCROFT_TESTS", "");
    GuestProcess guest{run_script("tests", Image::Tests, only.empty() ? "" : "undercroft.tests=" + only)};
    ASSERT_TRUE(guest.wait_for("undercroft: init reached at ", patience(60))) << CONSOLE(guest);
    EXPECT_TRUE(guest.wait_for("TESTS passed=", patience(240))) << CONSOLE(guest);
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
    EXPECT_GE(passed_results(guest.output()), only.empty() ? 50u : 1u);
    // Floating-point and vector results are the host's, bit by bit; groups that the guest is not shown are
    // absent.
    std::vector<std::string> host = host_vector_lines();
    for (const std::string& line : lines_that_begin_with(guest.output(), "VECTOR ")) {
        if (line.find(" absent") != std::string::npos) continue;
        EXPECT_NE(std::find(host.begin(), host.end(), line), host.end()) << "the host has another: " << line;
    }
}

}  // namespace

}  // namespace undercroft
