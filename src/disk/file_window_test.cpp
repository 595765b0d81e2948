// SPDX-License-Identifier: Apache-2.0
#include "disk/file_window.hpp"

#include "base/fd.hpp"
#include "disk/guarded_copy.hpp"
#include "disk/open_disk.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <string>

namespace undercroft {
namespace {

constexpr std::size_t large = 1 << 20;

iovec buffer(std::string& bytes) { return {bytes.data(), bytes.size()}; }

std::string pattern(std::size_t length, unsigned seed) {
    std::string bytes(length, 0);
    for (char& byte : bytes) {
        seed = seed * 1103515245 + 12345;
        byte = static_cast<char>(seed >> 16);
    }
    return bytes;
}

bool is_tmpfs(int fd) {
    struct statfs status {};
    return ::fstatfs(fd, &status) == 0 && status.f_type == TMPFS_MAGIC;
}

// A file without a name, in memory if the host lets us.
struct FileWindowTest : testing::Test {
    static Fd open() {
        Fd in_memory{::open("/dev/shm", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600)};
        return in_memory ? std::move(in_memory)
                         : Fd{::open(testing::TempDir().c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600)};
    }
    void SetUp() override {
        ASSERT_TRUE(fd);
        put(0, contents);
    }
    void put(std::uint64_t offset, const std::string& bytes) const {
        ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
                  static_cast<ssize_t>(bytes.size()));
    }
    std::string get(std::uint64_t offset, std::size_t length) const {
        std::string bytes(length, '?');
        EXPECT_EQ(::pread(fd.get(), bytes.data(), length, static_cast<off_t>(offset)),
                  static_cast<ssize_t>(length));
        return bytes;
    }
    bool read(std::uint64_t offset, std::string& bytes) {
        iovec one = buffer(bytes);
        return window.read(offset, {&one, 1});
    }
    bool write(std::uint64_t offset, std::string bytes) {
        iovec one = buffer(bytes);
        return window.write(offset, {&one, 1});
    }
    // With two reads the window is there.
    void show(std::uint64_t offset = 0) {
        std::string bytes(FileWindow::smallest_request, '?');
        EXPECT_FALSE(read(offset, bytes)) << "who comes once";
        EXPECT_TRUE(read(offset, bytes));
    }
    std::int64_t blocks() const {
        struct stat status {};
        EXPECT_EQ(::fstat(fd.get(), &status), 0);
        return status.st_blocks;
    }

    std::string contents = pattern(4 * large, 1);
    Fd fd = open();
    FileWindow window{fd.get()};
};

TEST_F(FileWindowTest, ReadsWhatTheFileHasNow) {
    show();
    std::string bytes(large, '?');
    ASSERT_TRUE(read(512, bytes));
    EXPECT_TRUE(bytes == contents.substr(512, large));
    std::string other = pattern(large, 2);
    put(512, other);
    ASSERT_TRUE(read(512, bytes));
    EXPECT_TRUE(bytes == other);

    std::array<std::string, 3> pieces{std::string(70001, '?'), std::string(3, '?'), std::string(4096, '?')};
    std::array<iovec, 3> buffers{buffer(pieces[0]), buffer(pieces[1]), buffer(pieces[2])};
    ASSERT_TRUE(window.read(2 * large + 7, buffers));
    EXPECT_TRUE(pieces[0] + pieces[1] + pieces[2] == contents.substr(2 * large + 7, 70001 + 3 + 4096));
}

TEST_F(FileWindowTest, SmallRequestsAreTheHosts) {
    show();
    std::string bytes(FileWindow::smallest_request - 1, '?');
    EXPECT_FALSE(read(0, bytes));
    EXPECT_FALSE(write(0, bytes));
}

TEST_F(FileWindowTest, LeavesHolesToTheHost) {
    ASSERT_EQ(::ftruncate(fd.get(), 8 * large), 0);
    show();
    std::int64_t before = blocks();
    std::string bytes(large, '?');
    EXPECT_FALSE(read(4 * large, bytes));
    EXPECT_FALSE(read(4 * large - 4096, bytes)) << "a part of it is one";
    EXPECT_FALSE(write(4 * large - 4096, bytes));
    EXPECT_EQ(blocks(), before) << "none was filled";
}

TEST_F(FileWindowTest, AFileThatWasCutIsTheHostsToTell) {
    show();
    ASSERT_EQ(::ftruncate(fd.get(), 2 * large + 100), 0);
    std::string bytes(large, '?');
    EXPECT_TRUE(read(large, bytes));
    EXPECT_FALSE(read(large + 4096, bytes)) << "100 bytes of its last page are there";
    EXPECT_FALSE(write(large + 4096, bytes));
    EXPECT_FALSE(read(3 * large, bytes));
}

TEST_F(FileWindowTest, WritesToFilesInMemory) {
    show();
    std::string bytes = pattern(large, 3);
    constexpr std::array<timespec, 2> long_ago{{{1, 0}, {1, 0}}};
    ASSERT_EQ(::futimens(fd.get(), long_ago.data()), 0);
    ASSERT_EQ(write(1000, bytes), is_tmpfs(fd.get()));
    if (!is_tmpfs(fd.get())) GTEST_SKIP() << "no tmpfs";
    struct stat now {};
    ASSERT_EQ(::fstat(fd.get(), &now), 0);
    EXPECT_GT(now.st_mtim.tv_sec, 1);
    EXPECT_EQ(now.st_atim.tv_sec, 1);
    EXPECT_TRUE(get(1000, large) == bytes);
    EXPECT_TRUE(get(0, 1000) == contents.substr(0, 1000));
}

TEST_F(FileWindowTest, MovesToWhereRequestsCome) {
    std::string there = pattern(2 * large, 4);
    std::uint64_t border = 3 * FileWindow::size;
    put(border - large, there);
    show();
    std::string bytes(large, '?');
    EXPECT_FALSE(read(border - large / 2, bytes)) << "over the border";
    show(border);
    ASSERT_TRUE(read(border, bytes));
    EXPECT_TRUE(bytes == there.substr(large));
    show(border - large);
    ASSERT_TRUE(read(border - large, bytes));
    EXPECT_TRUE(bytes == there.substr(0, large));
    show(0);
    ASSERT_TRUE(read(0, bytes));
    EXPECT_TRUE(bytes == contents.substr(0, large));
}

TEST_F(FileWindowTest, AFileThatMayOnlyBeReadIsNotWritten) {
    Fd reader{::open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDONLY | O_CLOEXEC)};
    ASSERT_TRUE(reader);
    FileWindow reads{reader.get()};
    std::string bytes(large, '?');
    iovec one = buffer(bytes);
    EXPECT_FALSE(reads.read(0, {&one, 1}));
    ASSERT_TRUE(reads.read(0, {&one, 1}));
    EXPECT_TRUE(bytes == contents.substr(0, large));
    EXPECT_FALSE(reads.write(0, {&one, 1}));
}

