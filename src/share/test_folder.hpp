// SPDX-License-Identifier: Apache-2.0
// For tests: a shared folder with a few files in it, a secret beside it, and a guest.

#pragma once

#include "share/test_client.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>

namespace undercroft::test {

namespace fs = std::filesystem;

struct FolderTest : testing::Test {
    fs::path outside = fs::path{testing::TempDir()} / ("undercroft-folder-" + std::to_string(getpid()));
    fs::path folder = outside / "shared";
    std::unique_ptr<FolderServer> server;
    std::optional<Client> guest;

    void SetUp() override {
        fs::create_directories(folder / "sub");
        host_write(outside / "secret", "secret");
        host_write(folder / "file", "0123456789");
        host_write(folder / "sub" / "inner", "inner");
        start();
    }
    void TearDown() override { fs::remove_all(outside); }

    void start(FolderAccess access = FolderAccess::ReadWrite) {
        FolderOptions options;
        options.access = access;
        server = *FolderServer::open(folder.string(), options);
        guest.emplace(*server);
        fuse_init_in in{};
        in.major = 7;
        in.minor = 36;
        ASSERT_EQ(guest->ask(FUSE_INIT, 0, Client::raw(in)).error, 0);
    }
    static void host_write(const fs::path& path, const std::string& bytes) {
        std::ofstream{path, std::ios::binary} << bytes;
    }
    static std::string host_read(const fs::path& path) {
        std::ifstream file{path, std::ios::binary};
        return {std::istreambuf_iterator<char>{file}, {}};
    }
    std::uint64_t open_handle(std::uint64_t node, std::uint32_t flags) {
        Client::Answer answer = guest->open(node, flags);
        EXPECT_EQ(answer.error, 0);
        return answer.as<fuse_open_out>().fh;
    }
    std::uint64_t open_directory(std::uint64_t node) {
        Client::Answer answer = guest->ask(FUSE_OPENDIR, node, Client::raw(fuse_open_in{}));
        EXPECT_EQ(answer.error, 0);
        return answer.as<fuse_open_out>().fh;
    }
};

}  // namespace undercroft::test
