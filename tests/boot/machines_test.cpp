// SPDX-License-Identifier: Apache-2.0
// Several machines in one process: stock kernels side by side, their consoles, their ends.

#include "guest_process.hpp"
#include "pattern.hpp"
#include "settings.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

#define CONSOLE(guest) "console:\n" << (guest).output() << "\nerrors:\n" << (guest).errors()

struct Machines : testing::Test {
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-machines-" + std::to_string(getpid()));

    void SetUp() override { fs::create_directories(folder); }
    void TearDown() override { fs::remove_all(folder); }

    // The path of NAME.toml: a machine whose init runs `script`.
    std::string machine(const std::string& name, const std::string& script, const std::string& more = "",
                        const std::string& flavour = "cloud") const {
        std::string cache = GUESTS_CACHE;
        fs::path path = folder / (name + ".toml");
        std::ofstream{path} << "kernel = '" << cache << "/" << flavour << "/vmlinuz'\n"
                            << "initrd = '" << cache << "/initramfs-" << flavour << ".cpio'\n"
                            << "append = 'undercroft.script=" << script << "'\n"
                            << "memory = '192M'\n"
                            << more << "\n";
        return path.string();
    }
    std::string contents(const std::string& name) const {
        std::ostringstream text;
        text << std::ifstream{folder / name}.rdbuf();
        return text.str();
    }
};

// Of the first machine, by the figures at the end.
std::uint64_t shared_bytes(GuestProcess& guests) {
    std::smatch found;
    std::string errors = guests.errors();
    bool there = std::regex_search(errors, found, std::regex{"\"shared_bytes\": ([0-9]+)"});
    EXPECT_TRUE(there) << errors;
    return there ? std::stoull(found[1]) : 0;
}

TEST_F(Machines, TwoKernelsBootSideBySide) {
    NEED_GUEST(Image::Plain);
    std::string other = fs::exists(std::string{GUESTS_CACHE} + "/initramfs-amd64.cpio") ? "amd64" : "cloud";
    GuestProcess guests{{"run", machine("one", "poweroff", "log-file = 'log'"),
                         machine("another", "poweroff", "console = 'file:console'", other)}};
    EXPECT_TRUE(guests.wait_for("one     | undercroft: init reached at ", patience(60))) << CONSOLE(guests);
    EXPECT_EQ(guests.wait_for_exit(patience(60)), 0) << CONSOLE(guests);
    EXPECT_EQ(guests.output().find("another |"), std::string::npos);
    EXPECT_NE(contents("log").find("undercroft: init reached at "), std::string::npos);
    EXPECT_NE(contents("console").find("undercroft: init reached at "), std::string::npos);
    EXPECT_NE(guests.errors().find("undercroft: one: powered off\n"), std::string::npos);
    EXPECT_NE(guests.errors().find("undercroft: another: powered off\n"), std::string::npos);
}

TEST_F(Machines, TheWorstEndCountsAndTheOthersGoOn) {
    NEED_GUEST(Image::Plain);
    GuestProcess guests{{"run", machine("shell", "shell"), machine("panics", "crash")}};
    EXPECT_TRUE(guests.wait_for("panics | ", patience(60))) << CONSOLE(guests);
    EXPECT_TRUE(guests.wait_for("Kernel panic", patience(60))) << CONSOLE(guests);
    guests.send("echo sum=$((40 + 2)); exit\n");  // for the first, which is attached
    EXPECT_TRUE(guests.wait_for("sum=42", patience(60))) << CONSOLE(guests);
    EXPECT_EQ(guests.wait_for_exit(patience(30)), 3) << CONSOLE(guests);
    EXPECT_NE(guests.errors().find("undercroft: panics: reset\n"), std::string::npos) << guests.errors();
    EXPECT_NE(guests.errors().find("undercroft: shell: powered off\n"), std::string::npos) << guests.errors();
}

TEST_F(Machines, IdleOnesShareMemory) {
    NEED_GUEST(Image::Plain);
    std::string idle = "idle undercroft.bytes=8";
    GuestProcess guests{{"run", machine("one", idle), machine("another", idle), "--json"}};
    EXPECT_EQ(guests.wait_for_exit(patience(90)), 0) << CONSOLE(guests);
    for (const char* name : {"one     | ", "another | "})
        EXPECT_NE(guests.output().find(std::string{name} + "undercroft: idle ends"), std::string::npos);
    // Most of what an idle guest has touched, some 60 MiB, is alike in both.
    EXPECT_GT(shared_bytes(guests), std::uint64_t{20} << 20);
}

// 192 MiB on 48: what a guest writes comes back from the swap file.
TEST_F(Machines, SwapsWhatThePoolHasNoRoomFor) {
    NEED_GUEST(Image::Plain);
    GuestProcess guest{{"run", machine("large", "shell"), "--pool", "48M", "--swap", folder, "--json"}};
    guest.send("seq 1 8000000 >/a; md5sum /a; md5sum </a; exit\n");
    EXPECT_TRUE(guest.wait_for("a4e6a3c6d05a9d3cea759cc8e1066294  /a", patience(120))) << CONSOLE(guest);
    EXPECT_TRUE(guest.wait_for("a4e6a3c6d05a9d3cea759cc8e1066294  -", patience(120))) << CONSOLE(guest);
    EXPECT_EQ(guest.wait_for_exit(patience(60)), 0) << CONSOLE(guest);
    std::smatch swapped;
    std::string errors = guest.errors();
    ASSERT_TRUE(std::regex_search(errors, swapped, std::regex{"\"swapped_bytes\": ([0-9]+)"})) << errors;
    EXPECT_GT(std::stoull(swapped[1]), std::uint64_t{40} << 20) << errors;
}

TEST_F(Machines, OneRebootsWhileAnotherRuns) {
    NEED_GUEST(Image::Plain);
    GuestProcess guests{{"run", machine("shell", "shell"), machine("again", "reboot", "reboot = true")}};
    for (int boot = 0; boot < 3; ++boot)
        ASSERT_TRUE(guests.wait_for("again | undercroft: init reached at ", patience(60))) << CONSOLE(guests);
    guests.send("echo sum=$((40 + 2))\n");
    EXPECT_TRUE(guests.wait_for("sum=42", patience(60))) << CONSOLE(guests);
    guests.terminate();
    EXPECT_EQ(guests.wait_for_exit(patience(10)), std::nullopt) << "killed by the signal";
}

// Each reads all of it twice, and finds what is there.
TEST_F(Machines, ReadOneImage) {
    NEED_GUEST(Image::Plain);
    std::string image = (folder / "image").string();
    std::ofstream{image, std::ios::binary} << pattern(32 << 20);
    std::string disk = "disks = ['image,overlay=discard']";
    GuestProcess guests{{"run", machine("one", "image", disk), machine("two", "image", disk), "--json"}};
    EXPECT_EQ(guests.wait_for_exit(patience(100)), 0) << CONSOLE(guests);
    for (const char* name : {"one", "two"}) {
        std::string line = std::string{name} + " *\\| IMAGE d143401aad40788f254ecc5a585f4376";
        EXPECT_TRUE(std::regex_search(guests.output(), std::regex{line})) << name << CONSOLE(guests);
    }
    EXPECT_EQ(guests.output().find(" FAIL"), std::string::npos) << CONSOLE(guests);
    EXPECT_GT(shared_bytes(guests), std::uint64_t{20} << 20);
}

}  // namespace
}  // namespace undercroft