TEST_F(FileWindowTest, WhatCannotBeMappedHasNone) {
    Fd device{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    FileWindow none{device.get()};
    std::string bytes(large, '?');
    iovec one = buffer(bytes);
    for (int n = 0; n < 3; ++n) EXPECT_FALSE(none.read(0, {&one, 1}));
}

// The copy's own fault ends it; everybody else's signal is still theirs.
TEST_F(FileWindowTest, ACopyFromBehindTheEndFails) {
    void* mapped = ::mmap(nullptr, 2 * large, PROT_READ, MAP_SHARED, fd.get(), 0);
    ASSERT_NE(mapped, MAP_FAILED);
    const auto* file = static_cast<const std::byte*>(mapped);
    ASSERT_EQ(::ftruncate(fd.get(), large), 0);
    std::string bytes(2 * large, '?');
    auto* to = reinterpret_cast<std::byte*>(bytes.data());
    EXPECT_TRUE(guarded_copy(to, file, large));
    EXPECT_FALSE(guarded_copy(to, file, large + 8));
    EXPECT_FALSE(guarded_copy(to, file + large - 3, 7)) << "bytes behind the last word";
    EXPECT_FALSE(guarded_copy(to, file + large, 1));
    EXPECT_TRUE(guarded_copy(to, file + 1, 4099));
    EXPECT_TRUE(bytes.substr(0, 4099) == contents.substr(1, 4099));
    EXPECT_DEATH((void)*static_cast<const volatile std::byte*>(file + large), "");
    ::munmap(mapped, 2 * large);
}

// A disk's requests are right whichever way each goes, and errors are the host's.
TEST_F(FileWindowTest, ADisksLargeRequests) {
    std::string path = "/proc/self/fd/" + std::to_string(fd.get());
    auto opened = open_disk({.path = path});
    ASSERT_TRUE(opened) << opened.error().message;
    Disk& disk = **opened;
    for (unsigned n = 0; n < 40; ++n) {
        std::size_t length = 512 * (1 + n * 53 % (large / 512));
        std::uint64_t offset = 512 * (n * 977 % ((contents.size() - length) / 512));
        std::string bytes = pattern(length, n);
        std::array<iovec, 2> buffers{iovec{bytes.data(), length / 3},
                                     iovec{bytes.data() + length / 3, length - length / 3}};
        ASSERT_EQ(disk.write(offset, buffers), DiskStatus::Ok);
        contents.replace(offset, length, bytes);
        std::fill(bytes.begin(), bytes.end(), '?');
        ASSERT_EQ(disk.read(offset, buffers), DiskStatus::Ok);
        ASSERT_TRUE(bytes == contents.substr(offset, length)) << n;
    }
    EXPECT_EQ(disk.flush(), DiskStatus::Ok);
    EXPECT_TRUE(get(0, contents.size()) == contents);
    ASSERT_EQ(::ftruncate(fd.get(), large), 0);
    std::string bytes(large, '?');
    iovec one = buffer(bytes);
    EXPECT_EQ(disk.read(0, {&one, 1}), DiskStatus::Ok);
    EXPECT_EQ(disk.read(large / 2, {&one, 1}), DiskStatus::Failed);
    EXPECT_EQ(disk.read(2 * large, {&one, 1}), DiskStatus::Failed);
}

}  // namespace
}  // namespace undercroft
