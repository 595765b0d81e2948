// SPDX-License-Identifier: Apache-2.0
// Direct execution of programs that compute, with stock guests: guests/programs/direct.c checks itself, under
// all that a machine may have to share the host with; and what becomes of the processes that execute it.

#include "pseudo_terminal.hpp"
#include "small_machines.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cctype>
#include <csignal>
#include <regex>
#include <thread>

namespace undercroft {
namespace {

struct Direct : SmallMachines {
    // The path of NAME.toml: a machine whose init runs `script`.
    std::string stock(const std::string& name, const std::string& script,
                      const std::string& more = "") const {
        std::filesystem::path path = folder / (name + ".toml");
        std::ofstream{path} << "kernel = '" << kernel_path() << "'\ninitrd = '" << initrd_path(Image::Tests)
                            << "'\nappend = 'undercroft.script=" << script
                            << "'\nmemory = '192M'\ncpus = " << setting("UNDERCROFT_CPUS", "1") << "\n"
                            << more << "\n";
        return path.string();
    }
    static inline const std::string checks = "tests undercroft.tests=direct";
};

// By the figures at the end, of all machines.
std::uint64_t sum_of(const std::string& name, GuestProcess& guests) {
    std::uint64_t sum = 0;
    std::string errors = guests.errors();
    std::regex figure{"\"" + name + "\": ([0-9]+)"};
    for (std::sregex_iterator it{errors.begin(), errors.end(), figure}; it != std::sregex_iterator{}; ++it)
        sum += std::stoull((*it)[1]);
    return sum;
}
std::uint64_t stays(GuestProcess& guests) { return sum_of("stays_in_direct_execution", guests); }

void expect_all_checks(GuestProcess& guests, unsigned machines = 1) {
    for (unsigned n = 0; n < machines; ++n)
        EXPECT_TRUE(guests.wait_for("TESTS passed=18 failed=0 skipped=0", patience(100)))
            << CONSOLE_OF(guests);
    EXPECT_EQ(guests.wait_for_exit(patience(30)), 0) << CONSOLE_OF(guests);
}

// Its child that executes guest code; zero: it has none yet.
pid_t guest_process_of(pid_t monitor) {
    for (const auto& entry : std::filesystem::directory_iterator{"/proc"}) {
        if (std::isdigit(entry.path().filename().string().front()) == 0) continue;
        std::ifstream stat{entry.path() / "stat"};
        std::string text{std::istreambuf_iterator<char>{stat}, {}};
        std::smatch found;
        if (std::regex_search(text, found, std::regex{"^([0-9]+) \\((.*)\\) [^Z] ([0-9]+) "}) &&
            std::stoi(found[3]) == monitor)
            return std::stoi(found[1]);
    }
    return 0;
}

// When there is one.
pid_t wait_for_guest_process(GuestProcess& guests) {
    for (int n = 0; n < 300; ++n) {
        if (pid_t pid = guest_process_of(guests.pid()); pid != 0) return pid;
        guests.wait_for("never printed", 0.1);
    }
    return 0;
}

// Those of the calling thread, and of what it starts.
void refuse(unsigned call) {
    constexpr unsigned number = 0;  // offset in seccomp_data
    sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    sock_fprog filter{4, rules};
    ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

TEST_F(Direct, ProgramsThatComputeAreRight) {
    NEED_GUEST(Image::Tests);
    GuestProcess guest{{"run", stock("one", checks), "--json"}};
    expect_all_checks(guest);
    EXPECT_GT(stays(guest), 100u) << guest.errors();
}

TEST_F(Direct, AndWithoutIt) {
    NEED_GUEST(Image::Tests);
    GuestProcess guest{{"run", stock("one", checks, "direct = false"), "--json"}};
    expect_all_checks(guest);
    EXPECT_EQ(guest.errors().find("stays_in_direct_execution"), std::string::npos) << guest.errors();
}

TEST_F(Direct, TwoGuestsWithEqualPages) {
    NEED_GUEST(Image::Tests);
    GuestProcess guests{{"run", stock("one", checks), stock("another", checks), "--json"}};
    expect_all_checks(guests, 2);
    EXPECT_GT(stays(guests), 200u) << guests.errors();
}

TEST_F(Direct, InAPoolThatIsTooSmall) {
    NEED_GUEST(Image::Tests);
    GuestProcess guests{
        {"run", stock("one", checks), stock("another", checks), "--pool", "64M", "--swap", folder, "--json"}};
    expect_all_checks(guests, 2);
    EXPECT_GT(stays(guests), 100u) << guests.errors();
    EXPECT_GT(sum_of("swapped_bytes", guests), 0u) << guests.errors();
}

TEST_F(Direct, WithACap) {
    NEED_GUEST(Image::Tests);
    GuestProcess guest{{"run", stock("one", checks, "cap = 50"), "--json"}};
    expect_all_checks(guest);
    EXPECT_GT(stays(guest), 100u) << guest.errors();
}

TEST_F(Direct, PausedAndResumed) {
    NEED_GUEST(Image::Tests);
    GuestProcess guest{{"run", stock("one", checks), "--json"}};
    ASSERT_NE(wait_for_guest_process(guest), 0) << CONSOLE_OF(guest);
    for (int n = 0; n < 5; ++n) {
        EXPECT_EQ(undercroft({"pause", "one"}).status, 0);
        EXPECT_EQ(undercroft({"resume", "one"}).status, 0);
    }
    expect_all_checks(guest);
    EXPECT_GT(stays(guest), 100u) << guest.errors();
}

// kill -9, or the host for want of memory: what the process held is gone, and so is the machine.
TEST_F(Direct, AProcessThatIsKilledEndsItsMachine) {
    NEED_GUEST(Image::Tests);
    GuestProcess guests{
        {"run", machine("echo", small::echo), stock("spin", "shell", "console = 'unix:console'")}};
    ASSERT_TRUE(guests.wait_for("ready", patience(20))) << CONSOLE_OF(guests);
    GuestProcess shell{{"console", "spin"}};
    ASSERT_TRUE(shell.wait_for("init reached", patience(60))) << CONSOLE_OF(shell) << CONSOLE_OF(guests);
    shell.send("direct spin\n");
    ASSERT_TRUE(shell.wait_for("undercroft: spinning", patience(30))) << CONSOLE_OF(shell);
    // One that is killed between two stays is replaced.
    const std::string ended = "undercroft: spin: its state is lost\n";
    for (int n = 0; n < 200 && guests.errors().find(ended) == std::string::npos; ++n) {
        if (pid_t pid = guest_process_of(guests.pid()); pid != 0) kill(pid, SIGKILL);
        guests.wait_for("never printed", 0.1);
    }
    EXPECT_NE(guests.errors().find(ended), std::string::npos) << CONSOLE_OF(guests);
    guests.send("one\n");
    EXPECT_TRUE(guests.wait_for("one", patience(30))) << CONSOLE_OF(guests);
    EXPECT_EQ(undercroft({"stop", "--now", "echo"}).status, 0);
    EXPECT_EQ(guests.wait_for_exit(patience(20)), 1) << CONSOLE_OF(guests);
    EXPECT_NE(guests.errors().find("undercroft: spin: direct execution: the guest process was killed"),
              std::string::npos)
        << guests.errors();
}

// Neither of it nor of its machine is anything left.
TEST_F(Direct, DiesWithTheMonitor) {
    NEED_GUEST(Image::Tests);
    for (int signal : {SIGKILL, SIGTERM, SIGINT}) {
        GuestProcess guest{{"run", stock("spin", "shell")}};
        guest.send("direct spin\n");
        ASSERT_TRUE(guest.wait_for("undercroft: spinning", patience(60))) << CONSOLE_OF(guest);
        pid_t pid = wait_for_guest_process(guest);
        ASSERT_NE(pid, 0);
        pollfd end{static_cast<int>(syscall(SYS_pidfd_open, pid, 0)), POLLIN, 0};
        ASSERT_GE(end.fd, 0);
        kill(guest.pid(), signal);
        EXPECT_EQ(guest.wait_for_exit(patience(10)), std::nullopt) << "killed by the signal";
        EXPECT_EQ(poll(&end, 1, static_cast<int>(patience(10'000))), 1) << signal;
        close(end.fd);
    }
}

TEST_F(Direct, LeavesTheTerminalAsItWas) {
    NEED_GUEST(Image::Tests);
    PseudoTerminal terminal{25, 80};
    termios before = terminal.modes();
    terminal.start(UNDERCROFT_PROGRAM, {"run", stock("spin", "shell")});
    ASSERT_TRUE(terminal.wait_for("# ", patience(60))) << terminal.output();
    terminal.type("direct spin\n");
    ASSERT_TRUE(terminal.wait_for("undercroft: spinning", patience(30))) << terminal.output();
    terminal.type("\x1a");  // Ctrl-Z and Ctrl-C are the guest's
    ASSERT_TRUE(terminal.wait_for("Stopped", patience(30))) << terminal.output();
    ASSERT_TRUE(terminal.wait_for("# ", patience(30))) << terminal.output();
    terminal.type("fg\n");
    ASSERT_TRUE(terminal.wait_for("fg\r\ndirect spin", patience(30))) << terminal.output();
    terminal.type("\x03");
    ASSERT_TRUE(terminal.wait_for("# ", patience(30))) << terminal.output();
    terminal.type("direct spin\n");
    ASSERT_TRUE(terminal.wait_for("undercroft: spinning", patience(30))) << terminal.output();
    terminal.type("\x01x");
    EXPECT_EQ(terminal.wait_for_exit(), 0) << terminal.output();
    termios after = terminal.modes();
    EXPECT_EQ(after.c_lflag, before.c_lflag);
    EXPECT_EQ(after.c_iflag, before.c_iflag);
    EXPECT_EQ(after.c_oflag, before.c_oflag);
}

// Everything is translated then, and one line says why.
TEST_F(Direct, AHostWithoutTracing) {
    NEED_GUEST(Image::Tests);
    std::string one = stock("one", checks);
    std::thread{[&] {
        refuse(SYS_ptrace);
        GuestProcess guest{{"run", one, "--json", "--log", "info"}};
        expect_all_checks(guest);
        EXPECT_EQ(stays(guest), 0u);
        EXPECT_EQ(
            count(guest.errors(), "no direct execution: guest process: the host does not let it be traced"),
            std::stoul(setting("UNDERCROFT_CPUS", "1")))
            << guest.errors();
    }}.join();
}

TEST_F(Direct, AUserWithNoProcessLeft) {
    NEED_GUEST(Image::Tests);
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody who has no other process";
    std::filesystem::permissions(folder, std::filesystem::perms::all);
    GuestProcess guest{{"run", stock("one", checks), "--json", "--log", "info"},
                       {"setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"}};
    ASSERT_TRUE(guest.wait_for("Linux version", patience(60))) << CONSOLE_OF(guest);
    pid_t same_user = fork();
    if (same_user == 0) {
        rlimit one{1, 1};
        _exit(setresgid(54321, 54321, 54321) != 0 || setresuid(54321, 54321, 54321) != 0 ||
              prlimit(guest.pid(), RLIMIT_NPROC, &one, nullptr) != 0);
    }
    int status = -1;
    ASSERT_EQ(waitpid(same_user, &status, 0), same_user);
    ASSERT_EQ(status, 0);
    expect_all_checks(guest);
    EXPECT_EQ(stays(guest), 0u);
    EXPECT_NE(guest.errors().find("no direct execution: guest process: Resource temporarily unavailable"),
              std::string::npos)
        << guest.errors();
}

TEST_F(Direct, AUserWhoIsNotRoot) {
    NEED_GUEST(Image::Tests);
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
    std::filesystem::permissions(folder, std::filesystem::perms::all);
    GuestProcess guest{{"run", stock("one", checks), "--json"},
                       {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}};
    expect_all_checks(guest);
    EXPECT_GT(stays(guest), 100u) << guest.errors();
}

}  // namespace
}  // namespace undercroft
