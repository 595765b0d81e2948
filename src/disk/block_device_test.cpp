// SPDX-License-Identifier: Apache-2.0
// Block devices of the host as disks: loop devices on files, where the host lets us make some.
#include "base/fd.hpp"
#include "disk/file_window.hpp"
#include "disk/open_disk.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

bool succeeds(const std::string& command) {
    return std::system((command + " > /dev/null 2>&1").c_str()) == 0;
}

struct BlockDevice : testing::Test {
    static constexpr std::uint64_t size = 8 << 20;
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-device-" + std::to_string(getpid()));
    std::string device;  // empty: none
    bool is_mounted = false;

    void SetUp() override { fs::create_directories(folder); }
    void TearDown() override {
        EXPECT_TRUE(device.empty() || succeeds("losetup --detach " + device));
        EXPECT_TRUE(!is_mounted || succeeds("umount --lazy " + folder.string()));
        fs::remove_all(folder);
    }

    std::string file() const { return (folder / "file").string(); }
    // On a new file, with blocks of this size. Whether there is one.
    bool make_device(unsigned block) {
        std::ofstream{file(), std::ios::binary};
        fs::resize_file(file(), size);
        std::string command = "losetup --find --show --sector-size " + std::to_string(block) + " " + file();
        FILE* pipe = ::popen((command + " 2>/dev/null").c_str(), "r");
        char line[64] = "";
        bool is_named = pipe != nullptr && std::fgets(line, sizeof line, pipe) != nullptr;
        if (pipe == nullptr || ::pclose(pipe) != 0 || !is_named) return false;
        device = line;
        device.erase(device.find_last_not_of('\n') + 1);
        (void)succeeds("udevadm settle");  // which locks new devices to look at them, where there is udev
        return true;
    }
    std::string contents() const {
        std::ifstream stream{file(), std::ios::binary};
        return {std::istreambuf_iterator<char>{stream}, {}};
    }
    std::unique_ptr<Disk> open() const {
        auto disk = open_disk({.path = device, .format = DiskFormat::Raw});
        EXPECT_TRUE(disk) << disk.error().message;
        return disk ? *std::move(disk) : nullptr;
    }
    static DiskStatus put(Disk& disk, std::uint64_t offset, std::string bytes) {
        iovec buffer{bytes.data(), bytes.size()};
        return disk.write(offset, {&buffer, 1});
    }
};

TEST_F(BlockDevice, HoldsWhatIsWritten) {
    for (unsigned block : {512u, 4096u}) {
        if (!make_device(block)) GTEST_SKIP() << "no loop device of " << block << " to be had";
        auto disk = open();
        ASSERT_NE(disk, nullptr);
        EXPECT_EQ(disk->size(), size);
        EXPECT_GE(disk->topology().physical_block_size, block);
        EXPECT_GE(disk->topology().minimum_io_size, block);
        EXPECT_NE(open_disk({.path = device}).error().message.find("in use"), std::string::npos);
        std::string expected(size, '\0');
        auto write = [&](std::uint64_t offset, std::size_t length, char with) {
            EXPECT_EQ(put(*disk, offset, std::string(length, with)), DiskStatus::Ok);
            expected.replace(offset, length, length, with);
        };
        auto zero = [&](std::uint64_t offset, std::size_t length, bool may_unmap) {
            EXPECT_EQ(disk->write_zeroes(offset, length, may_unmap), DiskStatus::Ok);
            expected.replace(offset, length, length, '\0');
        };
        write(0, size, 'a');
        write(512, 512, 'b');                                                  // a part of a block
        for (int again = 0; again < 3; ++again) write(1 << 20, 1 << 20, 'c');  // large ones
        zero(65536, 65536, false);
        zero(262144, 65536, true);
        zero(524288 + 512, 1024, false);  // parts of blocks
        zero(524288 + 8192 + 512, 1024, true);
        EXPECT_EQ(disk->flush(), DiskStatus::Ok);
        EXPECT_TRUE(contents() == expected) << "blocks of " << block;
        std::string got(size, '?');
        iovec buffer{got.data(), got.size()};
        EXPECT_EQ(disk->read(0, {&buffer, 1}), DiskStatus::Ok);
        EXPECT_TRUE(got == expected);
        DiskStatus discarded = disk->discard(4096, 4096);
        EXPECT_TRUE(discarded == DiskStatus::Ok || discarded == DiskStatus::Unsupported);
        EXPECT_NE(disk->discard(512, 512), DiskStatus::Failed) << "a hint, whatever its size";
        disk.reset();
        EXPECT_TRUE(succeeds("losetup --detach " + device));
        device.clear();
    }
}

// A device's node lies in a tmpfs, its bytes do not.
TEST_F(BlockDevice, OnlyReadsGoByAMapping) {
    if (!make_device(512)) GTEST_SKIP() << "no loop device to be had";
    Fd fd{::open(device.c_str(), O_RDWR | O_CLOEXEC)};
    FileWindow window{fd.get()};
    std::string bytes(1 << 20, 'w');
    iovec buffer{bytes.data(), bytes.size()};
    ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), 0), 1 << 20);
    EXPECT_FALSE(window.read(0, {&buffer, 1})) << "it is not mapped yet";
    EXPECT_TRUE(window.read(0, {&buffer, 1}));
    EXPECT_FALSE(window.write(0, {&buffer, 1}));
}

// The host's file system takes no more when the device writes back what it took.
TEST_F(BlockDevice, AFlushThatFailedIsNotForgotten) {
    is_mounted = succeeds("mount -t tmpfs -o size=1m tmpfs " + folder.string());
    if (!is_mounted) GTEST_SKIP() << "may not mount";
    if (!make_device(512)) GTEST_SKIP() << "no loop device to be had";
    auto disk = open();
    ASSERT_NE(disk, nullptr);
    EXPECT_EQ(put(*disk, 0, std::string(4 << 20, 'x')), DiskStatus::Ok);
    EXPECT_EQ(disk->flush(), DiskStatus::Failed);
    EXPECT_EQ(disk->flush(), DiskStatus::Failed);
    EXPECT_NE(contents().substr(0, 4 << 20), std::string(4 << 20, 'x')) << "it is lost";
}

}  // namespace
}  // namespace undercroft
