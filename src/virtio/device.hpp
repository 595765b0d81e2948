// SPDX-License-Identifier: Apache-2.0
// What a virtio device is to its transport, and the other way round (virtio 1.2 chapters 2 and 3).
//
// A device knows no registers, a transport no requests. All members are called with the lock of the machine's
// devices held.

#pragma once

#include "virtio/queue.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace undercroft {

class VirtioTransport {
public:
    // Requests were given back, and the driver wants to know.
    virtual void used_buffers() = 0;
    // The driver did what it may not, or left what it has to give: nothing goes on until it resets the
    // device. The log says so once.
    virtual void needs_reset(const char* why) = 0;
    // The configuration space is another one than it was.
    virtual void config_changed() = 0;

protected:
    ~VirtioTransport() = default;
};

enum class VirtioDeviceId : std::uint32_t {
    Network = 1,
    Block = 2,
    Console = 3,
    Entropy = 4,
    Balloon = 5,
    Socket = 19,
    FileSystem = 26
};

// A byte of a configuration space that is this structure; zero behind its end.
template <class Config>
std::uint8_t config_byte(const Config& config, std::uint64_t offset) {
    auto bytes = std::as_bytes(std::span{&config, 1});
    return offset < bytes.size() ? std::to_integer<std::uint8_t>(bytes[offset]) : std::uint8_t{0};
}

class VirtioDevice {
public:
    virtual ~VirtioDevice() = default;

    virtual VirtioDeviceId id() const = 0;
    virtual std::uint64_t features() const = 0;  // those of its kind
    virtual unsigned queue_count() const = 0;
    // A byte of the configuration space; zero behind its end.
    virtual std::uint8_t config(std::uint64_t offset) const = 0;
    // For devices whose drivers may write there; all others ignore it.
    virtual void write_config(std::uint64_t /*offset*/, std::uint8_t /*value*/) {}

    // The driver is ready. What is given lives until reset().
    virtual void start(std::uint64_t agreed_features, std::span<Queue> queues,
                       VirtioTransport& transport) = 0;
    virtual void notify(unsigned queue) = 0;  // only after start()
    // Returns when the device has no more to do with guest memory. Also without start().
    virtual void reset() = 0;
};

}  // namespace undercroft
