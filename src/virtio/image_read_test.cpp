// SPDX-License-Identifier: Apache-2.0
// Two machines read one image.
#include "virtio/image_read.hpp"

#include "memory/image_pages.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace undercroft::test {
namespace {

// Of 16 pages, each full of a letter; some are of an image.
class ImageDisk final : public Disk {
public:
    const std::string& name() const override { return name_; }
    std::uint64_t size() const override { return 16 * 4096; }
    bool is_read_only() const override { return true; }
    DiskStatus read(std::uint64_t offset, std::span<const iovec> to) override {
        if (fails) return DiskStatus::Failed;
        ++reads;
        for (const iovec& piece : to) {
            for (std::size_t n = 0; n < piece.iov_len; ++n, ++offset)
                static_cast<char*>(piece.iov_base)[n] = static_cast<char>('a' + offset / 4096);
            bytes += piece.iov_len;
        }
        return DiskStatus::Ok;
    }
    DiskStatus write(std::uint64_t, std::span<const iovec>) override { return DiskStatus::Failed; }
    DiskStatus flush() override { return DiskStatus::Ok; }
    DiskStatus discard(std::uint64_t, std::uint64_t) override { return DiskStatus::Failed; }
    DiskStatus write_zeroes(std::uint64_t, std::uint64_t, bool) override { return DiskStatus::Failed; }
    std::optional<Origin> origin(std::uint64_t offset) override {
        std::uint64_t page = offset / 4096;
        if (page == own_page) return std::nullopt;
        return Origin{5, page};
    }

    std::uint64_t own_page = 16;  // which is none of the image's
    unsigned reads = 0;
    std::uint64_t bytes = 0;
    bool fails = false;

private:
    std::string name_ = "image";
};

struct ImageReadTest : testing::Test {
    struct Machine {
        explicit Machine(const std::shared_ptr<FramePool>& pool)
            : memory{std::move(*GuestMemory::create({{GuestPhysical{0}, 64 * 4096}}, pool))} {}

        std::unique_ptr<GuestMemory> memory;
        DmaMemory dma{*memory, nullptr};
        ImageDisk disk;

        DiskStatus read(std::uint64_t offset, std::vector<Chain::Range> ranges) {
            Buffers room;
            return read_sharing_pages(disk, dma, offset, ranges, room);
        }
        std::string letters(std::uint64_t address, std::uint64_t pages) const {
            std::string all;
            for (std::uint64_t n = 0; n < pages; ++n) {
                GuestPhysical at{address + n * 4096};
                char letter = static_cast<char>(*memory->readable(at));
                const std::byte* page = memory->readable(at);
                bool same = std::all_of(page, page + 4096 - at.page_offset(),
                                        [&](std::byte each) { return static_cast<char>(each) == letter; });
                all += same ? letter : '!';
            }
            return all;
        }
        PageState state(std::uint64_t pfn) const { return memory->entry(pfn).state(); }
    };

    std::shared_ptr<FramePool> pool = *FramePool::create(1 << 20);
    ImageReadTest() { pool->images().enable(); }
    Machine one{pool};
    Machine two{pool};
};

TEST_F(ImageReadTest, TheSecondReadIsAMapping) {
    ASSERT_EQ(one.read(4096, {{GuestPhysical{0x8000}, 3 * 4096}}), DiskStatus::Ok);
    EXPECT_EQ(one.letters(0x8000, 3), "bcd");
    EXPECT_EQ(one.disk.reads, 1u) << "neighbours are read at once";
    ASSERT_EQ(two.read(0, {{GuestPhysical{0x2000}, 4096}, {GuestPhysical{0xf000}, 4 * 4096}}),
              DiskStatus::Ok);
    EXPECT_EQ(two.letters(0x2000, 1) + two.letters(0xf000, 4), "abcde");
    EXPECT_EQ(two.disk.bytes, 2 * 4096u) << "pages 0 and 4: the others were there";
    for (std::uint64_t n = 0; n < 3; ++n)
        EXPECT_EQ(one.memory->entry(8 + n).frame(), two.memory->entry(0xf + n).frame());
    EXPECT_EQ(pool->images().count(), 5u);

    *one.memory->writable(GuestPhysical{0x8000}) = std::byte{'x'};
    EXPECT_EQ(two.letters(0xf000, 1), "b") << "what one writes is its own";
}

TEST_F(ImageReadTest, WhatCannotBeSharedIsCopied) {
    one.memory->writable(GuestPhysical{0x9000});  // has a frame, which somebody may have in a TLB
    one.disk.own_page = 3;
    ASSERT_EQ(one.read(0, {{GuestPhysical{0x8000}, 4 * 4096}}), DiskStatus::Ok);
    EXPECT_EQ(one.letters(0x8000, 4), "abcd");
    EXPECT_EQ(one.state(0x8), PageState::Shared);
    EXPECT_EQ(one.state(0x9), PageState::Private);
    EXPECT_EQ(one.state(0xa), PageState::Shared);
    EXPECT_EQ(one.state(0xb), PageState::Private);
    EXPECT_EQ(pool->images().count(), 2u);
    // Parts of pages, and pages that lie otherwise on the disk.
    ASSERT_EQ(two.read(512, {{GuestPhysical{0x8200}, 4096}, {GuestPhysical{0xa000}, 4096}}), DiskStatus::Ok);
    EXPECT_EQ(two.state(0x8), PageState::Private);
    EXPECT_EQ(two.state(0xa), PageState::Private);
    EXPECT_EQ(two.letters(0x8200, 1), "a");
    EXPECT_EQ(static_cast<char>(*two.memory->readable(GuestPhysical{0xa000 + 4096 - 512})), 'c');
}

TEST_F(ImageReadTest, ReadsThatFailShowNothing) {
    one.disk.fails = true;
    EXPECT_EQ(one.read(0, {{GuestPhysical{0x8000}, 2 * 4096}}), DiskStatus::Failed);
    EXPECT_EQ(one.state(0x8), PageState::Unbacked);
    EXPECT_EQ(pool->images().count(), 0u);
    // What another machine has read is there all the same.
    ASSERT_EQ(two.read(0, {{GuestPhysical{0x8000}, 4096}}), DiskStatus::Ok);
    EXPECT_EQ(one.read(0, {{GuestPhysical{0x8000}, 4096}}), DiskStatus::Ok);
    EXPECT_EQ(one.letters(0x8000, 1), "a");
    EXPECT_EQ(one.read(0, {{GuestPhysical{0x8000}, 4096}, {GuestPhysical{0x9000}, 4096}}),
              DiskStatus::Failed);
}

}  // namespace
}  // namespace undercroft::test
