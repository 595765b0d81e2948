// SPDX-License-Identifier: Apache-2.0
#include "memory/guest_memory.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace undercroft {
namespace {

constexpr std::uint64_t MiB = 1 << 20;
constexpr std::uint64_t high = 1ull << 32;

std::unique_ptr<GuestMemory> two_regions(FrameBacking backing = FrameBacking::Shared) {
    auto memory = GuestMemory::create({{GuestPhysical{0}, 4 * MiB}, {GuestPhysical{high}, 2 * MiB}},
                                      *FramePool::create(0, backing));
    EXPECT_TRUE(memory);
    return std::move(*memory);
}

TEST(GuestMemory, KnowsItsRegions) {
    auto memory = two_regions();
    EXPECT_EQ(memory->size(), 6 * MiB);
    EXPECT_EQ(memory->page_limit(), (high + 2 * MiB) >> 12);
    EXPECT_EQ(memory->regions().size(), 2u);
    EXPECT_TRUE(memory->is_ram(GuestPhysical{0}));
    EXPECT_TRUE(memory->is_ram(GuestPhysical{4 * MiB - 1}));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{4 * MiB}));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{high - 1}));
    EXPECT_TRUE(memory->is_ram(GuestPhysical{high}));
    EXPECT_TRUE(memory->is_ram(GuestPhysical{high + 2 * MiB - 1}));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{high + 2 * MiB}));
    EXPECT_FALSE(memory->is_ram(GuestPhysical{~0ull}));
}

TEST(GuestMemory, FreshPagesAreZeroDistinctAndFree) {
    auto memory = two_regions();
    EXPECT_EQ(memory->figures().own, 0u);
    std::byte* low = memory->writable(GuestPhysical{0x1234});
    std::byte* other = memory->writable(GuestPhysical{high + 0x234});
    EXPECT_EQ(*low, std::byte{0});
    *low = std::byte{1};
    *other = std::byte{2};
    EXPECT_EQ(*memory->writable(GuestPhysical{0x1234}), std::byte{1});
    EXPECT_EQ(memory->figures().own, 2u);
}

TEST(GuestMemory, ReadingTakesNoFrame) {
    auto memory = two_regions();
    const std::byte* before = memory->readable(GuestPhysical{0x3123});
    EXPECT_EQ(*before, std::byte{0});
    EXPECT_EQ(memory->readable(GuestPhysical{0x5123}), before);
    EXPECT_EQ(memory->readable(GuestPhysical{4 * MiB}), nullptr);
    EXPECT_EQ(memory->writable(GuestPhysical{4 * MiB}), nullptr);
    std::vector<std::byte> in(3 * MiB);
    EXPECT_TRUE(memory->read(GuestPhysical{0x800}, in));
    EXPECT_EQ(memory->figures().own, 0u);
    EXPECT_EQ(memory->own_page(3), nullptr);

    std::byte* own = memory->writable(GuestPhysical{0x3123});
    EXPECT_NE(own, before);
    *own = std::byte{5};
    EXPECT_EQ(*before, std::byte{0});
    EXPECT_EQ(memory->readable(GuestPhysical{0x3123}), own);
    EXPECT_EQ(memory->own_page(3), own - 0x123);
    EXPECT_EQ(memory->pages_with_frames(), std::vector<std::uint64_t>{3});
}

TEST(GuestMemory, TwoWritersGetOneFrame) {
    auto memory = two_regions();
    constexpr std::uint64_t pages = 1024;
    std::vector<std::vector<std::byte*>> seen(3, std::vector<std::byte*>(pages));
    std::vector<std::thread> writers;
    for (auto& mine : seen) {
        writers.emplace_back([&] {
            for (std::uint64_t pfn = 0; pfn < pages; ++pfn) {
                mine[pfn] = memory->writable(GuestPhysical{pfn << 12});
                std::atomic_ref{reinterpret_cast<std::uint64_t&>(*mine[pfn])}.fetch_add(1);
            }
        });
    }
    for (std::thread& writer : writers) writer.join();
    EXPECT_EQ(seen[0], seen[1]);
    EXPECT_EQ(seen[0], seen[2]);
    for (std::byte* word : seen[0]) ASSERT_EQ(reinterpret_cast<std::uint64_t&>(*word), 3u);
    EXPECT_EQ(memory->figures().own, pages);
}

TEST(GuestMemory, FramesGoBackToTheOthersAsZeroes) {
    auto pool = *FramePool::create();
    auto make = [&] { return *GuestMemory::create({{GuestPhysical{0}, 8 * MiB}}, pool); };
    auto keeps = make();
    *keeps->writable(GuestPhysical{0x1000}) = std::byte{7};
    std::uint64_t before = pool->in_use();
    for (unsigned n = 0; n < 3; ++n) {
        auto memory = make();
        for (std::uint64_t at = 0; at < 8 * MiB; at += 4096) {
            std::byte* page = memory->writable(GuestPhysical{at});
            ASSERT_TRUE(std::all_of(page, page + 4096, [](std::byte byte) { return byte == std::byte{0}; }));
            std::memset(page, 0xaa, 4096);
        }
        memory.reset();
        EXPECT_EQ(pool->in_use(), before);
    }
    EXPECT_EQ(*keeps->readable(GuestPhysical{0x1000}), std::byte{7});
}

