// SPDX-License-Identifier: Apache-2.0
// The block device as its driver sees it: registers, a queue in memory, and a disk that can fail.
#include "virtio/block.hpp"

#include "virtio/io_thread.hpp"
#include "virtio/test_driver.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace undercroft::test {
namespace {

class MemoryDisk final : public Disk {
public:
    const std::string& name() const override { return name_; }
    std::uint64_t size() const override { return bytes.size(); }
    bool is_read_only() const override { return read_only; }
    void will_read(std::uint64_t offset, std::uint64_t length) override {
        events += fmt::format("announced {}+{}; ", offset / 512, length / 512);
    }
    DiskStatus read(std::uint64_t offset, std::span<const iovec> to) override {
        events += fmt::format("read {}; ", offset / 512);
        reading = true;
        while (hold) std::this_thread::yield();
        return each(offset, to, [this](auto* host, std::uint64_t at, std::size_t n) {
            std::memcpy(host, bytes.data() + at, n);
        });
    }
    DiskStatus write(std::uint64_t offset, std::span<const iovec> from) override {
        return each(offset, from, [this](auto* host, std::uint64_t at, std::size_t n) {
            std::memcpy(bytes.data() + at, host, n);
        });
    }
    DiskStatus flush() override {
        ++flushes;
        return fails ? DiskStatus::Failed : DiskStatus::Ok;
    }
    DiskStatus discard(std::uint64_t offset, std::uint64_t length) override {
        if (!can_discard) return DiskStatus::Unsupported;
        cleared.push_back(fmt::format("discard {}+{}", offset, length));
        return DiskStatus::Ok;
    }
    DiskStatus write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) override {
        cleared.push_back(fmt::format("{} {}+{}", may_unmap ? "unmap" : "zero", offset, length));
        std::memset(bytes.data() + offset, 0, length);
        return DiskStatus::Ok;
    }
    Topology topology() const override { return its_topology; }

    std::string bytes = std::string(64 * 512, 'd');
    std::string events;
    bool read_only = false;
    bool fails = false;
    bool can_discard = false;
    std::vector<std::string> cleared;  // what was asked for
    Topology its_topology;
    std::atomic<bool> hold = false;
    std::atomic<bool> reading = false;
    unsigned flushes = 0;

private:
    template <class Copy>
    DiskStatus each(std::uint64_t offset, std::span<const iovec> pieces, Copy copy) {
        if (fails) return DiskStatus::Failed;
        for (const iovec& piece : pieces) {
            EXPECT_LE(offset + piece.iov_len, bytes.size());
            copy(piece.iov_base, offset, piece.iov_len);
            offset += piece.iov_len;
        }
        return DiskStatus::Ok;
    }
    std::string name_ = "memory";
};

enum Type : std::uint32_t { In = 0, Out = 1, Flush = 4, GetId = 8, Discard = 11, WriteZeroes = 13 };
enum Answer : std::uint8_t { Ok = 0, IoError = 1, Unsupported = 2, None = 0xee };

struct Header {
    std::uint32_t type;
    std::uint32_t reserved;
    std::uint64_t sector;
};

struct BlockTest : testing::Test {
    static constexpr std::uint64_t header = 0x8000;
    static constexpr std::uint64_t status = 0x8800;
    static constexpr std::uint64_t data = 0x9000;

    TestMemory memory;
    MemoryDisk disk;
    std::mutex lock;
    std::atomic<bool> line = false;
    VirtioBlock block{disk, memory.device(), lock, "serial"};
    MmioTransport transport{block, memory.device(), [this](bool level) { line = level; }, "disk"};

    // Asks for it, and returns the answer.
    std::uint8_t ask(std::uint32_t type, std::uint64_t sector, std::vector<Descriptor> pieces) {
        offer(type, sector, std::move(pieces));
        notify_and_serve();
        return memory.get<std::uint8_t>(status);
    }
    void offer(std::uint32_t type, std::uint64_t sector, std::vector<Descriptor> pieces) {
        memory.put(header, Header{type, 0, sector});
        memory.put(status, std::uint8_t{None});
        pieces.insert(pieces.begin(), {header, 16});
        pieces.push_back({status, 1, flag::write});
        std::uint16_t index = 0;
        for (Descriptor& piece : pieces) {
            if (index + 1u < pieces.size()) piece.flags |= flag::next;
            piece.next = static_cast<std::uint16_t>(index + 1);
            memory.describe(index++, piece);
        }
        memory.make_available(0);
    }
    void notify() {
        std::lock_guard held{lock};
        test::write(transport, Reg::QueueNotify, 0);
    }
    void notify_and_serve() {
        notify();
        block.serve();
    }
    bool needs_reset() {
        return (read(transport, Reg::Status) & MmioTransport::Status::DEVICE_NEEDS_RESET) != 0;
    }
    // Discard or write-zeroes.
    std::uint8_t clear(std::uint32_t type, std::uint64_t sector, std::uint32_t sectors, std::uint32_t flags) {
        memory.put(data, sector);
        memory.put(data + 8, sectors);
        memory.put(data + 12, flags);
        return ask(type, 0, {{data, 16}});
    }
    std::uint32_t used_length() { return memory.used_element((memory.used_index() - 1u) % 8).second; }
};

