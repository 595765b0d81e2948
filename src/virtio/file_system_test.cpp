// SPDX-License-Identifier: Apache-2.0
// The file-system device as its driver sees it; what it says is tested in share/.
#include "virtio/file_system.hpp"

#include "virtio/test_driver.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace undercroft::test {
namespace {

struct FileSystemTest : testing::Test {
    static constexpr std::uint64_t request = 0x8000;
    static constexpr std::uint64_t answer = 0x9000;

    std::filesystem::path path =
        std::filesystem::path{testing::TempDir()} / ("undercroft-virtiofs-" + std::to_string(getpid()));
    TestMemory memory;
    std::mutex lock;
    bool line = false;
    std::unique_ptr<FolderServer> folder;
    std::optional<VirtioFileSystem> device;
    std::optional<MmioTransport> transport;

    void SetUp() override {
        std::filesystem::create_directory(path);
        folder = *FolderServer::open(path.string(), {});
        device.emplace(*folder, memory.device(), lock, "tag");
        transport.emplace(
            *device, memory.device(), [this](bool level) { line = level; }, "share");
    }
    void TearDown() override { std::filesystem::remove_all(path); }

    void put_header(std::uint32_t opcode) {
        fuse_in_header header{};
        header.opcode = opcode;
        header.nodeid = FUSE_ROOT_ID;
        header.unique = 42;
        memory.put(request, header);
    }
    void serve(unsigned queue) {
        {
            std::lock_guard held{lock};
            test::write(*transport, Reg::QueueNotify, queue);
        }
        device->serve();
    }
};

TEST_F(FileSystemTest, Configuration) {
    EXPECT_EQ(transport->read(0x008, 4), 26u);
    EXPECT_EQ(transport->read(0x100, 8), 0x676174u);  // "tag"
    EXPECT_EQ(transport->read(0x124, 4), 1u);         // num_request_queues
    EXPECT_EQ(transport->read(0x128, 8), 0u);
}

// The answer's header and its body are in pages that are no neighbours.
TEST_F(FileSystemTest, AnswersRequests) {
    start_driver(*transport, 0, 8, 1);
    put_header(FUSE_STATFS);
    memory.offer(0, {{request, sizeof(fuse_in_header)},
                     {answer, sizeof(fuse_out_header), flag::write},
                     {answer + 0x2000, sizeof(fuse_statfs_out), flag::write}});
    serve(1);
    EXPECT_EQ(memory.used_index(), 1);
    EXPECT_EQ(memory.used_element(0).second, sizeof(fuse_out_header) + sizeof(fuse_statfs_out));
    EXPECT_EQ(memory.get<fuse_out_header>(answer).unique, 42u);
    EXPECT_EQ(memory.get<fuse_out_header>(answer).error, 0);
    EXPECT_GT(memory.get<fuse_statfs_out>(answer + 0x2000).st.blocks, 0u);
    EXPECT_TRUE(line);
}

TEST_F(FileSystemTest, RequestsThatAreNoneAreGivenBackEmpty) {
    start_driver(*transport, 0, 8, 1);
    memory.offer(0, {{request, 3}});
    serve(1);
    EXPECT_EQ(memory.used_element(0).second, 0u);
    put_header(FUSE_STATFS);
    memory.offer(1, {{request, sizeof(fuse_in_header)}, {answer, 15, flag::write}});
    serve(1);
    EXPECT_EQ(memory.used_index(), 2);
    EXPECT_EQ(memory.used_element(1).second, 0u);
}

}  // namespace
}  // namespace undercroft::test
