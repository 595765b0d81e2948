// SPDX-License-Identifier: Apache-2.0
// MmioTransport: a virtio device's registers in memory (virtio 1.2 section 4.2, version 2).
//
// Left out: shared memory regions (their length reads as all ones), queue reset, and the legacy interface.
// Registers have 32 bits and are accessed as such; other accesses to them read zero and write nothing. A
// driver that takes a queue away from a running device (QueueReady := 0) stops the device.

#pragma once

#include "device/bus.hpp"
#include "virtio/device.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace undercroft {

class MmioTransport final : public Device, private VirtioTransport {
public:
    static constexpr std::uint64_t length = 0x200;

    enum class Register : std::uint64_t {
        MagicValue = 0x000,
        Version = 0x004,
        DeviceID = 0x008,
        VendorID = 0x00c,
        DeviceFeatures = 0x010,
        DeviceFeaturesSel = 0x014,
        DriverFeatures = 0x020,
        DriverFeaturesSel = 0x024,
        QueueSel = 0x030,
        QueueNumMax = 0x034,
        QueueNum = 0x038,
        QueueReady = 0x044,
        QueueNotify = 0x050,
        InterruptStatus = 0x060,
        InterruptACK = 0x064,
        Status = 0x070,
        QueueDescLow = 0x080,
        QueueDescHigh = 0x084,
        QueueDriverLow = 0x090,
        QueueDriverHigh = 0x094,
        QueueDeviceLow = 0x0a0,
        QueueDeviceHigh = 0x0a4,
        SHMLenLow = 0x0b0,
        SHMLenHigh = 0x0b4,
        SHMBaseLow = 0x0b8,
        SHMBaseHigh = 0x0bc,
        ConfigGeneration = 0x0fc,
        Config = 0x100,
    };
    struct Status {
        static constexpr std::uint32_t ACKNOWLEDGE = 1;
        static constexpr std::uint32_t DRIVER = 2;
        static constexpr std::uint32_t DRIVER_OK = 4;
        static constexpr std::uint32_t FEATURES_OK = 8;
        static constexpr std::uint32_t DEVICE_NEEDS_RESET = 64;
        static constexpr std::uint32_t FAILED = 128;
        static constexpr std::uint32_t writable = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED;
    };
    struct Interrupt {
        static constexpr std::uint32_t UsedBuffer = 1;
        static constexpr std::uint32_t ConfigurationChange = 2;
    };

    // `line` asserts and releases the interrupt; `name` is for the log. All of them outlive the transport.
    MmioTransport(VirtioDevice& device, const DmaMemory& memory, std::function<void(bool)> line,
                  std::string name);
    MmioTransport(const MmioTransport&) = delete;
    MmioTransport& operator=(const MmioTransport&) = delete;

    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

private:
    // What the driver has set up, but for the queues.
    struct State {
        std::uint32_t status = 0;
        std::uint32_t interrupt = 0;
        std::uint32_t device_features_sel = 0;
        std::uint32_t driver_features_sel = 0;
        std::uint64_t driver_features = 0;
        std::uint32_t queue_sel = 0;
        bool started = false;
    };

    void used_buffers() override;
    void needs_reset(const char* why) override;
    void config_changed() override;

    std::uint64_t offered() const { return device_.features() | VirtioFeature::OfEveryDevice; }
    Queue* selected();
    std::uint32_t read_register(Register which);
    void write_register(Register which, std::uint32_t value);
    void write_queue_register(Register which, std::uint32_t value);
    void write_queue_ready(Queue::State& queue, std::uint32_t value);
    void write_driver_features(std::uint32_t value);
    void write_status(std::uint32_t value);
    void start();
    void reset();
    void set_interrupt(std::uint32_t causes);

    VirtioDevice& device_;
    std::function<void(bool)> line_;
    std::string name_;
    std::vector<Queue> queues_;
    State state_;
    std::uint32_t config_generation_ = 0;
    bool reported_ = false;
};

}  // namespace undercroft