TEST_F(BlockTest, ReadsWhatWasWritten) {
    start_driver(transport, VirtioBlock::Feature::Flush);
    for (std::uint64_t at = 0; at < 1024; at += 8) memory.put(data + at, at * 0x0101010101);
    EXPECT_EQ(ask(Out, 3, {{data, 512}, {data + 512, 512}}), Ok);
    EXPECT_EQ(used_length(), 1u);
    EXPECT_TRUE(line);
    EXPECT_EQ(disk.bytes[2 * 512 + 511], 'd');
    EXPECT_EQ(std::memcmp(disk.bytes.data() + 3 * 512 + 8, "\x08\x08\x08\x08", 4), 0);
    // Into pieces of other sizes, one of which crosses pages.
    EXPECT_EQ(ask(In, 3, {{0xaffc, 1000, flag::write}, {0xc000, 24, flag::write}}), Ok);
    EXPECT_EQ(used_length(), 1025u);
    for (std::uint64_t at = 0; at < 1000; at += 4)
        ASSERT_EQ(memory.get<std::uint32_t>(0xaffc + at), memory.get<std::uint32_t>(data + at)) << at;
    EXPECT_EQ(disk.flushes, 0u);
    EXPECT_EQ(ask(Flush, 0, {}), Ok);
    EXPECT_EQ(disk.flushes, 1u);
}

TEST_F(BlockTest, WholePagesThatWereReadAreFromTheDisk) {
    start_driver(transport, VirtioBlock::Feature::Flush);
    EXPECT_EQ(ask(In, 0, {{0xa200, 8192, flag::write}}), Ok);
    EXPECT_EQ(memory.guest().disk_origins().pages(), 1u) << "0xb000; of the others only a part was read";
    EXPECT_EQ(ask(Out, 0, {{0xc000, 4096}}), Ok);
    EXPECT_EQ(ask(In, 1000, {{0xc000, 4096, flag::write}}), IoError);
    EXPECT_EQ(memory.guest().disk_origins().pages(), 1u);
}

TEST_F(BlockTest, ADriverThatCannotFlushHasEveryWriteFlushed) {
    start_driver(transport);
    EXPECT_EQ(ask(Out, 0, {{data, 512}}), Ok);
    EXPECT_EQ(disk.flushes, 1u);
}

TEST_F(BlockTest, FailuresOfTheHostAreErrorsOfTheGuests) {
    start_driver(transport, VirtioBlock::Feature::Flush);
    disk.fails = true;
    EXPECT_EQ(ask(In, 0, {{data, 512, flag::write}}), IoError);
    EXPECT_EQ(used_length(), 1u);
    EXPECT_EQ(ask(Out, 0, {{data, 512}}), IoError);
    EXPECT_EQ(ask(Flush, 0, {}), IoError);
    disk.fails = false;
    EXPECT_EQ(ask(In, 0, {{data, 512, flag::write}}), Ok);
    EXPECT_FALSE(needs_reset());
}

TEST_F(BlockTest, OutsideTheDisk) {
    start_driver(transport);
    EXPECT_EQ(ask(In, 63, {{data, 512, flag::write}}), Ok);
    EXPECT_EQ(ask(In, 63, {{data, 1024, flag::write}}), IoError);
    EXPECT_EQ(ask(In, 64, {{data, 512, flag::write}}), IoError);
    EXPECT_EQ(ask(Out, ~0ull, {{data, 512}}), IoError);
    EXPECT_EQ(ask(Out, 1ull << 55, {{data, 512}}), IoError) << "times 512 it is zero";
    EXPECT_EQ(ask(In, 0, {{data, 500, flag::write}}), IoError) << "no whole sectors";
    EXPECT_EQ(disk.bytes, std::string(64 * 512, 'd'));
}

TEST_F(BlockTest, ReadOnly) {
    disk.read_only = true;
    EXPECT_NE(block.features() & VirtioBlock::Feature::ReadOnly, 0u);
    EXPECT_EQ(block.features() & VirtioBlock::Feature::Discard, 0u);
    start_driver(transport);
    EXPECT_EQ(ask(Out, 0, {{data, 512}}), IoError);
    memory.put(data, std::uint64_t{0});
    memory.put(data + 8, std::uint64_t{1});
    EXPECT_EQ(ask(WriteZeroes, 0, {{data, 16}}), IoError);
    EXPECT_EQ(ask(In, 0, {{data, 512, flag::write}}), Ok);
    EXPECT_EQ(disk.bytes, std::string(64 * 512, 'd'));
}

