// SPDX-License-Identifier: Apache-2.0
// Files and directories of a shared folder as a guest's kernel uses them.
#include "share/test_folder.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <set>

namespace undercroft::test {
namespace {

TEST_F(FolderTest, StartsWithAProtocolThatBothKnow) {
    fuse_init_in in{};
    in.major = 7;
    in.minor = 31;
    in.flags = ~0u;
    auto out = guest->ask(FUSE_INIT, 0, Client::raw(in)).as<fuse_init_out>();
    EXPECT_EQ(out.major, 7u);
    EXPECT_EQ(out.minor, 31u);
    EXPECT_EQ(out.max_write, FolderServer::most_data);
    EXPECT_EQ(out.flags & (FUSE_WRITEBACK_CACHE | FUSE_POSIX_LOCKS | FUSE_EXPORT_SUPPORT), 0u);
    in.minor = 30;
    EXPECT_EQ(guest->ask(FUSE_INIT, 0, Client::raw(in)).error, EPROTO);
    in.major = 8;
    EXPECT_EQ(guest->ask(FUSE_INIT, 0, Client::raw(in)).error, EPROTO);
    EXPECT_EQ(guest->ask(FUSE_INIT, 0, "").error, EPROTO);
}

TEST_F(FolderTest, ReadsAndWrites) {
    std::uint64_t handle = open_handle(guest->find({"file"}), O_RDWR);
    EXPECT_EQ(guest->read(handle, 3, 4).bytes, "3456");
    EXPECT_EQ(guest->read(handle, 8, 100).bytes, "89") << "less at the end";
    EXPECT_EQ(guest->read(handle, 100, 100).bytes, "");
    EXPECT_EQ(guest->read(handle, 0, 100, 5).bytes, "01234") << "no more than there is room for";
    EXPECT_EQ(guest->read(handle, ~0ull, 1).error, EINVAL);
    EXPECT_EQ(guest->write(handle, 8, "abcd").as<fuse_write_out>().size, 4u);
    EXPECT_EQ(host_read(folder / "file"), "01234567abcd");
    EXPECT_EQ(guest->write(handle, 0, "end", O_APPEND).error, 0);
    EXPECT_EQ(host_read(folder / "file"), "01234567abcdend") << "whatever offset the guest believes in";
    fuse_fsync_in sync{};
    sync.fh = handle;
    EXPECT_EQ(guest->ask(FUSE_FSYNC, 0, Client::raw(sync)).error, 0);
    fuse_release_in release{};
    release.fh = handle;
    EXPECT_EQ(guest->ask(FUSE_RELEASE, 0, Client::raw(release)).error, 0);
    EXPECT_EQ(guest->ask(FUSE_RELEASE, 0, Client::raw(release)).error, EBADF);
    EXPECT_EQ(guest->read(handle, 0, 1).error, EBADF);
    EXPECT_EQ(server->open_handles(), 0u);
}

TEST_F(FolderTest, AWriteOfMoreThanIsThereIsRefused) {
    std::uint64_t handle = open_handle(guest->find({"file"}), O_RDWR);
    fuse_write_in in{};
    in.fh = handle;
    in.size = 100;
    EXPECT_EQ(guest->ask(FUSE_WRITE, 0, Client::raw(in) + "abc").error, EINVAL);
    in.size = ~0u;
    EXPECT_EQ(guest->ask(FUSE_WRITE, 0, Client::raw(in) + "abc").error, EINVAL);
    EXPECT_EQ(host_read(folder / "file"), "0123456789");
}

// What the guest's cache has is good as long as nobody has written meanwhile.
TEST_F(FolderTest, TheCacheOfAFileIsKeptIfItIsTheSameAtTheNextOpen) {
    std::uint64_t node = guest->find({"file"});
    auto keeps = [&] {
        return guest->open(node, O_RDONLY).as<fuse_open_out>().open_flags == FOPEN_KEEP_CACHE;
    };
    EXPECT_FALSE(keeps());
    EXPECT_TRUE(keeps());
    host_write(folder / "file", "others' longer contents");
    EXPECT_FALSE(keeps());
    EXPECT_TRUE(keeps());
}

TEST_F(FolderTest, Attributes) {
    std::uint64_t file = guest->find({"file"});
    fuse_setattr_in in{};
    in.valid = FATTR_MODE | FATTR_SIZE | FATTR_MTIME | FATTR_ATIME;
    in.mode = S_IFREG | 0751;
    in.size = 4;
    in.mtime = 1'000'000'000;
    in.mtimensec = 123'456'789;
    in.atime = 5;
    fuse_attr attr = guest->set(file, in).as<fuse_attr_out>().attr;
    EXPECT_EQ(attr.mode, S_IFREG | 0751u);
    EXPECT_EQ(attr.size, 4u);
    EXPECT_EQ(attr.mtime, 1'000'000'000u);
    EXPECT_EQ(attr.mtimensec, 123'456'789u);
    EXPECT_EQ(attr.atime, 5u);
    EXPECT_EQ(attr.uid, 0u) << "this process's user is the guest's root";
    EXPECT_EQ(host_read(folder / "file"), "0123");
    in = {};
    in.valid = FATTR_UID;
    EXPECT_EQ(guest->set(file, in).error, 0);
    in.valid = FATTR_SIZE;
    in.size = ~0ull;
    EXPECT_EQ(guest->set(file, in).error, EINVAL);
    EXPECT_EQ(guest->set(guest->find({"sub"}), in).error, EINVAL);
}

TEST_F(FolderTest, OwnersOfAnotherUsersProcess) {
    Attributes attributes{1000, 100};
    struct stat status {};
    status.st_uid = 1000;
    status.st_gid = 7;
    EXPECT_EQ(attributes.of(status).uid, 0u);
    EXPECT_EQ(attributes.of(status).gid, 7u);
    EXPECT_EQ(attributes.host_user(0), 1000u);
    EXPECT_EQ(attributes.host_user(5), 5u);
    EXPECT_EQ(attributes.host_group(0), 100u);
    EXPECT_FALSE(attributes.keeps_owners());
    EXPECT_NE(attributes.number(1, 5), attributes.number(2, 5)) << "of two file systems";
    EXPECT_EQ(attributes.number(0, 5), 5u) << "the first one's are the host's";
}

// Entries and what follows each, whole or in many small answers, while others come and go.
TEST_F(FolderTest, ListsLargeFolders) {
    std::set<std::string> expected{".", ".."};
    for (int n = 0; n < 3000; ++n) {
        host_write(folder / "sub" / ("entry" + std::to_string(n)), "");
        expected.insert("entry" + std::to_string(n));
    }
    expected.insert("inner");
    std::uint64_t sub = guest->find({"sub"});
    for (std::uint32_t opcode : {FUSE_READDIR, FUSE_READDIRPLUS}) {
        fuse_read_in in{};
        in.fh = open_directory(sub);
        std::size_t skip = opcode == FUSE_READDIR ? 0 : sizeof(fuse_entry_out);
        std::multiset<std::string> found;
        for (;;) {
            in.size = 700;
            Client::Answer answer = guest->ask(opcode, sub, Client::raw(in));
            ASSERT_EQ(answer.error, 0);
            ASSERT_LE(answer.bytes.size(), 700u);
            if (answer.bytes.empty()) break;
            std::size_t at = 0;
            while (at < answer.bytes.size()) {
                auto entry = answer.as<fuse_dirent>(at + skip);
                found.insert(answer.bytes.substr(at + skip + FUSE_NAME_OFFSET, entry.namelen));
                in.offset = entry.off;
                at += skip + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.namelen);
                // The guest goes back sometimes, as telldir() and seekdir() do.
                if (found.size() % 50 == 0) break;
            }
        }
        EXPECT_EQ(std::set<std::string>(found.begin(), found.end()), expected) << opcode;
        EXPECT_EQ(found.size(), expected.size()) << "none twice";
    }
    EXPECT_GT(server->nodes().size(), 3000u);
    EXPECT_LE(server->nodes().open_descriptors(), 3002u);
}

TEST_F(FolderTest, FewDescriptorsForManyFiles) {
    struct stat status {};
    Fd root{::open(folder.c_str(), O_PATH | O_DIRECTORY)};
    ASSERT_EQ(fstat(root.get(), &status), 0);
    NodeTable nodes{std::move(root), status, 4};
    std::vector<Node*> chain{&nodes.root()};
    auto step = [&](const std::string& name) {
        Fd fd{::openat(nodes.open(*chain.back()), name.c_str(), O_PATH | O_NOFOLLOW)};
        ASSERT_EQ(fstat(fd.get(), &status), 0);
        chain.push_back(nodes.look_up(*chain.back(), name, status, std::move(fd)));
        nodes.trim();
    };
    for (int n = 0; n < 20; ++n) {
        ASSERT_EQ(mkdirat(nodes.open(*chain.back()), "deep", 0755), 0);
        step("deep");
    }
    EXPECT_LE(nodes.open_descriptors(), 4u);
    EXPECT_GE(nodes.open(*chain[18]), 0) << "opened again by its names";
    EXPECT_GE(nodes.open(*chain[3]), 0);
    // Another one of the same name is not it.
    nodes.open(*chain[9]);
    for (int n = 10; n < 15; ++n) nodes.open(*chain[static_cast<std::size_t>(n)]);
    nodes.trim();
    fs::path five = folder;
    for (int n = 0; n < 5; ++n) five /= "deep";
    ASSERT_FALSE(chain[5]->fd);
    fs::rename(five, folder / "moved");
    fs::create_directory(five);
    EXPECT_EQ(nodes.open(*chain[5]), -ESTALE);
    // Forgotten ones go when nothing below needs them.
    for (Node* node : chain) {
        if (node != &nodes.root() && node != chain.back()) nodes.forget(*node, 1);
    }
    EXPECT_EQ(nodes.size(), 20u);
    nodes.forget(*chain.back(), 5);
    EXPECT_EQ(nodes.size(), 0u);
}

TEST_F(FolderTest, Forgets) {
    guest->find({"sub", "inner"});
    std::uint64_t inner = guest->find({"sub", "inner"});
    EXPECT_EQ(server->nodes().size(), 2u);
    EXPECT_EQ(guest->ask(FUSE_FORGET, inner, Client::raw(fuse_forget_in{1})).bytes, "");
    EXPECT_EQ(server->nodes().size(), 2u) << "it was looked up twice";
    fuse_batch_forget_in batch{.count = 1000, .dummy = 0};
    std::string list;
    for (std::uint64_t node : {inner, guest->find({"sub"}), std::uint64_t{FUSE_ROOT_ID}, std::uint64_t{99}})
        list += Client::raw(fuse_forget_one{node, 100});
    guest->ask(FUSE_BATCH_FORGET, 0, Client::raw(batch) + list);
    EXPECT_EQ(server->nodes().size(), 0u);
    EXPECT_EQ(guest->open(inner, O_RDONLY).error, ESTALE);
    guest->find({"file"});
}

TEST_F(FolderTest, OtherRequests) {
    std::uint64_t handle = open_handle(guest->find({"file"}), O_RDWR);
    fuse_fallocate_in allocate{};
    allocate.fh = handle;
    allocate.length = 4096;
    EXPECT_EQ(guest->ask(FUSE_FALLOCATE, 0, Client::raw(allocate)).error, 0);
    EXPECT_EQ(fs::file_size(folder / "file"), 4096u);
    allocate.mode = 0x40;
    EXPECT_EQ(guest->ask(FUSE_FALLOCATE, 0, Client::raw(allocate)).error, EOPNOTSUPP);
    fuse_lseek_in seek{};
    seek.fh = handle;
    seek.whence = SEEK_HOLE;
    EXPECT_EQ(guest->ask(FUSE_LSEEK, 0, Client::raw(seek)).error, 0);
    seek.whence = SEEK_SET;
    EXPECT_EQ(guest->ask(FUSE_LSEEK, 0, Client::raw(seek)).error, EINVAL);
    EXPECT_GT(guest->ask(FUSE_STATFS, FUSE_ROOT_ID, "").as<fuse_statfs_out>().st.blocks, 0u);
    EXPECT_EQ(guest->ask(FUSE_SYNCFS, FUSE_ROOT_ID, Client::raw(fuse_syncfs_in{})).error, 0);
    EXPECT_EQ(guest->ask(FUSE_GETXATTR, FUSE_ROOT_ID, "").error, ENOSYS);
    EXPECT_EQ(guest->ask(4711, FUSE_ROOT_ID, "").error, ENOSYS);
    EXPECT_EQ(guest->ask(FUSE_DESTROY, 0, "").error, 0);
    EXPECT_EQ(server->open_handles(), 0u);
}

TEST_F(FolderTest, WhatIsTooShortIsNoRequest) {
    std::string bytes(sizeof(fuse_in_header) - 1, '\0');
    std::string room(100, '\0');
    Buffers request;
    Buffers answer;
    request.add(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
    answer.add(reinterpret_cast<std::byte*>(room.data()), room.size());
    EXPECT_EQ(server->serve(request, answer), 0u);
    for (std::uint32_t opcode = 0; opcode < 60; ++opcode) {
        if (opcode == FUSE_DESTROY || opcode == FUSE_STATFS || opcode == FUSE_SYNCFS ||
            opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT)
            continue;
        EXPECT_NE(guest->ask(opcode, FUSE_ROOT_ID, "").error, 0) << opcode;
    }
}

TEST(Folder, WhatCannotBeShared) {
    auto reason = [](const std::string& path) {
        auto server = FolderServer::open(path, {});
        return server ? "" : server.error().message;
    };
    EXPECT_EQ(reason("/nonexistent"), "share '/nonexistent': No such file or directory");
    EXPECT_EQ(reason("/etc/passwd"), "share '/etc/passwd': Not a directory");
}

}  // namespace
}  // namespace undercroft::test
