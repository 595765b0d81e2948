// SPDX-License-Identifier: Apache-2.0
#include "virtio/mmio.hpp"

#include "virtio/test_driver.hpp"

#include <gtest/gtest.h>

namespace undercroft::test {
namespace {

using Status = MmioTransport::Status;

// Gives every request back at once.
class Echo final : public VirtioDevice {
public:
    VirtioDeviceId id() const override { return VirtioDeviceId::Entropy; }
    std::uint64_t features() const override { return 1; }
    unsigned queue_count() const override { return 1; }
    std::uint8_t config(std::uint64_t offset) const override {
        return offset < 4 ? static_cast<std::uint8_t>(0x11 * (offset + 1)) : 0;
    }
    void start(std::uint64_t agreed, std::span<Queue> queues, VirtioTransport& transport) override {
        agreed_features = agreed;
        queue = queues.data();
        transport_ = &transport;
        ++starts;
    }
    void notify(unsigned) override {
        ++notifications;
        Chain chain;
        while (queue->pop(chain) == Queue::Pop::Chain) queue->push(chain, 4);
        if (queue->fault() != nullptr) return transport_->needs_reset(queue->fault());
        if (queue->wants_interrupt()) transport_->used_buffers();
    }
    void reset() override { ++resets; }

    std::uint64_t agreed_features = 0;
    Queue* queue = nullptr;
    unsigned starts = 0;
    unsigned notifications = 0;
    unsigned resets = 0;

private:
    VirtioTransport* transport_ = nullptr;
};

struct MmioTest : testing::Test {
    TestMemory memory;
    Echo device;
    bool line = false;
    MmioTransport transport{device, memory.device(), [this](bool level) { line = level; }, "echo"};

