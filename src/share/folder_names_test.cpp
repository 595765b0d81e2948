// SPDX-License-Identifier: Apache-2.0
// Names in a shared folder: what they lead to, what makes and removes them, and that none leads out.
#include "share/test_folder.hpp"

#include <fcntl.h>
#include <sys/stat.h>

namespace undercroft::test {
namespace {

TEST_F(FolderTest, NoNameLeadsOut) {
    std::uint64_t node = 0;
    for (const char* name : {"..", ".", "", "/", "sub/inner", "../secret", "/etc/passwd"})
        EXPECT_EQ(guest->look_up(FUSE_ROOT_ID, name, node), EINVAL) << name;
    EXPECT_EQ(guest->look_up(guest->find({"sub"}), "..", node), EINVAL);
    EXPECT_EQ(guest->look_up(FUSE_ROOT_ID, std::string(256, 'n'), node), ENAMETOOLONG);
    EXPECT_EQ(guest->look_up(FUSE_ROOT_ID, std::string(100'000, 'n'), node), ENAMETOOLONG);
    EXPECT_EQ(guest->ask(FUSE_LOOKUP, FUSE_ROOT_ID, "file").error, EINVAL) << "not terminated";
    EXPECT_EQ(guest->ask(FUSE_LOOKUP, 77, Client::name("file")).error, ESTALE);
    for (const char* name : {"..", "a/b", "."}) {
        EXPECT_EQ(guest->create(FUSE_ROOT_ID, name, O_RDWR).error, EINVAL);
        EXPECT_EQ(guest->rename(FUSE_ROOT_ID, "file", FUSE_ROOT_ID, name), EINVAL);
        EXPECT_EQ(guest->rename(FUSE_ROOT_ID, name, FUSE_ROOT_ID, "new"), EINVAL);
        EXPECT_EQ(guest->ask(FUSE_UNLINK, FUSE_ROOT_ID, Client::name(name)).error, EINVAL);
        EXPECT_EQ(guest->ask(FUSE_RMDIR, FUSE_ROOT_ID, Client::name(name)).error, EINVAL);
        EXPECT_EQ(
            guest->ask(FUSE_MKDIR, FUSE_ROOT_ID, Client::raw(fuse_mkdir_in{0755, 0}) + Client::name(name))
                .error,
            EINVAL);
    }
    EXPECT_EQ(host_read(outside / "secret"), "secret");
}

TEST_F(FolderTest, SymbolicLinksAreTheGuestsToFollow) {
    fs::create_symlink(outside / "secret", folder / "link");
    fs::create_directory_symlink(outside, folder / "up");
    std::uint64_t link = guest->find({"link"});
    EXPECT_EQ(guest->ask(FUSE_READLINK, link, "").bytes, (outside / "secret").string());
    EXPECT_EQ(guest->open(link, O_RDONLY).error, ENXIO);
    std::uint64_t node = 0;
    EXPECT_EQ(guest->look_up(guest->find({"up"}), "secret", node), ENOTDIR);
    EXPECT_EQ(guest->create(guest->find({"up"}), "new", O_RDWR).error, ENOTDIR);
    EXPECT_EQ(guest->ask(FUSE_OPENDIR, guest->find({"up"}), Client::raw(fuse_open_in{})).error, ENOTDIR);
    EXPECT_EQ(guest->create(FUSE_ROOT_ID, "link", O_RDWR | O_TRUNC).error, ENXIO);
    fuse_setattr_in size{};
    size.valid = FATTR_SIZE;
    EXPECT_EQ(guest->set(link, size).error, EINVAL);
    fuse_setattr_in mode{};
    mode.valid = FATTR_MODE;
    EXPECT_EQ(guest->set(link, mode).error, EOPNOTSUPP);
    fuse_setattr_in times{};
    times.valid = FATTR_MTIME;
    times.mtime = 1000;
    EXPECT_EQ(guest->set(link, times).as<fuse_attr_out>().attr.mtime, 1000u);
    struct stat status {};
    ASSERT_EQ(::stat((outside / "secret").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0644u);
    EXPECT_NE(status.st_mtim.tv_sec, 1000);
    EXPECT_EQ(host_read(outside / "secret"), "secret");
    EXPECT_EQ(guest->ask(FUSE_SYMLINK, FUSE_ROOT_ID, Client::name("made") + Client::name("../x")).error, 0);
    EXPECT_EQ(fs::read_symlink(folder / "made"), "../x");
}

// A directory becomes a link between two requests: what was looked up is what it was.
TEST_F(FolderTest, AFolderThatBecomesALinkLeadsNowhereElse) {
    std::uint64_t sub = guest->find({"sub"});
    fs::rename(folder / "sub", folder / "was");
    fs::create_directory_symlink(outside, folder / "sub");
    std::uint64_t node = 0;
    EXPECT_EQ(guest->look_up(sub, "secret", node), 0);
    EXPECT_EQ(node, 0u) << "a negative entry";
    EXPECT_EQ(guest->look_up(sub, "inner", node), 0);
}

TEST_F(FolderTest, SpecialFilesAreNeitherOpenedNorMade) {
    ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0666), 0);
    std::uint64_t fifo = guest->find({"fifo"});
    EXPECT_EQ(guest->open(fifo, O_RDONLY).error, ENXIO) << "it would never return";
    EXPECT_EQ(guest->create(FUSE_ROOT_ID, "fifo", O_WRONLY).error, ENXIO);
    auto make = [&](std::uint32_t mode) {
        fuse_mknod_in in{};
        in.mode = mode;
        in.rdev = 0x103;
        return guest->ask(FUSE_MKNOD, FUSE_ROOT_ID, Client::raw(in) + Client::name("made")).error;
    };
    EXPECT_EQ(make(S_IFCHR | 0666), EPERM);
    EXPECT_EQ(make(S_IFBLK | 0666), EPERM);
    EXPECT_EQ(make(S_IFREG | 0600), 0);
    EXPECT_EQ(make(S_IFIFO | 0600), EEXIST);
    EXPECT_EQ(guest->open(FUSE_ROOT_ID, O_RDONLY).error, EISDIR);
}

// Of the host's devices the guest learns the numbers, and may use its own by them.
TEST_F(FolderTest, DevicesOfTheHostAreNotOpened) {
    constexpr dev_t null = 0x103;
    for (auto [name, type] : {std::pair{"null", S_IFCHR}, std::pair{"disk", S_IFBLK}}) {
        if (mknod((folder / name).c_str(), type | 0600, null) != 0)
            GTEST_SKIP() << "this user may make no devices";
        std::uint64_t node = guest->find({name});
        for (std::uint32_t flags : {O_RDONLY, O_WRONLY, O_RDWR | O_TRUNC}) {
            EXPECT_EQ(guest->open(node, flags).error, ENXIO) << name;
            EXPECT_EQ(guest->create(FUSE_ROOT_ID, name, flags).error, ENXIO) << name;
        }
        EXPECT_EQ(guest->create(FUSE_ROOT_ID, name, O_WRONLY | O_EXCL).error, EEXIST) << name;
        fuse_setattr_in in{};
        in.valid = FATTR_SIZE;
        EXPECT_EQ(guest->set(node, in).error, EINVAL) << name;
        auto attr = guest->ask(FUSE_GETATTR, node, Client::raw(fuse_getattr_in{})).as<fuse_attr_out>().attr;
        EXPECT_EQ(attr.mode, type | 0600u) << name;
        EXPECT_EQ(attr.rdev, null) << name;
    }
    EXPECT_EQ(server->open_handles(), 0u);
}

TEST_F(FolderTest, HardLinksStayInside) {
    fuse_link_in in{guest->find({"file"})};
    Client::Answer answer =
        guest->ask(FUSE_LINK, guest->find({"sub"}), Client::raw(in) + Client::name("two"));
    EXPECT_EQ(answer.error, 0);
    EXPECT_EQ(answer.as<fuse_entry_out>().nodeid, in.oldnodeid) << "one file, one node";
    EXPECT_EQ(answer.as<fuse_entry_out>().attr.nlink, 2u);
    in.oldnodeid = 999;
    EXPECT_EQ(guest->ask(FUSE_LINK, FUSE_ROOT_ID, Client::raw(in) + Client::name("three")).error, ESTALE);
    fs::create_symlink(outside / "secret", folder / "link");
    in.oldnodeid = guest->find({"link"});
    EXPECT_EQ(guest->ask(FUSE_LINK, FUSE_ROOT_ID, Client::raw(in) + Client::name("four")).error, 0);
    EXPECT_TRUE(fs::is_symlink(folder / "four")) << "of the link, not of what it leads to";
}

TEST_F(FolderTest, CreatesWithModeAndSeesWhatIsThere) {
    Client::Answer made = guest->create(FUSE_ROOT_ID, "new", O_RDWR | O_EXCL, 0640);
    ASSERT_EQ(made.error, 0);
    EXPECT_EQ(made.as<fuse_entry_out>().attr.mode & 07777, 0640u);
    std::uint64_t handle = made.as<fuse_open_out>(sizeof(fuse_entry_out)).fh;
    EXPECT_EQ(guest->write(handle, 0, "text").error, 0);
    EXPECT_EQ(host_read(folder / "new"), "text");
    EXPECT_EQ(guest->create(FUSE_ROOT_ID, "new", O_RDWR | O_EXCL).error, EEXIST);
    Client::Answer again = guest->create(FUSE_ROOT_ID, "new", O_RDWR);
    EXPECT_EQ(again.as<fuse_entry_out>().nodeid, made.as<fuse_entry_out>().nodeid);
    EXPECT_EQ(guest->read(again.as<fuse_open_out>(sizeof(fuse_entry_out)).fh, 0, 10).bytes, "text");
    EXPECT_EQ(
        guest->ask(FUSE_CREATE, FUSE_ROOT_ID, Client::raw(fuse_create_in{}) + Client::name("no"), 100).error,
        ERANGE);
    EXPECT_FALSE(fs::exists(folder / "no")) << "where the answer has no room, nothing happens";
}

TEST_F(FolderTest, AnUnlinkedFileCanBeUsedOn) {
    std::uint64_t node = guest->find({"file"});
    std::uint64_t handle = open_handle(node, O_RDWR);
    EXPECT_EQ(guest->ask(FUSE_UNLINK, FUSE_ROOT_ID, Client::name("file")).error, 0);
    EXPECT_FALSE(fs::exists(folder / "file"));
    EXPECT_EQ(guest->write(handle, 0, "still").error, 0);
    EXPECT_EQ(guest->read(handle, 0, 5).bytes, "still");
    Client::Answer answer = guest->ask(FUSE_GETATTR, node, Client::raw(fuse_getattr_in{}));
    EXPECT_EQ(answer.as<fuse_attr_out>().attr.nlink, 0u);
}

TEST_F(FolderTest, Renames) {
    std::uint64_t sub = guest->find({"sub"});
    std::uint64_t inner = guest->find({"sub", "inner"});
    std::uint64_t file = guest->find({"file"});
    EXPECT_EQ(guest->rename(sub, "inner", FUSE_ROOT_ID, "file", RENAME_NOREPLACE), EEXIST);
    EXPECT_EQ(guest->rename(sub, "inner", FUSE_ROOT_ID, "file", RENAME_EXCHANGE), 0);
    EXPECT_EQ(host_read(folder / "file"), "inner");
    EXPECT_EQ(guest->rename(FUSE_ROOT_ID, "file", sub, "inner", RENAME_WHITEOUT), EINVAL);
    EXPECT_EQ(guest->rename(FUSE_ROOT_ID, "file", sub, "inner"), 0) << "over the other one";
    EXPECT_EQ(host_read(folder / "sub" / "inner"), "inner");
    EXPECT_EQ(guest->ask(FUSE_GETATTR, file, Client::raw(fuse_getattr_in{})).as<fuse_attr_out>().attr.nlink,
              0u);
    EXPECT_EQ(guest->read(open_handle(inner, O_RDONLY), 0, 10).bytes, "inner");
    EXPECT_EQ(guest->rename(FUSE_ROOT_ID, "sub", 12345, "x"), ESTALE);
    EXPECT_EQ(guest
                  ->ask(FUSE_RENAME, FUSE_ROOT_ID,
                        Client::raw(fuse_rename_in{FUSE_ROOT_ID}) + Client::name("sub") + Client::name("dir"))
                  .error,
              0);
    EXPECT_TRUE(fs::is_directory(folder / "dir"));
}

TEST_F(FolderTest, ReadOnlyMeansThatNothingChanges) {
    start(FolderAccess::ReadOnly);
    std::uint64_t file = guest->find({"file"});
    std::uint64_t sub = guest->find({"sub"});
    EXPECT_EQ(guest->open(file, O_RDWR).error, EROFS);
    EXPECT_EQ(guest->open(file, O_WRONLY).error, EROFS);
    EXPECT_EQ(guest->open(file, O_RDONLY | O_TRUNC).error, EROFS);
    EXPECT_EQ(guest->create(FUSE_ROOT_ID, "new", O_RDWR).error, EROFS);
    EXPECT_EQ(guest->create(FUSE_ROOT_ID, "file", O_RDONLY).error, EROFS);
    EXPECT_EQ(guest->rename(FUSE_ROOT_ID, "file", sub, "x"), EROFS);
    fuse_setattr_in in{};
    in.valid = FATTR_MODE;
    EXPECT_EQ(guest->set(file, in).error, EROFS);
    auto refused = [&](std::uint32_t opcode, const std::string& body) {
        EXPECT_EQ(guest->ask(opcode, FUSE_ROOT_ID, body).error, EROFS) << opcode;
    };
    refused(FUSE_UNLINK, Client::name("file"));
    refused(FUSE_RMDIR, Client::name("sub"));
    refused(FUSE_SYMLINK, Client::name("a") + Client::name("b"));
    refused(FUSE_MKDIR, Client::raw(fuse_mkdir_in{}) + Client::name("a"));
    refused(FUSE_MKNOD, Client::raw(fuse_mknod_in{}) + Client::name("a"));
    refused(FUSE_LINK, Client::raw(fuse_link_in{file}) + Client::name("a"));
    std::uint64_t handle = open_handle(file, O_RDONLY);
    EXPECT_EQ(guest->write(handle, 0, "x").error, EBADF);
    fuse_fallocate_in allocate{};
    allocate.fh = handle;
    allocate.length = 100;
    EXPECT_EQ(guest->ask(FUSE_FALLOCATE, file, Client::raw(allocate)).error, EBADF);
    EXPECT_EQ(guest->read(handle, 0, 10).bytes, "0123456789");
    EXPECT_EQ(host_read(folder / "file"), "0123456789");
}

TEST_F(FolderTest, WhatAUserMakesIsThatUsers) {
    if (geteuid() != 0) GTEST_SKIP() << "for root";
    guest->user = 1234;
    guest->group = 567;
    EXPECT_EQ(guest->create(FUSE_ROOT_ID, "new", O_RDWR, 04755).as<fuse_entry_out>().attr.mode,
              S_IFREG | 04755u);
    EXPECT_EQ(guest->ask(FUSE_SYMLINK, FUSE_ROOT_ID, Client::name("link") + Client::name("file")).error, 0);
    for (const char* name : {"new", "link"}) {
        struct stat status {};
        ASSERT_EQ(lstat((folder / name).c_str(), &status), 0);
        EXPECT_EQ(status.st_uid, 1234u) << name;
        EXPECT_EQ(status.st_gid, 567u) << name;
    }
    struct stat status {};
    ASSERT_EQ(stat((folder / "file").c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, 0u) << "not what the link leads to";
}

}  // namespace
}  // namespace undercroft::test
