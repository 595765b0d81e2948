// SPDX-License-Identifier: Apache-2.0
#include "memory/image_pages.hpp"

#include "memory/guest_memory.hpp"

#include <gtest/gtest.h>

#include <cstring>

namespace undercroft {
namespace {

struct ImagePagesTest : testing::Test {
    static constexpr std::uint64_t pages = 16;

    std::shared_ptr<FramePool> pool = *FramePool::create(64 << 12);
    std::unique_ptr<GuestMemory> one = machine();
    std::unique_ptr<GuestMemory> two = machine();
    FrameBatch batch;

    std::unique_ptr<GuestMemory> machine() {
        return std::move(*GuestMemory::create({{GuestPhysical{0}, pages << 12}}, pool));
    }
    ~ImagePagesTest() override {
        while (batch.count > 0) pool->give_back(batch.frames[--batch.count]);
    }
    // A frame full of `letter`.
    MachineFrame frame(char letter) {
        if (batch.count == 0) pool->take(batch);
        MachineFrame taken = batch.frames[--batch.count];
        std::memset(pool->host(taken), letter, 4096);
        return taken;
    }
    static char letter(const GuestMemory& memory, std::uint64_t pfn) {
        return static_cast<char>(*memory.readable(GuestPhysical{pfn << 12}));
    }
};

TEST_F(ImagePagesTest, MachinesShowOneFrameUntilTheyWrite) {
    ImagePages& images = pool->images();
    EXPECT_FALSE(images.find({1, 7}));
    MachineFrame added = images.add({1, 7}, frame('a'));
    ASSERT_TRUE(one->show(3, added));
    auto found = images.find({1, 7});
    ASSERT_EQ(found, added);
    ASSERT_TRUE(two->show(5, *found));
    EXPECT_EQ(pool->sharers(added), 3u);
    EXPECT_EQ(letter(*one, 3), 'a');
    EXPECT_EQ(letter(*two, 5), 'a');
    EXPECT_FALSE(images.find({2, 7})) << "of another image";

    *one->writable(GuestPhysical{3 << 12}) = std::byte{'b'};
    EXPECT_EQ(letter(*one, 3), 'b');
    EXPECT_EQ(letter(*two, 5), 'a');
    EXPECT_EQ(letter(*one, 3), 'b');
}

TEST_F(ImagePagesTest, WhoeverWasQuickerHasTheFrame) {
    MachineFrame first = pool->images().add({1, 7}, frame('a'));
    MachineFrame second = pool->images().add({1, 7}, frame('a'));
    EXPECT_EQ(first, second);
    EXPECT_EQ(pool->sharers(first), 3u);
    pool->leave(first);
    pool->leave(first);
}

TEST_F(ImagePagesTest, PagesThatNobodyShowsAreForgotten) {
    ImagePages& images = pool->images();
    ASSERT_TRUE(one->show(3, images.add({1, 7}, frame('a'))));
    images.drop_unused();
    EXPECT_EQ(images.count(), 1u);
    one->writable(GuestPhysical{3 << 12});
    images.drop_unused();
    EXPECT_EQ(images.count(), 1u) << "somebody may still look at it";
    one->leave_shared_frames();
    images.drop_unused();
    EXPECT_EQ(images.count(), 0u);
    std::uint64_t before = pool->in_use();
    ASSERT_TRUE(two->show(5, images.add({1, 8}, frame('b'))));
    two = nullptr;
    images.drop_unused();
    EXPECT_EQ(images.count(), 0u);
    EXPECT_LE(pool->in_use(), before + FrameBatch::most);
}

TEST_F(ImagePagesTest, OnlyPagesWithoutFramesOfTheirOwnShowThem) {
    MachineFrame added = pool->images().add({1, 7}, frame('a'));
    one->writable(GuestPhysical{3 << 12});
    EXPECT_FALSE(one->show(3, added)) << "it has a frame";
    EXPECT_FALSE(one->show(pages, added)) << "it is no RAM";
    EXPECT_FALSE(one->may_show(3));
    EXPECT_TRUE(one->may_show(4));
    EXPECT_TRUE(one->show(4, added));
    // Another one later, which leaves the first as a write would.
    MachineFrame next = pool->images().add({1, 8}, frame('b'));
    EXPECT_TRUE(one->show(4, next));
    EXPECT_EQ(letter(*one, 4), 'b');
    EXPECT_EQ(pool->sharers(added), 2u) << "somebody may still look at it";
    one->leave_shared_frames();
    EXPECT_EQ(pool->sharers(added), 1u);
}

// A page that shows a frame, is cleared, and so on: as long as nobody may be told to look away, there is an
// end to it.
TEST_F(ImagePagesTest, PagesDoNotLeaveFramesWithoutBound) {
    ImagePages& images = pool->images();
    std::uint64_t shown = 0;
    for (unsigned n = 0; n < 1000; ++n) {
        MachineFrame found = n == 0 ? images.add({1, 7}, frame('a')) : *images.find({1, 7});
        if (one->show(3, found)) {
            ++shown;
            EXPECT_TRUE(one->clear(3));
        } else {
            pool->leave(found);
        }
    }
    EXPECT_EQ(shown, pages + FrameBatch::most);
    one->leave_shared_frames();
    EXPECT_EQ(pool->sharers(*images.find({1, 7})), 2u);
    EXPECT_TRUE(one->show(3, *images.find({1, 7})));
}

}  // namespace
}  // namespace undercroft
