// SPDX-License-Identifier: Apache-2.0
// A stock kernel finds its disks, writes and reads them, and the host's files hold what it wrote.

#include "disk_fixture.hpp"
#include "guest_process.hpp"
#include "pattern.hpp"
#include "settings.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <vector>

namespace undercroft {
namespace {

// What the script prints of a disk whose file lies beside this one, or which is this one.
std::string topology(const std::string& path, std::uint64_t optimal) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    auto block = static_cast<std::uint64_t>(status.st_blksize);
    std::string physical = std::to_string(std::min<std::uint64_t>(block, 4096));
    if (optimal == 0 && block > 4096) optimal = block;
    return "TOPOLOGY " + physical + " " + physical + " " + std::to_string(optimal);
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
    EXPECT_EQ(count(guest.output(), " PASS"), 18u) << CONSOLE(guest);
    EXPECT_NE(guest.output().find(topology(writable, 0)), std::string::npos) << CONSOLE(guest);
    EXPECT_EQ(guest.errors().find("disk '"), std::string::npos) << "no queue was broken: " << guest.errors();

    std::string got = contents(writable);
    ASSERT_EQ(got.size(), 4 * part);
    for (std::size_t n = 0; n < 4; ++n)
        EXPECT_TRUE(got.substr(n * part, part) == pattern(part)) << "part " << n;
    EXPECT_TRUE(contents(read_only) == read_only_bytes);
}

// A guest's writes go to the overlay, the image below stays as it was; the next machine goes on with both.
TEST_F(Disks, OverlaysTakeTheWrites) {
    NEED_GUEST(Image::Plain);
    constexpr std::size_t part = 4 << 20;
    std::string base = file("base", std::string(4 * part, 'x'));
    std::string overlay = (folder / "changes.qcow2").string();
    for (const std::string& where : {overlay, std::string{"discard"}, overlay}) {
        std::vector<std::string> arguments = run_script("disk");
        arguments.insert(arguments.end(), {"--disk", base + ",overlay=" + where});
        GuestProcess guest{arguments};
        ASSERT_TRUE(guest.wait_for("DISK done", patience(90))) << CONSOLE(guest);
        EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
        EXPECT_EQ(guest.output().find(" FAIL"), std::string::npos) << CONSOLE(guest);
        EXPECT_NE(guest.output().find(topology(base, 65536)), std::string::npos) << CONSOLE(guest);
        EXPECT_TRUE(contents(base) == std::string(4 * part, 'x'));
    }
    EXPECT_EQ(shell("qemu-img check " + overlay), 0);
    std::string got = contents(raw_copy(overlay, "qcow2"));
    ASSERT_EQ(got.size(), 4 * part);
    for (std::size_t n = 0; n < 4; ++n)
        EXPECT_TRUE(got.substr(n * part, part) == pattern(part)) << "part " << n;
}

// The host's file system is full: the machine waits, and goes on as if nothing had happened.
TEST_F(Disks, WaitForRoomOnTheHost) {
    NEED_GUEST(Image::Plain);
    if (shell("mount -t tmpfs -o size=6m tmpfs " + folder.string()) != 0) GTEST_SKIP() << "may not mount";
    constexpr std::size_t part = 4 << 20;
    std::string path = file("disk", "");
    fs::resize_file(path, 4 * part);
    std::vector<std::string> arguments = run_script("disk");
    arguments.insert(arguments.end(), {"--disk", path});
    bool done = false;
    {
        GuestProcess guest{arguments};
        bool waits = false;
        for (int i = 0; i < 600 && !waits; ++i) {
            guest.wait_for(" FAIL", patience(0.1));  // or reads what it prints
            waits = guest.errors().find("no room on the host") != std::string::npos;
        }
        EXPECT_TRUE(waits) << CONSOLE(guest);
        EXPECT_EQ(guest.output().find("DISK done"), std::string::npos);
        EXPECT_EQ(shell("mount -o remount,size=64m " + folder.string()), 0);
        done = guest.wait_for("DISK done", patience(60));
        EXPECT_TRUE(done) << CONSOLE(guest);
        EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
        EXPECT_EQ(guest.output().find(" FAIL"), std::string::npos) << CONSOLE(guest);
    }
    if (done) {
        for (std::size_t n = 0; n < 4; ++n)
            EXPECT_TRUE(contents(path).substr(n * part, part) == pattern(part)) << "part " << n;
    }
    EXPECT_EQ(shell("umount " + folder.string()), 0);
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
