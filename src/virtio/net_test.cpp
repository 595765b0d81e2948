// SPDX-License-Identifier: Apache-2.0
// The network device as its driver sees it: registers, two queues in memory, and a network of the test's.
#include "virtio/net.hpp"

#include "net/checksum.hpp"
#include "virtio/test_driver.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

namespace undercroft::test {
namespace {

struct Wire final : NetBackend {
    const std::string& name() const override { return name_; }
    Offloads offloads() const override { return takes; }
    unsigned mtu() const override { return 9000; }
    void attach(NetPort* to) override { port = to; }
    void send(const Frame& frame) override {
        std::string bytes(frame.size, '\0');
        EXPECT_EQ(frame.copy_front(std::as_writable_bytes(std::span{bytes})), frame.size);
        frames.push_back(bytes);
        last = frame.offload;
    }
    void sent() override { ++batches; }
    void set_receive_offloads(Offloads agreed) override { receives = agreed; }

    Offloads takes{.checksum = true};
    Offloads receives;
    NetPort* port = nullptr;
    std::vector<std::string> frames;
    OffloadHeader last;
    unsigned batches = 0;

private:
    std::string name_ = "wire";
};

using Feature = VirtioNet::Feature;

struct NetTest : testing::Test {
    static constexpr std::uint64_t header = 0x8000;
    static constexpr std::uint64_t data = 0x9000;
    static constexpr std::uint64_t header_size = sizeof(OffloadHeader);
    static constexpr unsigned receive = 0, transmit = 1;

    TestMemory memory;
    Wire wire;
    std::mutex lock;
    std::atomic<bool> line = false;
    VirtioNet net{wire, {0x52, 0x55, 1, 2, 3, 4}, memory.device(), lock};
    MmioTransport transport{net, memory.device(), [this](bool level) { line = level; }, "network"};