TEST_F(BlockTest, IdentifierZerosAndWhatItDoesNotKnow) {
    start_driver(transport);
    EXPECT_EQ(ask(GetId, 0, {{data, 20, flag::write}}), Ok);
    EXPECT_EQ(memory.get<std::uint64_t>(data), 0x00006c6169726573u);  // "serial"
    EXPECT_EQ(clear(WriteZeroes, 2, 3, 0), Ok);
    EXPECT_EQ(disk.bytes.find('\0'), 2u * 512);
    EXPECT_EQ(disk.bytes.find('d', 1024), 5u * 512);
    EXPECT_EQ(clear(Discard, 2, 3, 0), Unsupported);
    EXPECT_EQ(clear(WriteZeroes, 2, 63, 0), IoError) << "beyond the end";
    EXPECT_EQ(clear(WriteZeroes, 2, 3, 2), Unsupported) << "a reserved flag";
    EXPECT_EQ(ask(WriteZeroes, 0, {{data, 12}}), IoError);
    EXPECT_EQ(ask(77, 0, {}), Unsupported);
    EXPECT_FALSE(needs_reset());
}

TEST_F(BlockTest, WhatIsClearedIsWhatWasAskedFor) {
    disk.can_discard = true;
    start_driver(transport, VirtioBlock::Feature::Flush);
    EXPECT_EQ(clear(Discard, 7, 9, 0), Ok);
    EXPECT_EQ(clear(Discard, 0, 64, 0), Ok) << "all of the disk";
    EXPECT_EQ(clear(WriteZeroes, 63, 1, 0), Ok);
    EXPECT_EQ(clear(WriteZeroes, 5, 2, 1), Ok);
    std::vector<std::string> expected{"discard 3584+4608", "discard 0+32768", "zero 32256+512",
                                      "unmap 2560+1024"};
    EXPECT_EQ(disk.cleared, expected);

    EXPECT_EQ(clear(Discard, 7, 0, 0), Ok) << "nothing";
    EXPECT_EQ(clear(Discard, 1, 64, 0), IoError);
    EXPECT_EQ(clear(Discard, ~0ull, 1, 0), IoError);
    EXPECT_EQ(clear(Discard, 1ull << 55, 1, 0), IoError) << "times 512 it is zero";
    EXPECT_EQ(clear(Discard, 7, 9, 1), Unsupported) << "only write-zeroes has this flag";
    EXPECT_EQ(clear(Discard, 7, ~0u, 0), IoError);
    EXPECT_EQ(disk.cleared, expected) << "none of these";
}

TEST_F(BlockTest, Configuration) {
    EXPECT_EQ(transport.read(0x100, 8), 64u);   // capacity
    EXPECT_EQ(transport.read(0x10c, 4), 254u);  // seg_max
    EXPECT_EQ(transport.read(0x114, 4), 512u);  // blk_size
    EXPECT_EQ(transport.read(0x128, 4), 1u);    // max_discard_seg
    EXPECT_EQ(transport.read(0x1f8, 8), 0u);
}

TEST_F(BlockTest, Topology) {
    EXPECT_NE(block.features() & VirtioBlock::Feature::Topology, 0u);
    EXPECT_EQ(transport.read(0x118, 4), 0u) << "one sector, and nothing else is known";
    EXPECT_EQ(transport.read(0x11c, 4), 0u);
    disk.its_topology = {.physical_block_size = 4096,
                         .alignment_offset = 3584,
                         .minimum_io_size = 65536,
                         .optimal_io_size = 1 << 20};
    EXPECT_EQ(transport.read(0x118, 1), 3u);  // physical_block_exp
    EXPECT_EQ(transport.read(0x119, 1), 7u);  // alignment_offset
    EXPECT_EQ(transport.read(0x11a, 2), 128u);
    EXPECT_EQ(transport.read(0x11c, 4), 2048u);
    EXPECT_EQ(transport.read(0x120, 1), 0u);  // writeback
    disk.its_topology.minimum_io_size = 65536 * 512;
    EXPECT_EQ(transport.read(0x11a, 2), 0u) << "too large for the field";
}