TEST(RequestGate, OpensForDevicesAgain) {
    RequestGate gate;
    {
        RequestGate::Pass pass{gate};
        RequestGate::Pass another{gate};
        EXPECT_FALSE(gate.try_close());
    }
    ASSERT_TRUE(gate.try_close());
    EXPECT_FALSE(gate.try_close());
    std::atomic<bool> opened{false};
    std::thread device{[&] {
        RequestGate::Pass pass{gate};
        EXPECT_TRUE(opened);
    }};
    std::thread{[&] {  // not the one that closed it
        opened = true;
        gate.open();
    }}
        .join();
    device.join();
    EXPECT_TRUE(gate.try_close());
}

TEST(GuestMemory, CopiesAcrossPages) {
    auto memory = two_regions();
    std::array<std::byte, 10000> out{};
    std::array<std::byte, 10000> in{};
    for (std::size_t i = 0; i < out.size(); i++) out[i] = static_cast<std::byte>(i * 7);
    EXPECT_TRUE(memory->write(GuestPhysical{0x2ffd}, out));
    EXPECT_TRUE(memory->read(GuestPhysical{0x2ffd}, in));
    EXPECT_EQ(std::memcmp(in.data(), out.data(), in.size()), 0);
}

class TakingMemory : public testing::TestWithParam<FrameBacking> {};
INSTANTIATE_TEST_SUITE_P(Kinds, TakingMemory, testing::Values(FrameBacking::Shared, FrameBacking::Private));

TEST_P(TakingMemory, TakesPagesOrCopiesThem) {
    constexpr std::uint64_t size = 3 * MiB;
    for (std::uint64_t offset : {0ull, 4096ull, 5000ull}) {  // of the bytes in their buffer
        for (std::uint64_t to : {0x2000ull, 0x2388ull}) {    // 5000 and 0x2388 lie alike in their pages
            auto memory = two_regions(GetParam());
            std::unique_ptr<std::byte, decltype(&std::free)> buffer{
                static_cast<std::byte*>(std::aligned_alloc(2 * MiB, 4 * MiB)), &std::free};
            std::span bytes{buffer.get() + offset, size};
            for (std::size_t i = 0; i < size; i++) bytes[i] = static_cast<std::byte>(i * 7 + i / 4096);
            std::vector<std::byte> expected(bytes.begin(), bytes.end());
            ASSERT_TRUE(memory->take(GuestPhysical{to}, bytes));
            std::vector<std::byte> in(size);
            ASSERT_TRUE(memory->read(GuestPhysical{to}, in));
            EXPECT_EQ(in, expected);
            EXPECT_EQ(*memory->writable(GuestPhysical{to - 1}), std::byte{0});
            EXPECT_EQ(*memory->writable(GuestPhysical{to + size}), std::byte{0});
            bytes[0] = std::byte{1};  // still there to be written, and freed
        }
    }
    auto memory = two_regions();
    std::vector<std::byte> large(5 * MiB);
    EXPECT_FALSE(memory->take(GuestPhysical{0}, large)) << "not all RAM";
}

TEST(GuestMemory, RefusesWhatIsNotAllRam) {
    auto memory = two_regions();
    std::array<std::byte, 8> bytes;
    bytes.fill(std::byte{0xaa});
    EXPECT_FALSE(memory->write(GuestPhysical{4 * MiB - 4}, bytes));
    EXPECT_EQ(*memory->writable(GuestPhysical{4 * MiB - 4}), std::byte{0});
    EXPECT_FALSE(memory->read(GuestPhysical{high - 4}, bytes));
    EXPECT_EQ(bytes[4], std::byte{0xaa});
    EXPECT_FALSE(memory->read(GuestPhysical{~0ull - 3}, bytes));
    EXPECT_TRUE(memory->read(GuestPhysical{~0ull}, {}));
}

TEST(GuestMemory, WhatIsGivenUpIsZeroAndHasNoFrame) {
    auto memory = *GuestMemory::create({{GuestPhysical{0}, 8 * 4096}, {GuestPhysical{16 * 4096}, 4096}});
    for (std::uint64_t page : {0u, 1u, 2u, 3u})
        *memory->writable(GuestPhysical{page * 4096}) = std::byte{0xaa};
    ASSERT_TRUE(memory->become_shared(3));
    std::array<std::uint64_t, 6> pages{1, 3, 5, 9, 16, ~0ull >> 12};
    memory->give_up(pages, PageState::Ballooned);
    EXPECT_EQ(memory->figures().ballooned, 4u) << "of what is RAM";
    EXPECT_EQ(memory->pages_with_frames(), (std::vector<std::uint64_t>{0, 2}));
    EXPECT_EQ(*memory->readable(GuestPhysical{4096}), std::byte{0});
    EXPECT_EQ(*memory->readable(GuestPhysical{3 * 4096}), std::byte{0});
    EXPECT_EQ(*memory->readable(GuestPhysical{0}), std::byte{0xaa});
    EXPECT_EQ(*memory->writable(GuestPhysical{4096}), std::byte{0}) << "and it is memory again";
    EXPECT_EQ(memory->figures().ballooned, 3u);
    memory->give_up(std::array<std::uint64_t, 1>{0}, PageState::Unbacked);
    EXPECT_EQ(memory->figures().unbacked, 4u);
}

TEST(GuestMemory, SaysWhyItCannotBeMade) {
    auto memory = GuestMemory::create({{GuestPhysical{0}, 1ull << 41}});
    ASSERT_FALSE(memory);
    EXPECT_EQ(memory.error().message, "cannot reserve 2097152 MiB of memory: more than a guest can address");
}

}  // namespace
}  // namespace undercroft
