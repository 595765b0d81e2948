// SPDX-License-Identifier: Apache-2.0
// Qcow2 images: random requests against a model, images that qemu-img made, and crashes at any moment. After
// each, 'qemu-img check' has the last word.
#include "disk/qcow2_disk.hpp"

#include "disk/memory_storage.hpp"
#include "disk/open_disk.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

namespace undercroft::test {
namespace {

namespace fs = std::filesystem;

int shell(const std::string& command) {
    int status = std::system((command + " > /dev/null 2>&1").c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

struct Qcow2Test : testing::Test {
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-qcow2-" + std::to_string(getpid()));
    void SetUp() override {
        fs::create_directories(folder);
        ASSERT_EQ(shell("qemu-img --version"), 0) << "these tests need qemu-img (qemu-utils)";
    }
    void TearDown() override { fs::remove_all(folder); }

    std::string path(const std::string& name) const { return (folder / name).string(); }
    std::string file(const std::string& name, const std::string& bytes) const {
        std::ofstream{folder / name, std::ios::binary} << bytes;
        return path(name);
    }
    // 'qemu-img check': 0 all is well, 2 damaged, 3 only leaks.
    static int check(const std::string& image) { return shell("qemu-img check " + image); }
    static std::unique_ptr<Disk> open(const DiskChoice& choice) {
        auto disk = open_disk(choice);
        EXPECT_TRUE(disk) << disk.error().message;
        return disk ? *std::move(disk) : nullptr;
    }
    static std::string refusal(const DiskChoice& choice) {
        auto disk = open_disk(choice);
        return disk ? "opened" : disk.error().message;
    }
};

std::string noise(std::size_t size, std::mt19937_64& random) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
}

DiskStatus put(Disk& disk, std::uint64_t offset, std::string bytes) {
    // In two pieces, as guests do.
    std::size_t first = bytes.size() / 1024 * 512;
    iovec pieces[] = {{bytes.data(), first}, {bytes.data() + first, bytes.size() - first}};
    return disk.write(offset, pieces);
}

std::string get(Disk& disk, std::uint64_t offset, std::size_t length) {
    std::string bytes(length, '?');
    iovec buffer{bytes.data(), bytes.size()};
    EXPECT_EQ(disk.read(offset, {&buffer, 1}), DiskStatus::Ok);
    return bytes;
}

// What the disk should show, and requests at random.
struct Model {
    std::string bytes;
    std::mt19937_64 random;

    void play(Disk& disk, unsigned requests) {
        for (unsigned i = 0; i < requests; ++i) play_one(disk);
    }
    void play_one(Disk& disk) {
        std::uint64_t sectors = bytes.size() / 512;
        std::uint64_t begin = random() % sectors;
        std::uint64_t most = random() % 4 == 0 ? 1024 : 16;
        std::uint64_t offset = begin * 512;
        std::size_t length = (1 + random() % std::min(sectors - begin, most)) * 512;
        switch (random() % 8) {
            case 0: ASSERT_EQ(disk.flush(), DiskStatus::Ok); break;
            case 1: {
                ASSERT_EQ(disk.write_zeroes(offset, length, random() % 2 == 0), DiskStatus::Ok);
                std::memset(bytes.data() + offset, 0, length);
                break;
            }
            case 2: {  // what is discarded may read as anything: look, and remember
                DiskStatus status = disk.discard(offset, length);
                ASSERT_TRUE(status == DiskStatus::Ok || status == DiskStatus::Unsupported);
                bytes.replace(offset, length, get(disk, offset, length));
                break;
            }
            case 3:
            case 4: ASSERT_TRUE(get(disk, offset, length) == bytes.substr(offset, length)) << offset; break;
            default: {
                std::string data = noise(length, random);
                ASSERT_EQ(put(disk, offset, data), DiskStatus::Ok);
                bytes.replace(offset, length, data);
            }
        }
    }
    void compare(Disk& disk) { ASSERT_TRUE(get(disk, 0, bytes.size()) == bytes); }
};

TEST_F(Qcow2Test, ShowsWhatAModelShows) {
    const char* options[] = {"cluster_size=64k",
                             "cluster_size=512",
                             "cluster_size=4k,refcount_bits=1",
                             "cluster_size=2M",
                             "compat=0.10,cluster_size=4k",
                             "cluster_size=1k,refcount_bits=64"};
    for (const char* option : options) {
        SCOPED_TRACE(option);
        std::string image = path("image.qcow2");
        fs::remove(image);
        ASSERT_EQ(shell(std::string{"qemu-img create -f qcow2 -o "} + option + " " + image + " 6M"), 0);
        Model model{std::string(6 << 20, '\0'), std::mt19937_64{7}};
        for (unsigned round = 0; round < 3; ++round) {
            auto disk = open({.path = image});
            ASSERT_NE(disk, nullptr);
            model.play(*disk, 300);
            if (HasFatalFailure()) return;
            model.compare(*disk);
            disk.reset();
            EXPECT_EQ(check(image), 0);
        }
        ASSERT_EQ(shell("qemu-img convert -O raw " + image + " " + path("raw")), 0);
        auto raw = open({.path = path("raw")});
        model.compare(*raw);
    }
}

TEST_F(Qcow2Test, OverlaysOnRawAndOnOtherOverlays) {
    std::mt19937_64 random{3};
    std::string contents = noise(3 << 20, random);
    std::string base = file("base.img", contents);
    Model model{contents, random};
    for (std::string below = base; const char* name : {"one.qcow2", "two.qcow2", "three.qcow2"}) {
        SCOPED_TRACE(name);
        std::string overlay = path(name);
        for (unsigned round = 0; round < 2; ++round) {
            auto disk = open({.path = below, .overlay = DiskChoice::Overlay{overlay}});
            ASSERT_NE(disk, nullptr);
            model.compare(*disk);
            model.play(*disk, 200);
            if (HasFatalFailure()) return;
        }
        EXPECT_EQ(check(overlay), 0);
        auto alone = open({.path = overlay, .access = DiskAccess::ReadOnly});
        model.compare(*alone);
        below = overlay;
    }
    std::ifstream stream{base, std::ios::binary};
    EXPECT_TRUE((std::string{std::istreambuf_iterator<char>{stream}, {}}) == contents)
        << "the base was written";
}

TEST_F(Qcow2Test, AnOverlayThatNobodySeesEndsWithTheDisk) {
    std::string base = file("base.img", std::string(1 << 20, 'b'));
    DiskChoice choice{.path = base, .overlay = DiskChoice::Overlay{}};
    auto disk = open(choice);
    auto another = open(choice);
    EXPECT_EQ(put(*disk, 512, std::string(1024, 'w')), DiskStatus::Ok);
    EXPECT_EQ(get(*disk, 0, 2048), std::string(512, 'b') + std::string(1024, 'w') + std::string(512, 'b'));
    EXPECT_EQ(get(*another, 0, 2048), std::string(2048, 'b'));
    disk = open(choice);
    EXPECT_EQ(get(*disk, 0, 2048), std::string(2048, 'b'));
    EXPECT_NE(refusal({.path = base}).find("in use"), std::string::npos) << "a writer beside readers";
}

TEST_F(Qcow2Test, ReadsCompressedClustersAndWritesOverThem) {
    std::mt19937_64 random{5};
    std::string contents;
    while (contents.size() < (3u << 20))
        contents += std::string(1000, static_cast<char>(random())) + noise(24, random);
    contents.resize(3 << 20);
    file("raw", contents);
    for (const char* type : {"zlib", "zstd"}) {
        std::string image = path(std::string{type} + ".qcow2");
        ASSERT_EQ(shell("qemu-img convert -c -O qcow2 -o compression_type=" + std::string{type} + " " +
                        path("raw") + " " + image),
                  0);
        Model model{contents, random};
        auto disk = open({.path = image});
        model.compare(*disk);
        model.play(*disk, 200);
        model.compare(*disk);
        disk.reset();
        EXPECT_EQ(check(image), 0) << type;
    }
}

TEST_F(Qcow2Test, KeepsSnapshots) {
    std::mt19937_64 random{6};
    std::string contents = noise(2 << 20, random);
    file("raw", contents);
    std::string image = path("image.qcow2");
    ASSERT_EQ(shell("qemu-img convert -O qcow2 " + path("raw") + " " + image), 0);
    ASSERT_EQ(shell("qemu-img snapshot -c before " + image), 0);
    Model model{contents, random};
    auto disk = open({.path = image});
    model.play(*disk, 200);
    model.compare(*disk);
    disk.reset();
    EXPECT_EQ(check(image), 0);
    ASSERT_EQ(shell("qemu-img convert -l before -O raw " + image + " " + path("before")), 0);
    Model before{contents, random};
    before.compare(*open({.path = path("before"), .access = DiskAccess::ReadOnly}));
}

// A file of 512-byte clusters outgrows its table of reference counts again and again.
TEST_F(Qcow2Test, TheTableOfReferenceCountsGrows) {
    std::string image = path("image.qcow2");
    ASSERT_EQ(shell("qemu-img create -f qcow2 -o cluster_size=512 " + image + " 64M"), 0);
    auto disk = open({.path = image});
    std::mt19937_64 random{8};
    std::string data = noise(1 << 20, random);
    for (std::uint64_t at = 0; at < (40u << 20); at += data.size())
        ASSERT_EQ(put(*disk, at, data), DiskStatus::Ok);
    for (std::uint64_t at = 0; at < (40u << 20); at += data.size())
        ASSERT_TRUE(get(*disk, at, data.size()) == data);
    disk.reset();
    EXPECT_EQ(check(image), 0);
}

TEST_F(Qcow2Test, DiscardedSpaceGoesBackToTheHost) {
    std::string image = path("image.qcow2");
    ASSERT_EQ(shell("qemu-img create -f qcow2 " + image + " 64M"), 0);
    auto disk = open({.path = image});
    std::mt19937_64 random{9};
    std::string data = noise(8 << 20, random);
    ASSERT_EQ(put(*disk, 0, data), DiskStatus::Ok);
    ASSERT_EQ(disk->flush(), DiskStatus::Ok);
    auto size = fs::file_size(image);
    ASSERT_EQ(disk->discard(0, data.size()), DiskStatus::Ok);
    ASSERT_EQ(disk->flush(), DiskStatus::Ok);
    ASSERT_EQ(put(*disk, 16 << 20, data), DiskStatus::Ok);
    disk.reset();
    EXPECT_LE(fs::file_size(image), size + (1 << 20)) << "what was freed is used again";
    EXPECT_EQ(check(image), 0);
}

TEST_F(Qcow2Test, WhatWasFlushedSurvivesACrashAtAnyMoment) {
    std::string image = path("image.qcow2");
    unsigned leaks = 0;
    for (unsigned seed = 0; seed < 40; ++seed) {
        auto storage = std::make_unique<MemoryStorage>();
        MemoryStorage& file = *storage;
        auto header = Qcow2Disk::create(file, 4 << 20);
        ASSERT_TRUE(header);
        ASSERT_EQ(file.sync(), DiskStatus::Ok);
        auto disk = Qcow2Disk::open(std::move(storage), *header, DiskAccess::ReadWrite, nullptr);
        ASSERT_TRUE(disk);
        Model model{std::string(4 << 20, '\0'), std::mt19937_64{seed}};
        model.play(**disk, 60);
        // One region is written, flushed, and then left alone until the crash.
        std::string kept = noise(256 << 10, model.random);
        ASSERT_EQ(put(**disk, 1 << 20, kept), DiskStatus::Ok);
        ASSERT_EQ((*disk)->flush(), DiskStatus::Ok);
        file.crash_after(model.random() % 60);
        for (unsigned i = 0; i < 100 && !file.has_crashed(); ++i) {
            std::uint64_t offset = (2 << 20) + model.random() % 2048 * 512;
            (void)put(**disk, offset, noise(512 * (1 + model.random() % 200), model.random));
            if (model.random() % 3 == 0) (void)(*disk)->discard(offset, 128 << 10);
            if (model.random() % 4 == 0) (void)(*disk)->flush();
        }
        std::string after = file.after_crash(model.random);
        disk->reset();
        std::ofstream{image, std::ios::binary} << after;
        int verdict = check(image);
        ASSERT_TRUE(verdict == 0 || verdict == 3) << "seed " << seed << ": qemu-img check says " << verdict;
        leaks += verdict == 3;
        auto again = open({.path = image});
        ASSERT_TRUE(get(*again, 1 << 20, kept.size()) == kept) << "seed " << seed;
    }
    RecordProperty("images with leaked clusters", static_cast<int>(leaks));
}

TEST_F(Qcow2Test, AFullHostIsToldApart) {
    auto storage = std::make_unique<MemoryStorage>();
    MemoryStorage& file = *storage;
    auto header = Qcow2Disk::create(file, 4 << 20);
    auto disk = Qcow2Disk::open(std::move(storage), *header, DiskAccess::ReadWrite, nullptr);
    file.limit = file.size() + (256 << 10);
    std::mt19937_64 random{1};
    std::string data = noise(1 << 20, random);
    EXPECT_EQ(put(**disk, 0, data), DiskStatus::Full);
    file.limit = ~0ull;
    EXPECT_EQ(put(**disk, 0, data), DiskStatus::Ok) << "the same request, when there is room";
    EXPECT_TRUE(get(**disk, 0, data.size()) == data);
    ASSERT_EQ((*disk)->flush(), DiskStatus::Ok);
    std::ofstream{path("image.qcow2"), std::ios::binary} << file.bytes();
    EXPECT_EQ(check(path("image.qcow2")), 0);
}

TEST_F(Qcow2Test, RefusesWhatItCannotOpen) {
    std::string base = file("base.img", std::string(1 << 20, 'b'));
    std::string other = file("other.img", std::string(1 << 20, 'o'));
    EXPECT_NE(refusal({.path = base, .format = DiskFormat::Qcow2}).find("not a qcow2 image"),
              std::string::npos);
    std::string overlay = path("overlay.qcow2");
    open({.path = base, .overlay = DiskChoice::Overlay{overlay}}).reset();
    EXPECT_NE(refusal({.path = other, .overlay = DiskChoice::Overlay{overlay}}).find("not of '" + other),
              std::string::npos);
    fs::copy_file(overlay, path("raw-or-not"));
    EXPECT_NE(refusal({.path = path("raw-or-not")}).find("format="), std::string::npos);
    EXPECT_EQ(refusal({.path = path("raw-or-not"), .format = DiskFormat::Raw}), "opened");
    fs::remove(base);
    EXPECT_NE(refusal({.path = overlay}).find("No such file"), std::string::npos);
    ASSERT_EQ(shell("qemu-img create -f qcow2 -u -b loop.qcow2 -F qcow2 " + path("loop.qcow2") + " 1M"), 0);
    EXPECT_NE(
        refusal({.path = path("loop.qcow2"), .access = DiskAccess::ReadOnly}).find("stand on each other"),
        std::string::npos);
}

// Two disks over one base, and which pages of theirs are the base's.
TEST_F(Qcow2Test, PagesAreOfTheImageInWhichTheyLie) {
    Images images;
    auto open_with = [&](const DiskChoice& choice) { return *open_disk(choice, &images); };
    std::string base = file("base.img", std::string(1 << 20, 'b'));
    auto one = open_with({.path = base, .overlay = DiskChoice::Overlay{}});
    EXPECT_FALSE(one->origin(0)) << "nobody else reads it";
    auto two = open_with({.path = base, .overlay = DiskChoice::Overlay{path("two.qcow2")}});
    auto first = one->origin(8192);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->page, 2u);
    EXPECT_EQ(two->origin(8192)->image, first->image);
    EXPECT_EQ(two->origin(8192)->page, first->page);
    EXPECT_EQ(put(*two, 8192, std::string(512, 'x')), DiskStatus::Ok);
    EXPECT_FALSE(two->origin(8192)) << "its own now";
    EXPECT_TRUE(one->origin(8192));
    two = nullptr;
    EXPECT_FALSE(one->origin(8192));

    // A qcow2 file is an image as well, and its pages lie where its clusters do.
    ASSERT_EQ(shell("qemu-img convert -O qcow2 " + base + " " + path("base.qcow2")), 0);
    auto three = open_with({.path = path("base.qcow2"), .access = DiskAccess::ReadOnly});
    auto four = open_with({.path = path("base.qcow2"), .overlay = DiskChoice::Overlay{}});
    auto raw =
        open_with({.path = path("base.qcow2"), .access = DiskAccess::ReadOnly, .format = DiskFormat::Raw});
    auto in_file = three->origin(8192);
    ASSERT_TRUE(in_file);
    EXPECT_NE(in_file->image, first->image);
    EXPECT_EQ(four->origin(8192)->page, in_file->page);
    EXPECT_EQ(get(*raw, in_file->page * 4096, 4096), get(*three, 8192, 4096));
    EXPECT_EQ(raw->origin(in_file->page * 4096)->image, in_file->image);
}

}  // namespace
}  // namespace undercroft::test
