// SPDX-License-Identifier: Apache-2.0
// Commands in machines of their own (`undercroft exec`), on the kernel that ./test has fetched and this
// host's files.

#include "guest_process.hpp"
#include "pseudo_terminal.hpp"
#include "settings.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

#define SHOWN(guest) "output:\n" << (guest).output().substr(0, 4000) << "\nerrors:\n" << (guest).errors()

// Of all values, and never the same for long. `size` is a multiple of 8.
std::string any_bytes(std::size_t size) {
    std::string bytes(size, '\0');
    std::uint64_t state = 1;
    for (std::size_t n = 0; n < size; n += sizeof state) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        std::memcpy(bytes.data() + n, &state, sizeof state);
    }
    return bytes;
}

// Each in a working folder of its own.
struct Exec : testing::Test {
    fs::path before = fs::current_path();
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-exec-" + std::to_string(getpid()));
    void SetUp() override {
        NEED_GUEST(Image::Plain);
        fs::create_directories(folder);
        fs::current_path(folder);
    }
    void TearDown() override {
        fs::current_path(before);
        fs::remove_all(folder);
    }

    static std::vector<std::string> command(std::vector<std::string> words,
                                            const std::vector<std::string>& options = {}) {
        std::vector<std::string> arguments{"exec", "--kernel", kernel_path(), "--cpus",
                                           setting("UNDERCROFT_CPUS", "1")};
        arguments.insert(arguments.end(), options.begin(), options.end());
        arguments.emplace_back("--");
        arguments.insert(arguments.end(), words.begin(), words.end());
        return arguments;
    }
    static std::vector<std::string> shell(const std::string& script,
                                          const std::vector<std::string>& options = {}) {
        return command({"sh", "-c", script}, options);
    }
    std::string contents(const std::string& name) const {
        std::ifstream stream{folder / name, std::ios::binary};
        return {std::istreambuf_iterator<char>{stream}, {}};
    }
    static void expect_status(const std::vector<std::string>& arguments, int status,
                              const std::string& error = "") {
        GuestProcess guest{arguments};
        EXPECT_EQ(guest.wait_for_exit(patience(60)), status) << SHOWN(guest);
        EXPECT_EQ(guest.errors(), error);
    }
};

TEST_F(Exec, TheStatusIsTheCommands) {
    expect_status(command({"true"}), 0);
    expect_status(shell("exit 7"), 7);
    expect_status(command({"nonesuch"}), 127, "undercroft: command 'nonesuch': No such file or directory\n");
    expect_status(command({"/etc/passwd"}), 126, "undercroft: command '/etc/passwd': Permission denied\n");
    expect_status(shell("kill -9 $$"), 128 + SIGKILL);
}

