// SPDX-License-Identifier: Apache-2.0
// Good requests, and everything that the specification forbids a driver.
#include "virtio/queue.hpp"

#include "virtio/test_driver.hpp"

#include <gtest/gtest.h>

#include <string>

namespace undercroft::test {
namespace {

constexpr std::uint64_t data = 0x8000;

struct QueueTest : testing::Test {
    TestMemory memory;
    Queue queue{memory.device()};
    Chain chain;

    QueueTest() {
        queue.state().size = 8;
        queue.state().ready = true;
        queue.state().descriptors = GuestPhysical{TestMemory::descriptors};
        queue.state().driver = GuestPhysical{TestMemory::available};
        queue.state().device = GuestPhysical{TestMemory::used};
        queue.state().indirect = true;
    }
    void expect_broken(const std::string& why) {
        EXPECT_EQ(queue.pop(chain), Queue::Pop::Broken);
        ASSERT_NE(queue.fault(), nullptr);
        EXPECT_NE(std::string{queue.fault()}.find(why), std::string::npos) << queue.fault();
        EXPECT_EQ(queue.pop(chain), Queue::Pop::Broken) << "it stays so";
        EXPECT_FALSE(queue.push(chain, 1));
        EXPECT_FALSE(queue.wants_interrupt());
        EXPECT_EQ(memory.used_index(), 0);
    }
};

TEST_F(QueueTest, ARequestComesAndGoesBack) {
    EXPECT_EQ(queue.pop(chain), Queue::Pop::Empty);
    // Pages that are written one after the other get frames that lie side by side.
    for (std::uint64_t page : {0x0000u, 0x1000u, 0x2000u}) memory.put(data + page, std::uint32_t{0x11223344});
    memory.offer(2, {{data, 4}, {data + 0x1000 - 6, 2}, {data + 0x1000 - 4, 0x1008, flag::write}});
    ASSERT_EQ(queue.pop(chain), Queue::Pop::Chain);
    EXPECT_EQ(queue.pop(chain), Queue::Pop::Empty);
    EXPECT_EQ(chain.head, 2);
    EXPECT_EQ(chain.readable.size(), 6u);
    EXPECT_EQ(chain.readable.pieces().size(), 2u);
    EXPECT_EQ(chain.writable.size(), 0x1008u);
    auto pieces = chain.writable.pieces();
    for (std::size_t n = 1; n < pieces.size(); ++n)
        EXPECT_NE(static_cast<std::byte*>(pieces[n - 1].iov_base) + pieces[n - 1].iov_len, pieces[n].iov_base)
            << "frames that lie side by side are one piece";
    std::uint32_t value = 0;
    EXPECT_EQ(chain.readable.take_front(std::as_writable_bytes(std::span{&value, 1})), 4u);
    EXPECT_EQ(value, 0x11223344u);
    chain.tell_written(memory.device());
    ASSERT_TRUE(queue.push(chain, 77));
    EXPECT_EQ(memory.used_index(), 1);
    EXPECT_EQ(memory.used_element(0), (std::pair{2u, 77u}));
    auto told = memory.written();
    EXPECT_NE(
        std::find(told.begin(), told.end(), std::pair<std::uint64_t, std::uint64_t>{data + 0xffc, 0x1008}),
        told.end());
}

TEST_F(QueueTest, IndicesWrapAround) {
    for (unsigned n = 0; n < 70000; ++n) {
        memory.offer(static_cast<std::uint16_t>(n % 8), {{data, 4, flag::write}});
        ASSERT_EQ(queue.pop(chain), Queue::Pop::Chain) << n;
        ASSERT_TRUE(queue.push(chain, n));
        ASSERT_EQ(memory.used_element(n % 8), (std::pair{n % 8, n}));
    }
    EXPECT_EQ(memory.used_index(), static_cast<std::uint16_t>(70000));
}

TEST_F(QueueTest, IndirectTables) {
    constexpr std::uint64_t table = 0x4000;
    for (std::uint16_t n = 0; n < 200; ++n)  // more than the queue has
        memory.describe(
            n, {data + n * 64u, 32, n < 199 ? flag::next : flag::write, static_cast<std::uint16_t>(n + 1)},
            table);
    memory.offer(0, {{data, 8}, {table, 200 * 16, flag::indirect}});
    ASSERT_EQ(queue.pop(chain), Queue::Pop::Chain) << queue.fault();
    EXPECT_EQ(chain.readable.size(), 8 + 199 * 32u);
    EXPECT_EQ(chain.writable.size(), 32u);
}

TEST_F(QueueTest, InterruptsByFlag) {
    EXPECT_TRUE(queue.wants_interrupt());
    memory.put(TestMemory::available, std::uint16_t{1});
    EXPECT_FALSE(queue.wants_interrupt());
}

TEST_F(QueueTest, InterruptsByEventIndex) {
    queue.state().event_index = true;
    constexpr std::uint64_t used_event = TestMemory::available + 4 + 2 * 8;
    constexpr std::uint64_t available_event = TestMemory::used + 4 + 8 * 8;
    memory.put(used_event, std::uint16_t{1});  // at the second
    std::vector<bool> wanted;
    for (unsigned n = 0; n < 4; ++n) {
        memory.offer(0, {{data, 4, flag::write}});
        ASSERT_EQ(queue.pop(chain), Queue::Pop::Chain);
        ASSERT_TRUE(queue.push(chain, 4));
        wanted.push_back(queue.wants_interrupt());
    }
    EXPECT_EQ(wanted, (std::vector{false, true, false, false}));
    EXPECT_TRUE(queue.ask_for_notification());
    EXPECT_EQ(memory.get<std::uint16_t>(available_event), 4);
    memory.offer(0, {{data, 4, flag::write}});
    EXPECT_FALSE(queue.ask_for_notification()) << "there is one already";
}

TEST_F(QueueTest, AQueueThatIsNotReadyIsEmpty) {
    queue.state().ready = false;
    memory.offer(0, {{data, 4, flag::write}});
    EXPECT_EQ(queue.pop(chain), Queue::Pop::Empty);
}

TEST_F(QueueTest, Loops) {
    memory.describe(0, {data, 4, flag::next, 1});
    memory.describe(1, {data, 4, flag::next, 0});
    memory.make_available(0);
    expect_broken("loop");
}

TEST_F(QueueTest, LoopsInAnIndirectTable) {
    memory.describe(0, {data, 4, flag::next, 0}, 0x4000);
    memory.offer(0, {{0x4000, 32, flag::indirect}});
    expect_broken("loop");
}

TEST_F(QueueTest, NumbersBeyondTheTable) {
    memory.describe(0, {data, 4, flag::next, 8});
    memory.make_available(0);
    expect_broken("beyond the table");
}

TEST_F(QueueTest, AHeadBeyondTheTable) {
    memory.make_available(8);
    expect_broken("beyond the table");
}

TEST_F(QueueTest, NumbersBeyondAnIndirectTable) {
    memory.describe(0, {data, 4, flag::next, 2}, 0x4000);
    memory.offer(0, {{0x4000, 32, flag::indirect}});
    expect_broken("beyond the table");
}

TEST_F(QueueTest, AnAvailableIndexThatJumps) {
    memory.set_available_index(9);
    expect_broken("more requests are available");
}

TEST_F(QueueTest, AnAvailableIndexThatGoesBack) {
    memory.set_available_index(0xffff);
    expect_broken("more requests are available");
}

TEST_F(QueueTest, NoLength) {
    memory.offer(0, {{data, 0}});
    expect_broken("no length");
}

TEST_F(QueueTest, ReadableBehindWritable) {
    memory.offer(0, {{data, 4, flag::write}, {data, 4}});
    expect_broken("readable descriptor behind a writable one");
}

TEST_F(QueueTest, AddressesOutsideMemory) {
    for (auto [address, length] : {std::pair<std::uint64_t, std::uint32_t>{TestMemory::size, 1},
                                   {TestMemory::size - 1, 2},
                                   {0xd0000000, 16},
                                   {1ull << 52, 16},
                                   {~0ull, 2},
                                   {~0ull - 4095, 0xffffffff},
                                   {0, 0xffffffff}}) {
        for (std::uint16_t flags : {std::uint16_t{0}, flag::write}) {
            TestMemory other;
            Queue hostile{other.device()};
            hostile.state() = queue.state();
            other.offer(0, {{address, length, flags}});
            EXPECT_EQ(hostile.pop(chain), Queue::Pop::Broken) << address << "+" << length;
            EXPECT_NE(std::string{hostile.fault()}.find("not in memory"), std::string::npos)
                << hostile.fault();
        }
    }
}

TEST_F(QueueTest, MoreThan4GiB) {
    // No memory is that large; the sum of many descriptors could be.
    queue.state().size = 8;
    memory.offer(0, {{0, TestMemory::size}, {0, 0xffffffff}});
    expect_broken("more than 4 GiB");
}

TEST_F(QueueTest, IndirectTablesOfAbsurdLength) {
    for (std::uint32_t length : {0u, 8u, 17u, 16u * 1025, 0xfffffff0u}) {
        TestMemory other;
        Queue hostile{other.device()};
        hostile.state() = queue.state();
        other.offer(0, {{0x4000, length, flag::indirect}});
        EXPECT_EQ(hostile.pop(chain), Queue::Pop::Broken) << length;
        EXPECT_NE(std::string{hostile.fault()}.find("absurd length"), std::string::npos) << hostile.fault();
    }
}

TEST_F(QueueTest, IndirectInIndirect) {
    memory.describe(0, {0x5000, 16, flag::indirect}, 0x4000);
    memory.offer(0, {{0x4000, 16, flag::indirect}});
    expect_broken("in an indirect table");
}

TEST_F(QueueTest, IndirectWithNext) {
    memory.describe(0, {0x4000, 16, flag::indirect | flag::next, 1});
    memory.make_available(0);
    expect_broken("has a next one");
}

TEST_F(QueueTest, IndirectThatWasNotAgreedOn) {
    queue.state().indirect = false;
    memory.offer(0, {{0x4000, 16, flag::indirect}});
    expect_broken("not agreed on");
}

TEST_F(QueueTest, IndirectTableOutsideMemory) {
    memory.offer(0, {{TestMemory::size, 16, flag::indirect}});
    expect_broken("table is not in memory");
}

TEST_F(QueueTest, RingsOutsideMemoryOrMisaligned) {
    queue.state().driver = GuestPhysical{TestMemory::size};
    expect_broken("available ring");
    for (std::uint64_t address :
         {TestMemory::available + 1, std::uint64_t{0xd0000000}, ~std::uint64_t{4095}}) {
        Queue hostile{memory.device()};
        hostile.state() = queue.state();
        hostile.state().driver = GuestPhysical{address};
        EXPECT_EQ(hostile.pop(chain), Queue::Pop::Broken) << address;
    }
}

TEST_F(QueueTest, DescriptorTableOutsideMemory) {
    queue.state().descriptors = GuestPhysical{TestMemory::size - 16};
    memory.put(TestMemory::available + 4, std::uint16_t{1});
    memory.set_available_index(1);
    expect_broken("table is not in memory");
}

TEST_F(QueueTest, UsedRingOutsideMemoryOrMisaligned) {
    for (std::uint64_t address : {TestMemory::used + 2, std::uint64_t{TestMemory::size}}) {
        Queue hostile{memory.device()};
        hostile.state() = queue.state();
        hostile.state().device = GuestPhysical{address};
        chain.clear(0);
        EXPECT_FALSE(hostile.push(chain, 0)) << address;
        EXPECT_NE(hostile.fault(), nullptr);
    }
}

}  // namespace
}  // namespace undercroft::test
