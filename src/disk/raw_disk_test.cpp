// SPDX-License-Identifier: Apache-2.0
#include "disk/open_disk.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

struct RawDiskTest : testing::Test {
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-disk-" + std::to_string(getpid()));
    void SetUp() override { fs::create_directories(folder); }
    void TearDown() override { fs::remove_all(folder); }

    std::string file(const std::string& name, std::size_t size, char fill = 0) const {
        std::ofstream{folder / name, std::ios::binary} << std::string(size, fill);
        return (folder / name).string();
    }
    static std::string contents(const std::string& path) {
        std::ifstream stream{path, std::ios::binary};
        return {std::istreambuf_iterator<char>{stream}, {}};
    }
    static std::unique_ptr<Disk> open(const std::string& path, DiskAccess access = DiskAccess::ReadWrite) {
        auto disk = open_disk({.path = path, .access = access});
        EXPECT_TRUE(disk) << disk.error().message;
        return *std::move(disk);
    }
    static std::string refusal(const std::string& path, DiskAccess access = DiskAccess::ReadWrite) {
        auto disk = open_disk({.path = path, .access = access});
        return disk ? "opened" : disk.error().message;
    }
};

iovec buffer(std::string& bytes) { return {bytes.data(), bytes.size()}; }

TEST_F(RawDiskTest, ManyBuffersGoToOnePlace) {
    std::string path = file("disk", 1 << 20);
    auto disk = open(path);
    EXPECT_EQ(disk->size(), 1u << 20);
    std::vector<std::string> pieces;
    std::string whole;
    for (unsigned i = 0; i < 300; ++i) {  // more than go into one host call
        pieces.emplace_back(i % 7 * 100 + 1, static_cast<char>('a' + i % 26));
        whole += pieces.back();
    }
    std::vector<iovec> buffers;
    buffers.reserve(pieces.size());
    for (std::string& piece : pieces) buffers.push_back(buffer(piece));
    ASSERT_EQ(disk->write(4096, buffers), DiskStatus::Ok);
    EXPECT_EQ(disk->flush(), DiskStatus::Ok);
    EXPECT_EQ(contents(path).substr(4096, whole.size()), whole);
    for (std::string& piece : pieces) std::fill(piece.begin(), piece.end(), '?');
    ASSERT_EQ(disk->read(4096, buffers), DiskStatus::Ok);
    std::string again;
    for (const std::string& piece : pieces) again += piece;
    EXPECT_EQ(again, whole);
}

TEST_F(RawDiskTest, AShortReadOrWriteFails) {
    std::string path = file("disk", 8192, 'x');
    auto disk = open(path);
    fs::resize_file(path, 5000);
    std::string bytes(4096, '?');
    iovec one = buffer(bytes);
    EXPECT_EQ(disk->read(0, {&one, 1}), DiskStatus::Ok);
    EXPECT_EQ(disk->read(4096, {&one, 1}), DiskStatus::Failed);

    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    rlimit small{5120, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    DiskStatus status = disk->write(4096, {&one, 1});
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(status, DiskStatus::Failed) << "a part was written, the rest refused";
}

TEST_F(RawDiskTest, ZerosAndHoles) {
    std::string path = file("disk", 1 << 20, 'x');
    auto disk = open(path);
    EXPECT_EQ(disk->write_zeroes(512, 1024, false), DiskStatus::Ok);
    EXPECT_EQ(disk->write_zeroes(65536, 200000, true), DiskStatus::Ok);
    std::string expected(1 << 20, 'x');
    std::memset(expected.data() + 512, 0, 1024);
    std::memset(expected.data() + 65536, 0, 200000);
    EXPECT_TRUE(contents(path) == expected);
    DiskStatus discarded = disk->discard(0, 65536);
    EXPECT_NE(discarded, DiskStatus::Failed);
    EXPECT_EQ(fs::file_size(path), 1u << 20);
}

TEST_F(RawDiskTest, BlocksAreTheFileSystems) {
    std::string path = file("disk", 8192);
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    auto block = static_cast<std::uint32_t>(status.st_blksize);
    Disk::Topology topology = open(path)->topology();
    EXPECT_EQ(topology.physical_block_size, std::min(block, 4096u));
    EXPECT_EQ(topology.minimum_io_size, topology.physical_block_size);
    EXPECT_EQ(topology.optimal_io_size, block > 4096 ? block : 0);
    std::string overlay = (folder / "overlay.qcow2").string();
    auto disk = open_disk({.path = path, .overlay = DiskChoice::Overlay{overlay}});
    EXPECT_EQ((*disk)->topology().physical_block_size, topology.physical_block_size);
    EXPECT_EQ((*disk)->topology().optimal_io_size, 65536u) << "the cluster's size";
}

TEST_F(RawDiskTest, ReadOnlyOpensWhatMayNotBeWritten) {
    std::string path = file("disk", 4096, 'x');
    auto disk = open(path, DiskAccess::ReadOnly);
    EXPECT_TRUE(disk->is_read_only());
    std::string bytes(512, 'y');
    iovec one = buffer(bytes);
    EXPECT_EQ(disk->write(0, {&one, 1}), DiskStatus::Failed);
    EXPECT_EQ(contents(path), std::string(4096, 'x'));
}

TEST_F(RawDiskTest, OneWriterOrManyReaders) {
    std::string path = file("disk", 4096);
    {
        auto writer = open(path);
        EXPECT_NE(refusal(path).find("in use"), std::string::npos) << refusal(path);
        EXPECT_NE(refusal(path, DiskAccess::ReadOnly).find("in use"), std::string::npos);
    }
    auto reader = open(path, DiskAccess::ReadOnly);
    auto another = open(path, DiskAccess::ReadOnly);
    EXPECT_NE(refusal(path).find("in use"), std::string::npos);
}

TEST_F(RawDiskTest, RefusesWhatIsNoDisk) {
    EXPECT_EQ(refusal("/nonexistent/disk"), "disk '/nonexistent/disk': No such file or directory");
    EXPECT_EQ(refusal(folder.string()), "disk '" + folder.string() + "': Is a directory");
    EXPECT_NE(refusal(folder.string(), DiskAccess::ReadOnly).find("neither a regular file"),
              std::string::npos);
    EXPECT_NE(refusal("/dev/null").find("neither a regular file"), std::string::npos);
    std::string empty = file("empty", 0);
    EXPECT_EQ(refusal(empty), "disk '" + empty + "': empty");
    std::string odd = file("odd", 1000);
    EXPECT_EQ(refusal(odd), "disk '" + odd + "': 1000 bytes, not a multiple of 512");
    std::string locked = file("locked", 512);
    fs::permissions(locked, fs::perms::none);
    if (geteuid() == 0) return;  // who may read everything
    EXPECT_NE(refusal(locked).find("Permission denied"), std::string::npos);
}

}  // namespace
}  // namespace undercroft