TEST_F(Exec, StreamsAreApartAndExact) {
    std::string bytes = any_bytes(100'000);
    GuestProcess guest{shell("cat; echo wrong >&2; exec >&-; echo late >&2")};
    guest.send(bytes);
    guest.close_input();
    EXPECT_EQ(guest.wait_for_exit(patience(60)), 0);
    EXPECT_TRUE(guest.output() == bytes) << guest.output().size() << " bytes";
    EXPECT_EQ(guest.errors(), "wrong\nlate\n");
}

TEST_F(Exec, PassesAHundredMegabytesOn) {
    std::string bytes = any_bytes(100 << 20);
    std::ofstream{folder / "bytes", std::ios::binary} << bytes;
    GuestProcess guest{command({"cat", "bytes"})};
    EXPECT_EQ(guest.wait_for_exit(patience(100)), 0) << guest.errors();
    EXPECT_TRUE(guest.output() == bytes) << guest.output().size() << " bytes";
}

TEST_F(Exec, TheWorkingFolderIsTheHosts) {
    std::ofstream{folder / "read"} << "from the host";
    expect_status(
        shell("[ \"$(cat read)\" = 'from the host' ] && [ \"$PWD\" = '" + fs::current_path().string() +
              "' ] && printf 'from the guest' > made && mkdir -p a/b && mv made a/b && rm read"),
        0);
    EXPECT_EQ(contents("a/b/made"), "from the guest");
    EXPECT_FALSE(fs::exists(folder / "read"));
    expect_status(shell("cat a/b/made >/dev/null && ! touch a/b/other 2>/dev/null", {"--read-only"}), 0);
    EXPECT_FALSE(fs::exists(folder / "a/b/other"));
}

TEST_F(Exec, TheRootIsACopyInMemory) {
    std::ifstream stream{"/etc/passwd", std::ios::binary};
    std::string passwords{std::istreambuf_iterator<char>{stream}, {}};
    ASSERT_FALSE(fs::exists("/undercroft-new"));
    GuestProcess guest{
        shell("cat /etc/passwd; echo more >> /etc/passwd && tail -n 1 /etc/passwd >&2; "
              "echo new > /undercroft-new && cat /undercroft-new >&2; rm -r /etc/default; ls /etc/default")};
    EXPECT_EQ(guest.wait_for_exit(patience(60)), 2) << SHOWN(guest);
    EXPECT_EQ(guest.output(), passwords);
    EXPECT_TRUE(guest.errors().starts_with("more\nnew\nls: ")) << guest.errors();
    EXPECT_FALSE(fs::exists("/undercroft-new"));
    EXPECT_TRUE(fs::exists("/etc/default"));
}

// One that holds a shell, and nothing else that a system has.
TEST_F(Exec, AnyFolderCanBeTheRoot) {
    fs::create_directories(folder / "root/bin");
    fs::copy_file(GUESTS_CACHE "/busybox/bin/busybox", folder / "root/bin/busybox");
    fs::create_symlink("busybox", folder / "root/bin/sh");
    expect_status(shell("[ ! -e /etc ] && [ -d /proc/self ] && echo new > /bin/new && "
                        "busybox cp /bin/new made",
                        {"--root", "root"}),
                  0);
    EXPECT_EQ(contents("made"), "new\n");
    EXPECT_FALSE(fs::exists(folder / "root/bin/new"));
    EXPECT_FALSE(fs::exists(folder / "root/proc"));
}

TEST_F(Exec, AUserWhoIsNotRootIsTheGuestsRoot) {
    uid_t user = ::geteuid();
    std::vector<std::string> starter;
    if (user == 0) {
        user = 65534;
        starter = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--reset-env"};
        ASSERT_EQ(::chown(folder.c_str(), user, user), 0);
        GuestProcess help{{"--help"}, starter};
        if (help.wait_for_exit(patience(10)) != 0) GTEST_SKIP() << "only root may read this build";
    }
    GuestProcess guest{shell("id -u && touch made && stat -c '%u %a' . made && cat /etc/shadow"), starter};
    EXPECT_EQ(guest.wait_for_exit(patience(60)), 1) << SHOWN(guest);
    EXPECT_EQ(guest.output(), "0\n0 755\n0 644\n");
    EXPECT_EQ(guest.errors(), "cat: /etc/shadow: Permission denied\n");
    struct stat status {};
    ASSERT_EQ(::stat("made", &status), 0);
    EXPECT_EQ(status.st_uid, user);
}

TEST_F(Exec, TheEnvironmentIsTheCallers) {
    ::setenv("UNDERCROFT_TRIED", "before", 1);
    ::setenv("UNDERCROFT_KEPT", "a b\nc", 1);
    GuestProcess guest{shell("umask; printf '%s,%s' \"$UNDERCROFT_TRIED\" \"$UNDERCROFT_KEPT\"",
                             {"--env", "UNDERCROFT_TRIED=other"})};
    EXPECT_EQ(guest.wait_for_exit(patience(60)), 0) << SHOWN(guest);
    EXPECT_EQ(guest.output(), "0022\nother,a b\nc");
}

TEST_F(Exec, SignalsReachTheCommand) {
    GuestProcess guest{shell("trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.1; done")};
    ASSERT_TRUE(guest.wait_for("ready", patience(60))) << SHOWN(guest);
    guest.terminate();
    EXPECT_EQ(guest.wait_for_exit(patience(60)), 3) << SHOWN(guest);
    EXPECT_EQ(guest.output(), "ready\ncaught\n");
}

TEST_F(Exec, SignalsReachACommandWhoseOutputNobodyReads) {
    GuestProcess guest{shell("trap 'exit 4' INT; echo ready; yes & wait")};
    ASSERT_TRUE(guest.wait_for("ready", patience(60))) << SHOWN(guest);
    ::kill(guest.pid(), SIGINT);
    EXPECT_EQ(guest.wait_for_exit(patience(60)), 4) << guest.errors();
}

TEST_F(Exec, WhatTheCommandLeavesBehindEndsWithIt) {
    GuestProcess guest{shell("yes & sleep 1000 & echo done >&2")};
    EXPECT_EQ(guest.wait_for_exit(patience(60)), 0) << guest.errors();
    EXPECT_EQ(guest.errors(), "done\n");
}

TEST_F(Exec, APanicIsTheMachinesFailure) {
    GuestProcess guest{shell("echo c > /proc/sysrq-trigger")};
    EXPECT_EQ(guest.wait_for_exit(patience(60)), 125) << SHOWN(guest);
    EXPECT_NE(guest.errors().find("Kernel panic"), std::string::npos) << guest.errors();
    EXPECT_NE(guest.errors().find("undercroft: the machine ended before the command"), std::string::npos);
}

TEST_F(Exec, WithoutModulesItSaysWhatIsMissing) {
    fs::create_directories(folder / "none");
    std::ofstream{folder / "none/modules.dep"};
    GuestProcess guest{command({"true"}, {"--modules", "none"})};
    EXPECT_EQ(guest.wait_for_exit(patience(100)), 125) << SHOWN(guest);
    EXPECT_NE(guest.errors().find("virtio console"), std::string::npos) << guest.errors();
}

TEST_F(Exec, ATerminalIsATerminal) {
    PseudoTerminal terminal{33, 99};
    termios modes = terminal.modes();
    terminal.start(UNDERCROFT_PROGRAM, shell("trap 'stty size' WINCH; test -t 2 && stty size; while :; do "
                                             "read line && echo \"<$line>\"; done"));
    ASSERT_TRUE(terminal.wait_for("33 99\r\n", patience(60))) << terminal.output();
    terminal.resize(44, 111);
    ASSERT_TRUE(terminal.wait_for("44 111\r\n", patience(60))) << terminal.output();
    terminal.type("typed\r");
    ASSERT_TRUE(terminal.wait_for("<typed>\r\n", patience(60))) << terminal.output();
    terminal.type("\3");
    EXPECT_EQ(terminal.wait_for_exit(), 128 + SIGINT) << terminal.output();
    termios after = terminal.modes();
    EXPECT_EQ(after.c_lflag, modes.c_lflag);
    EXPECT_EQ(after.c_oflag, modes.c_oflag);
    EXPECT_EQ(after.c_iflag, modes.c_iflag);
}

}  // namespace
}  // namespace undercroft