    void start(unsigned queue, std::uint64_t features = 0) {
        memory.set_available_index(0);
        memory.put(TestMemory::used, std::uint32_t{0});
        start_driver(transport, features, 8, queue);
    }
    void notify_and_serve(unsigned queue) {
        {
            std::lock_guard held{lock};
            test::write(transport, Reg::QueueNotify, queue);
        }
        while (net.serve()) {
        }
    }
    void send(const OffloadHeader& offload, std::uint32_t size) {
        memory.put(header, offload);
        memory.offer(0, {{header, header_size}, {data, size}});
        notify_and_serve(transmit);
    }
    void arrives(const std::string& bytes, OffloadHeader offload = {}) {
        std::string copy = bytes;
        iovec piece{copy.data(), copy.size()};
        wire.port->receive({.offload = offload, .pieces = {&piece, 1}, .size = copy.size()});
        wire.port->received();
    }
    std::string text(std::uint64_t address, std::size_t size) {
        std::string bytes;
        for (std::size_t n = 0; n < size; ++n) bytes += memory.get<char>(address + n);
        return bytes;
    }
    bool needs_reset() {
        return (read(transport, Reg::Status) & MmioTransport::Status::DEVICE_NEEDS_RESET) != 0;
    }
    // Some bytes that differ from each other.
    static std::string pattern(std::size_t size) {
        std::string bytes;
        for (std::size_t n = 0; n < size; ++n) bytes += static_cast<char>(n * 7 + n / 256);
        return bytes;
    }
};

TEST_F(NetTest, Configuration) {
    EXPECT_EQ(transport.read(0x100, 8) & 0xffffffffffff, 0x040302015552u);
    EXPECT_EQ(transport.read(0x106, 2), 1u) << "the link is up";
    EXPECT_EQ(transport.read(0x10a, 2), 9000u);
    EXPECT_EQ(transport.read(0x10c, 4), 0u);
    EXPECT_EQ(net.features() & Feature::HostTso4, 0u);
    wire.takes.segments = true;
    EXPECT_NE(net.features() & Feature::HostTso4, 0u);
    EXPECT_NE(net.features() & Feature::GuestTso6, 0u);
    wire.takes = {};
    EXPECT_EQ(net.features() & (Feature::Checksum | Feature::GuestChecksum), 0u);
}

TEST_F(NetTest, FramesGoOut) {
    start(transmit);
    for (std::uint64_t n = 0; n < 100; ++n) memory.put(data + n, static_cast<char>('a' + n % 26));
    memory.put(header, OffloadHeader{});
    // The header and the frame may be cut anywhere.
    memory.offer(0, {{header, 5}, {header + 5, 7}, {data, 1}, {data + 1, 99}});
    memory.offer(4, {{header, header_size}, {data, 60}});
    notify_and_serve(transmit);
    ASSERT_EQ(wire.frames.size(), 2u);
    EXPECT_EQ(wire.frames[0], text(data, 100));
    EXPECT_EQ(wire.frames[1], text(data, 60));
    EXPECT_EQ(wire.batches, 1u);
    EXPECT_EQ(memory.used_index(), 2);
    EXPECT_EQ(memory.used_element(0).second, 0u);
    EXPECT_TRUE(line);
}

TEST_F(NetTest, FramesThatMakeNoSenseAreDropped) {
    start(transmit, Feature::Checksum);
    constexpr std::uint8_t needs = OffloadHeader::NeedsChecksum;
    send({}, 13);
    send({.flags = OffloadHeader::DataValid}, 100);
    send({.flags = needs, .csum_start = 90, .csum_offset = 9}, 100);
    send({.flags = needs, .csum_start = 0xffff, .csum_offset = 0xffff}, 100);
    send({.flags = needs, .gso_type = 1, .gso_size = 1000, .csum_start = 34, .csum_offset = 16}, 100);
    send({.gso_type = 3}, 100);
    memory.offer(0, {{header, header_size}, {0x0, 0x10000}, {0x0, 0x1000}});
    notify_and_serve(transmit);
    EXPECT_TRUE(wire.frames.empty());
    EXPECT_EQ(memory.used_index(), 7) << "they are given back";
    send({.flags = needs, .csum_start = 90, .csum_offset = 8}, 100);
    ASSERT_EQ(wire.frames.size(), 1u);
    EXPECT_EQ(wire.last.csum_start, 90);
    EXPECT_FALSE(needs_reset());
    start(transmit);
    send({.flags = needs, .csum_start = 34, .csum_offset = 16}, 100);
    EXPECT_EQ(wire.frames.size(), 1u) << "that was not agreed on";
}

TEST_F(NetTest, SegmentsGoOutIfTheNetworkCutsThem) {
    wire.takes.segments = true;
    start(transmit, Feature::Checksum | Feature::HostTso4);
    OffloadHeader offload{
        .flags = 1, .gso_type = 1, .hdr_len = 54, .gso_size = 1448, .csum_start = 34, .csum_offset = 16};
    send(offload, 8000);
    ASSERT_EQ(wire.frames.size(), 1u);
    EXPECT_EQ(wire.last.gso_size, 1448);
    offload.gso_type = 4;
    send(offload, 8000);
    EXPECT_EQ(wire.frames.size(), 1u) << "IPv6 was not agreed on";
}

TEST_F(NetTest, AFrameWithoutItsHeaderBreaksTheDevice) {
    start(transmit);
    memory.offer(0, {{header, 11}});
    notify_and_serve(transmit);
    EXPECT_TRUE(needs_reset());
    EXPECT_TRUE(wire.frames.empty());
    start(transmit);
    send({}, 100);
    EXPECT_EQ(wire.frames.size(), 1u) << "after a reset it works again";
}

TEST_F(NetTest, FramesComeIn) {
    start(receive);
    memory.offer(0, {{data, header_size, flag::write}, {data + 0x100, 2000, flag::write}});
    std::string bytes = pattern(1514);
    arrives(bytes, {.flags = OffloadHeader::DataValid});
    EXPECT_TRUE(line);
    ASSERT_EQ(memory.used_index(), 1);
    EXPECT_EQ(memory.used_element(0).second, header_size + 1514);
    auto offload = memory.get<OffloadHeader>(data);
    EXPECT_EQ(offload.num_buffers, 1);
    EXPECT_EQ(offload.flags, 0) << "the driver has not agreed on any";
    EXPECT_EQ(text(data + 0x100, 1514), bytes);
}

TEST_F(NetTest, AFrameMayFillSeveralBuffers) {
    start(receive, Feature::MergeBuffers | Feature::GuestChecksum);
    EXPECT_TRUE(wire.receives.checksum);
    EXPECT_FALSE(wire.receives.segments);
    for (std::uint16_t n = 0; n < 4; ++n)
        memory.offer(n, {{data + n * 0x1000u, n == 1 ? 100u : 1000u, flag::write}});
    std::string bytes = pattern(2000);
    arrives(bytes, {.flags = OffloadHeader::NeedsChecksum, .csum_start = 34, .csum_offset = 16});
    ASSERT_EQ(memory.used_index(), 3);
    EXPECT_EQ(memory.get<OffloadHeader>(data).num_buffers, 3);
    EXPECT_EQ(memory.get<OffloadHeader>(data).flags, OffloadHeader::NeedsChecksum);
    EXPECT_EQ(memory.used_element(0).second, 1000u);
    EXPECT_EQ(memory.used_element(1).second, 100u);
    EXPECT_EQ(memory.used_element(2).second, 912u);
    EXPECT_EQ(text(data + 12, 988) + text(data + 0x1000, 100) + text(data + 0x2000, 912), bytes);
    // One that fills its buffer to the last byte.
    arrives(pattern(988));
    ASSERT_EQ(memory.used_index(), 4);
    EXPECT_EQ(memory.get<OffloadHeader>(data + 0x3000).num_buffers, 1);
}

TEST_F(NetTest, FramesWaitForBuffers) {
    start(receive, Feature::MergeBuffers);
    memory.offer(0, {{data, 1000, flag::write}});
    arrives(pattern(1500));
    arrives("14 bytes or so");
    EXPECT_EQ(memory.used_index(), 0) << "it does not fit, and the next one does not overtake";
    memory.offer(1, {{data + 0x1000, 1000, flag::write}});
    memory.offer(2, {{data + 0x2000, 1000, flag::write}});
    notify_and_serve(receive);
    EXPECT_EQ(memory.used_index(), 3);
    EXPECT_TRUE(line);
    EXPECT_EQ(text(data + 12, 988) + text(data + 0x1000, 512), pattern(1500));
    EXPECT_EQ(text(data + 0x2000 + 12, 14), "14 bytes or so");
}

TEST_F(NetTest, WhatNobodyTakesIsDropped) {
    arrives(pattern(1000));  // there is no driver
    start(receive, Feature::MergeBuffers);
    constexpr unsigned frames = 100;
    for (unsigned n = 0; n < frames; ++n) arrives(std::string(60'000, static_cast<char>(n)));
    for (unsigned n = 0; n < frames; ++n) {
        memory.offer(0, {{data, 0x10000, flag::write}});
        notify_and_serve(receive);
        if (memory.used_index() <= n) break;
        EXPECT_EQ(memory.get<std::uint8_t>(data + 12), n) << "the oldest come first";
    }
    EXPECT_EQ(memory.used_index(), (2u << 20) / 60'000);
    // A reset forgets what waits.
    start(receive, Feature::MergeBuffers);
    arrives(std::string(100, 'a'));
    start(receive, Feature::MergeBuffers);
    memory.offer(0, {{data, 0x10000, flag::write}});
    notify_and_serve(receive);
    EXPECT_EQ(memory.used_index(), 0);
}

TEST_F(NetTest, WithoutMergingAFrameThatIsTooLongIsDropped) {
    start(receive);
    memory.offer(0, {{data, 1000, flag::write}});
    arrives(pattern(1500));
    arrives(pattern(500));
    ASSERT_EQ(memory.used_index(), 1);
    EXPECT_EQ(memory.used_element(0).second, 512u);
}

TEST_F(NetTest, ChecksumsAreCompletedForDriversThatDoNot) {
    start(receive);
    memory.offer(0, {{data, 2000, flag::write}});
    std::string bytes = pattern(100);
    arrives(bytes, {.flags = OffloadHeader::NeedsChecksum, .csum_start = 34, .csum_offset = 16});
    EXPECT_EQ(memory.get<OffloadHeader>(data).flags, 0);
    OffloadHeader offload{.flags = OffloadHeader::NeedsChecksum, .csum_start = 34, .csum_offset = 16};
    complete_checksum(std::as_writable_bytes(std::span{bytes}), offload);
    EXPECT_EQ(text(data + 12, 100), bytes);
}

TEST_F(NetTest, HostileReceiveBuffers) {
    const std::vector<std::vector<Descriptor>> chains{{{data, 11, flag::write}},
                                                      {{data, 100}},
                                                      {{1ull << 45, 2000, flag::write}},
                                                      {{data, 0, flag::write}}};
    for (const auto& chain : chains) {
        start(receive, Feature::MergeBuffers);
        memory.describe(0, chain[0]);
        memory.make_available(0);
        arrives(pattern(100));
        EXPECT_TRUE(needs_reset());
        arrives(pattern(100));  // nothing happens any more
        EXPECT_EQ(memory.used_index(), 0);
    }
}

// Another machine's thread puts a frame in while this one's driver holds the lock of its devices.
TEST_F(NetTest, ASenderDoesNotWaitForTheLock) {
    start(receive);
    bool asked = false;
    net.on_work([&asked] { asked = true; });
    memory.offer(0, {{data, 2000, flag::write}});
    {
        std::lock_guard held{lock};
        std::thread sender{[this] { arrives(pattern(100)); }};
        sender.join();
        EXPECT_EQ(memory.used_index(), 1);
        EXPECT_FALSE(line);
        EXPECT_TRUE(asked) << "the device's own thread sees to the interrupt";
    }
    net.serve();
    EXPECT_TRUE(line);
}

}  // namespace
}  // namespace undercroft::test
