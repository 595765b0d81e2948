// SPDX-License-Identifier: Apache-2.0
#include "virtio/test_driver.hpp"

namespace undercroft::test {

void TestMemory::offer(std::uint16_t head, std::initializer_list<Descriptor> chain) {
    auto index = head;
    for (const Descriptor& piece : chain) {
        Descriptor linked = piece;
        linked.next = static_cast<std::uint16_t>(index + 1);
        if (index + 1u < head + chain.size()) linked.flags |= flag::next;
        describe(index++, linked);
    }
    make_available(head);
}

void TestMemory::make_available(std::uint16_t head) {
    auto index = get<std::uint16_t>(available + 2);
    put(available + 4 + 2ull * (index % queue_size_), head);
    set_available_index(static_cast<std::uint16_t>(index + 1));
}

std::uint32_t read(MmioTransport& transport, Reg which) {
    return static_cast<std::uint32_t>(transport.read(static_cast<std::uint64_t>(which), 4));
}

void write(MmioTransport& transport, Reg which, std::uint32_t value) {
    transport.write(static_cast<std::uint64_t>(which), 4, value);
}

void start_driver(MmioTransport& transport, std::uint64_t features, std::uint16_t queue_size,
                  unsigned queue) {
    using Status = MmioTransport::Status;
    features |= VirtioFeature::Version1;
    write(transport, Reg::Status, 0);
    write(transport, Reg::Status, Status::ACKNOWLEDGE | Status::DRIVER);
    write(transport, Reg::DriverFeaturesSel, 0);
    write(transport, Reg::DriverFeatures, static_cast<std::uint32_t>(features));
    write(transport, Reg::DriverFeaturesSel, 1);
    write(transport, Reg::DriverFeatures, static_cast<std::uint32_t>(features >> 32));
    write(transport, Reg::Status, Status::ACKNOWLEDGE | Status::DRIVER | Status::FEATURES_OK);
    EXPECT_NE(read(transport, Reg::Status) & Status::FEATURES_OK, 0u);
    write(transport, Reg::QueueSel, queue);
    write(transport, Reg::QueueNum, queue_size);
    write(transport, Reg::QueueDescLow, TestMemory::descriptors);
    write(transport, Reg::QueueDriverLow, TestMemory::available);
    write(transport, Reg::QueueDeviceLow, TestMemory::used);
    write(transport, Reg::QueueReady, 1);
    EXPECT_EQ(read(transport, Reg::QueueReady), 1u);
    write(transport, Reg::Status, read(transport, Reg::Status) | Status::DRIVER_OK);
}

}  // namespace undercroft::test
