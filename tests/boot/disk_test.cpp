// SPDX-License-Identifier: Apache-2.0
// A stock kernel finds its disks, writes and reads them, and the host's files hold what it wrote.

#include "guest_process.hpp"
#include "settings.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

#define CONSOLE(guest) "console:\n" << (guest).output() << "\nerrors:\n" << (guest).errors()

struct Disks : testing::Test {
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-disks-" + std::to_string(getpid()));
    void SetUp() override { fs::create_directories(folder); }
    void TearDown() override { fs::remove_all(folder); }

    std::string file(const std::string& name, const std::string& bytes) const {
        std::ofstream{folder / name, std::ios::binary} << bytes;
        return (folder / name).string();
    }
    static std::string contents(const std::string& path) {
        std::ifstream stream{path, std::ios::binary};
        return {std::istreambuf_iterator<char>{stream}, {}};
    }
};

// What `seq 1 1000000` prints.
std::string pattern(std::size_t size) {
    std::string text;
    for (unsigned n = 1; text.size() < size; ++n) text += std::to_string(n) + "\n";
    text.resize(size);
    return text;
}

TEST_F(Disks, HoldWhatTheGuestWrites) {
    NEED_GUEST(Image::Plain);
    constexpr std::size_t part = 4 << 20;
    std::string writable = file("writable", std::string(4 * part, 'x'));
    std::string read_only_bytes = "undercroft" + std::string(512 * 1024 - 10, 'r');
    std::string read_only = file("read-only", read_only_bytes);
    std::vector<std::string> arguments = run_script("disk");
    for (const std::string& more :
         {std::string{"--disk"}, writable, std::string{"--disk"}, read_only + ",ro"})
        arguments.push_back(more);
    GuestProcess guest{arguments};
    ASSERT_TRUE(guest.wait_for("undercroft: init reached at ", patience(60))) << CONSOLE(guest);
    ASSERT_TRUE(guest.wait_for("DISK done", patience(60))) << CONSOLE(guest);
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
    EXPECT_EQ(guest.output().find(" FAIL"), std::string::npos) << CONSOLE(guest);
    std::size_t passed = 0;
    for (std::size_t at = guest.output().find(" PASS"); at != std::string::npos;
         at = guest.output().find(" PASS", at + 1))
        ++passed;
    EXPECT_EQ(passed, 14u) << CONSOLE(guest);
    EXPECT_EQ(guest.errors().find("disk '"), std::string::npos) << "no queue was broken: " << guest.errors();

    std::string got = contents(writable);
    ASSERT_EQ(got.size(), 4 * part);
    for (std::size_t n = 0; n < 4; ++n)
        EXPECT_TRUE(got.substr(n * part, part) == pattern(part)) << "part " << n;
    EXPECT_TRUE(contents(read_only) == read_only_bytes);
}

// A running machine keeps its file to itself.
TEST_F(Disks, AreLockedWhileAMachineRuns) {
    NEED_GUEST(Image::Plain);
    std::string path = file("disk", std::string(1 << 20, 'x'));
    std::vector<std::string> arguments = run_script("idle");
    arguments.insert(arguments.end(), {"--disk", path});
    GuestProcess guest{arguments};
    ASSERT_TRUE(guest.wait_for("undercroft: idle begins", patience(60))) << CONSOLE(guest);
    GuestProcess second{arguments};
    EXPECT_EQ(second.wait_for_exit(patience(30)), 2) << CONSOLE(second);
    EXPECT_NE(second.errors().find("disk '" + path + "': in use"), std::string::npos) << second.errors();
    guest.terminate();
    guest.wait_for_exit(patience(10));
    GuestProcess third{arguments};
    EXPECT_TRUE(third.wait_for("undercroft: idle begins", patience(60))) << "free again: " << CONSOLE(third);
}

}  // namespace
}  // namespace undercroft