TEST_F(BlockTest, AQueueForEachProcessor) {
    EXPECT_EQ(block.features() & VirtioBlock::Feature::MultiQueue, 0u);
    EXPECT_EQ(transport.read(0x122, 2), 1u);
    EXPECT_EQ((VirtioBlock{disk, memory.device(), lock, "serial", 64}.queue_count()), 8u);
    VirtioBlock several{disk, memory.device(), lock, "serial", 3};
    MmioTransport its{several, memory.device(), [this](bool level) { line = level; }, "disk"};
    EXPECT_NE(several.features() & VirtioBlock::Feature::MultiQueue, 0u);
    EXPECT_EQ(its.read(0x122, 2), 3u);
    start_driver(its, VirtioBlock::Feature::Flush | VirtioBlock::Feature::MultiQueue, 8, 2);
    offer(Out, 3, {{data, 512}});
    {
        std::lock_guard held{lock};
        test::write(its, Reg::QueueNotify, 2);
    }
    several.serve();
    EXPECT_EQ(memory.get<std::uint8_t>(status), Ok);
    EXPECT_EQ(memory.used_index(), 1);
    EXPECT_TRUE(line);
    std::lock_guard held{lock};
    several.reset();
}

TEST_F(BlockTest, RequestsWithoutHeaderOrStatusBreakTheDevice) {
    for (bool short_header : {true, false}) {
        memory.set_available_index(0);
        start_driver(transport);
        if (short_header)
            memory.offer(0, {{header, 15}, {status, 1, flag::write}});
        else
            memory.offer(0, {{header, 16}, {data, 512}});
        notify_and_serve();
        EXPECT_TRUE(needs_reset());
        notify_and_serve();  // nothing happens any more
        EXPECT_EQ(memory.used_index(), 0);
    }
}

TEST_F(BlockTest, ADamagedDescriptorBreaksTheDevice) {
    start_driver(transport);
    ask(In, 0, {{0xd0000000, 512, flag::write}});
    EXPECT_TRUE(needs_reset());
    EXPECT_TRUE(line);
}

// The driver may use the memory of its requests for other things when the reset has returned.
TEST_F(BlockTest, AResetWaitsForRequestsAtHand) {
    IoThread thread{[this] { block.serve(); }};
    block.on_work([&thread] { thread.ask(); });
    start_driver(transport);
    disk.hold = true;
    offer(In, 0, {{data, 512, flag::write}});
    notify();
    while (!disk.reading) std::this_thread::yield();
    std::atomic<bool> resetting = false;
    std::thread driver{[&] {
        std::lock_guard held{lock};
        resetting = true;
        test::write(transport, Reg::Status, 0);
        EXPECT_FALSE(disk.hold);
        EXPECT_EQ(memory.get<std::uint8_t>(data), 'd') << "done before the reset returned";
    }};
    while (!resetting) std::this_thread::yield();  // with the lock: nothing is given back before
    disk.hold = false;
    driver.join();
    EXPECT_EQ(memory.used_index(), 0) << "and not given back afterwards";
    EXPECT_FALSE(line);
}

TEST_F(BlockTest, ReadsAtHandAreAnnouncedTogether) {
    start_driver(transport);
    auto offer_two = [this](std::pair<std::uint32_t, std::uint64_t> one,
                            std::pair<std::uint32_t, std::uint64_t> other) {
        std::uint16_t head = 0;
        for (auto [type, sector] : {one, other}) {
            std::uint64_t at = header + 16u * head;
            auto writable = static_cast<std::uint16_t>(type == In ? flag::write : 0);
            memory.put(at, Header{type, 0, sector});
            memory.offer(head, {{at, 16}, {data, 1024, writable}, {status, 1, flag::write}});
            head = static_cast<std::uint16_t>(head + 3);
        }
        notify_and_serve();
    };
    offer(In, 3, {{data, 512, flag::write}});
    notify_and_serve();
    EXPECT_EQ(disk.events, "read 3; ") << "one alone is not";
    disk.events.clear();
    offer_two({In, 5}, {In, 7});
    EXPECT_EQ(disk.events, "announced 5+2; announced 7+2; read 5; read 7; ");
    disk.events.clear();
    offer_two({Out, 6}, {In, 63});
    EXPECT_EQ(disk.events, "") << "a write, and a read that goes beyond the end";
}

TEST_F(BlockTest, AThreadServesWhatItIsAskedFor) {
    IoThread thread{[this] { block.serve(); }};
    block.on_work([&thread] { thread.ask(); });
    start_driver(transport);
    for (unsigned n = 0; n < 1000; ++n) {
        offer(Out, n % 64, {{data, 512}});
        notify();
        for (bool done = false; !done; std::this_thread::yield()) {
            std::lock_guard held{lock};
            done = memory.used_index() == static_cast<std::uint16_t>(n + 1);
        }
        ASSERT_EQ(memory.get<std::uint8_t>(status), Ok);
    }
}

}  // namespace
}  // namespace undercroft::test