    std::uint32_t get(Reg which) { return read(transport, which); }
    void set(Reg which, std::uint32_t value) { write(transport, which, value); }
    // A reset, and a queue that has never been used.
    void restart() {
        set(Reg::Status, 0);
        memory.set_available_index(0);
        memory.put(TestMemory::used + 2, std::uint16_t{0});
        start_driver(transport);
    }
};

TEST_F(MmioTest, SaysWhatItIs) {
    EXPECT_EQ(get(Reg::MagicValue), 0x74726976u);
    EXPECT_EQ(get(Reg::Version), 2u);
    EXPECT_EQ(get(Reg::DeviceID), 4u);
    EXPECT_EQ(get(Reg::QueueNumMax), 256u);
    EXPECT_EQ(get(Reg::SHMLenLow), 0xffffffffu);
    set(Reg::QueueSel, 1);
    EXPECT_EQ(get(Reg::QueueNumMax), 0u);
    EXPECT_EQ(get(Reg::DeviceFeatures), 1u | 1u << 28 | 1u << 29);
    set(Reg::DeviceFeaturesSel, 1);
    EXPECT_EQ(get(Reg::DeviceFeatures), 1u);
    set(Reg::DeviceFeaturesSel, 2);
    EXPECT_EQ(get(Reg::DeviceFeatures), 0u);
    EXPECT_EQ(transport.read(0x100, 4), 0x44332211u);
    EXPECT_EQ(transport.read(0x102, 1), 0x33u);
    EXPECT_EQ(transport.read(0x102, 8), 0x4433u);
    EXPECT_EQ(transport.read(0x000, 2), 0u) << "registers have 32 bits";
}

TEST_F(MmioTest, AnInterruptStaysUntilItIsAcknowledged) {
    start_driver(transport);
    EXPECT_EQ(device.starts, 1u);
    memory.offer(0, {{0x8000, 4, flag::write}});
    set(Reg::QueueNotify, 0);
    EXPECT_EQ(memory.used_index(), 1);
    EXPECT_TRUE(line);
    EXPECT_EQ(get(Reg::InterruptStatus), 1u);
    set(Reg::InterruptACK, 2);
    EXPECT_TRUE(line);
    set(Reg::InterruptACK, 1);
    EXPECT_FALSE(line);
    EXPECT_EQ(get(Reg::InterruptStatus), 0u);
}

TEST_F(MmioTest, FeaturesThatWereNotOfferedAreRefused) {
    for (std::uint64_t features :
         {std::uint64_t{1}, VirtioFeature::Version1 | 2, VirtioFeature::Version1 << 1}) {
        set(Reg::Status, 0);
        set(Reg::Status, Status::ACKNOWLEDGE | Status::DRIVER);
        set(Reg::DriverFeaturesSel, 0);
        set(Reg::DriverFeatures, static_cast<std::uint32_t>(features));
        set(Reg::DriverFeaturesSel, 1);
        set(Reg::DriverFeatures, static_cast<std::uint32_t>(features >> 32));
        set(Reg::Status, Status::ACKNOWLEDGE | Status::DRIVER | Status::FEATURES_OK);
        EXPECT_EQ(get(Reg::Status), Status::ACKNOWLEDGE | Status::DRIVER) << features;
        set(Reg::Status, 0xff);
        EXPECT_EQ(device.starts, 0u) << "DRIVER_OK without FEATURES_OK";
    }
}

TEST_F(MmioTest, ADamagedQueueNeedsAReset) {
    start_driver(transport);
    memory.offer(0, {{0xd0000000, 4, flag::write}});
    set(Reg::QueueNotify, 0);
    EXPECT_NE(get(Reg::Status) & Status::DEVICE_NEEDS_RESET, 0u);
    EXPECT_EQ(get(Reg::InterruptStatus), 2u);
    EXPECT_TRUE(line);
    set(Reg::Status, 0xff);
    EXPECT_NE(get(Reg::Status) & Status::DEVICE_NEEDS_RESET, 0u) << "nothing but a reset clears it";
    set(Reg::Status, 0);
    EXPECT_EQ(get(Reg::Status), 0u);
    EXPECT_FALSE(line);
    restart();
    memory.offer(0, {{0x8000, 4, flag::write}});
    set(Reg::QueueNotify, 0);
    EXPECT_EQ(memory.used_index(), 1) << "and then it works again";
}

TEST_F(MmioTest, ADriverThatBreaksItsQueueAgainAndAgainIsLoggedOnce) {
    testing::internal::CaptureStderr();
    for (int n = 0; n < 2; ++n) {
        restart();
        memory.offer(0, {{0xd0000000, 4, flag::write}});
        set(Reg::QueueNotify, 0);
        set(Reg::QueueNotify, 0);
        EXPECT_NE(get(Reg::Status) & Status::DEVICE_NEEDS_RESET, 0u);
        EXPECT_EQ(memory.used_index(), 0);
    }
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              "undercroft: warn: echo: the guest's driver has broken a queue: "
              "a descriptor's bytes are not in memory\n");
    restart();
    memory.offer(0, {{0x8000, 4, flag::write}});
    set(Reg::QueueNotify, 0);
    EXPECT_EQ(memory.used_index(), 1);
}

TEST_F(MmioTest, QueuesKeepTheirPlaceWhileTheyAreReady) {
    start_driver(transport);
    set(Reg::QueueDescLow, 0x7000);
    set(Reg::QueueNum, 4);
    EXPECT_EQ(device.queue->state().descriptors.value(), TestMemory::descriptors);
    EXPECT_EQ(device.queue->state().size, 8);
    unsigned before = device.resets;
    set(Reg::QueueReady, 0);
    EXPECT_EQ(device.resets, before + 1) << "a queue taken away stops the device";
    EXPECT_EQ(get(Reg::QueueReady), 0u);
    set(Reg::QueueNotify, 0);
    EXPECT_EQ(device.notifications, 0u);
}

TEST_F(MmioTest, AQueueWithoutAGoodSizeIsNeverReady) {
    for (std::uint32_t size : {0u, 3u, 512u, 0x10000u}) {
        set(Reg::Status, 0);
        set(Reg::QueueNum, size);
        set(Reg::QueueReady, 1);
        EXPECT_EQ(get(Reg::QueueReady), 0u) << size;
    }
}

TEST_F(MmioTest, NobodyIsNotifiedBeforeTheStart) {
    set(Reg::QueueNotify, 0);
    start_driver(transport);
    set(Reg::QueueNotify, 1);
    EXPECT_EQ(device.notifications, 0u);
}

}  // namespace
}  // namespace undercroft::test
