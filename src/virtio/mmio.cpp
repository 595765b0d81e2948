// SPDX-License-Identifier: Apache-2.0
#include "virtio/mmio.hpp"

#include "base/bits.hpp"
#include "base/log.hpp"

#include <bit>
#include <utility>

namespace undercroft {
namespace {

constexpr std::uint32_t magic = 0x74726976;  // "virt"
constexpr std::uint32_t version = 2;
constexpr std::uint32_t vendor = 0x52444e55;  // "UNDR"

using Low = Bits<31, 0>;
using High = Bits<63, 32>;

template <class Half>
void set_half(GuestPhysical& address, std::uint32_t value) {
    address = GuestPhysical{Half::set(address.value(), std::uint64_t{value})};
}

std::uint32_t half(std::uint64_t value, std::uint32_t selected) {
    return selected > 1 ? 0 : static_cast<std::uint32_t>(value >> (32 * selected));
}

}  // namespace

MmioTransport::MmioTransport(VirtioDevice& device, const DmaMemory& memory, std::function<void(bool)> line,
                             std::string name)
    : device_{device}, line_{std::move(line)}, name_{std::move(name)} {
    for (unsigned n = 0; n < device_.queue_count(); ++n) queues_.emplace_back(memory);
}

Queue* MmioTransport::selected() {
    return state_.queue_sel < queues_.size() ? &queues_[state_.queue_sel] : nullptr;
}

std::uint64_t MmioTransport::read(std::uint64_t offset, unsigned size) {
    if (offset < static_cast<std::uint64_t>(Register::Config))
        return size == 4 && offset % 4 == 0 ? read_register(Register{offset}) : 0;
    std::uint64_t value = 0;
    for (unsigned n = 0; n < size; ++n)
        value |= std::uint64_t{device_.config(offset - static_cast<std::uint64_t>(Register::Config) + n)}
                 << (8 * n);
    return value;
}

std::uint32_t MmioTransport::read_register(Register which) {
    switch (which) {
        case Register::MagicValue: return magic;
        case Register::Version: return version;
        case Register::DeviceID: return static_cast<std::uint32_t>(device_.id());
        case Register::VendorID: return vendor;
        case Register::DeviceFeatures: return half(offered(), state_.device_features_sel);
        case Register::QueueNumMax: return selected() != nullptr ? Queue::most_entries : 0;
        case Register::QueueReady: return selected() != nullptr && selected()->state().ready ? 1 : 0;
        case Register::InterruptStatus: return state_.interrupt;
        case Register::Status: return state_.status;
        case Register::SHMLenLow:
        case Register::SHMLenHigh:
        case Register::SHMBaseLow:
        case Register::SHMBaseHigh: return 0xffffffff;
        case Register::ConfigGeneration: return config_generation_;
        default: return 0;  // write only, or reserved
    }
}

void MmioTransport::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    constexpr auto config = static_cast<std::uint64_t>(Register::Config);
    if (offset >= config) {
        for (unsigned n = 0; n < size; ++n)
            device_.write_config(offset - config + n, static_cast<std::uint8_t>(value >> (8 * n)));
    } else if (size == 4 && offset % 4 == 0) {
        write_register(Register{offset}, static_cast<std::uint32_t>(value));
    }
}

void MmioTransport::write_register(Register which, std::uint32_t value) {
    switch (which) {
        case Register::DeviceFeaturesSel: state_.device_features_sel = value; break;
        case Register::DriverFeaturesSel: state_.driver_features_sel = value; break;
        case Register::DriverFeatures: write_driver_features(value); break;
        case Register::QueueSel: state_.queue_sel = value; break;
        case Register::QueueNotify:
            if (state_.started && value < queues_.size()) device_.notify(value);
            break;
        case Register::InterruptACK:
            state_.interrupt &= ~value;
            if (state_.interrupt == 0) line_(false);
            break;
        case Register::Status: write_status(value); break;
        default: write_queue_register(which, value); break;
    }
}

void MmioTransport::write_driver_features(std::uint32_t value) {
    if ((state_.status & Status::FEATURES_OK) != 0) return;  // too late
    if (state_.driver_features_sel == 0)
        state_.driver_features = Low::set(state_.driver_features, std::uint64_t{value});
    if (state_.driver_features_sel == 1)
        state_.driver_features = High::set(state_.driver_features, std::uint64_t{value});
}

void MmioTransport::write_queue_register(Register which, std::uint32_t value) {
    if (selected() == nullptr) return;
    Queue::State& queue = selected()->state();
    if (which == Register::QueueReady) return write_queue_ready(queue, value);
    if (queue.ready) return;  // it is in use as it is
    switch (which) {
        case Register::QueueNum:
            if (std::has_single_bit(value) && value <= Queue::most_entries)
                queue.size = static_cast<std::uint16_t>(value);
            break;
        case Register::QueueDescLow: set_half<Low>(queue.descriptors, value); break;
        case Register::QueueDescHigh: set_half<High>(queue.descriptors, value); break;
        case Register::QueueDriverLow: set_half<Low>(queue.driver, value); break;
        case Register::QueueDriverHigh: set_half<High>(queue.driver, value); break;
        case Register::QueueDeviceLow: set_half<Low>(queue.device, value); break;
        case Register::QueueDeviceHigh: set_half<High>(queue.device, value); break;
        default: break;
    }
}

void MmioTransport::write_queue_ready(Queue::State& queue, std::uint32_t value) {
    if ((value & 1) != 0) {
        if (queue.size != 0 && !state_.started) queue.ready = true;
        return;
    }
    if (state_.started) device_.reset();
    state_.started = false;
    queue.ready = false;
}

void MmioTransport::write_status(std::uint32_t value) {
    if (value == 0) return reset();
    std::uint32_t added = value & Status::writable & ~state_.status;
    if ((added & Status::FEATURES_OK) != 0) {
        bool good = (state_.driver_features & ~offered()) == 0 &&
                    (state_.driver_features & VirtioFeature::Version1) != 0;
        if (!good) added &= ~Status::FEATURES_OK;
    }
    state_.status |= added;
    bool ready =
        (state_.status & Status::FEATURES_OK) != 0 && (state_.status & Status::DEVICE_NEEDS_RESET) == 0;
    if ((added & Status::DRIVER_OK) != 0 && ready) start();
}

void MmioTransport::start() {
    for (Queue& queue : queues_) {
        queue.state().indirect = (state_.driver_features & VirtioFeature::IndirectDescriptors) != 0;
        queue.state().event_index = (state_.driver_features & VirtioFeature::EventIndex) != 0;
    }
    state_.started = true;
    device_.start(state_.driver_features, queues_, *this);
}

void MmioTransport::reset() {
    device_.reset();
    for (Queue& queue : queues_) queue.reset();
    state_ = {};
    line_(false);
}

void MmioTransport::set_interrupt(std::uint32_t causes) {
    state_.interrupt |= causes;
    line_(true);
}

void MmioTransport::used_buffers() { set_interrupt(Interrupt::UsedBuffer); }

void MmioTransport::config_changed() {
    ++config_generation_;
    set_interrupt(Interrupt::ConfigurationChange);
}

void MmioTransport::needs_reset(const char* why) {
    if (!std::exchange(reported_, true))
        log(LogLevel::Warn, "{}: the guest's driver has broken a queue: {}", name_, why);
    state_.status |= Status::DEVICE_NEEDS_RESET;
    set_interrupt(Interrupt::ConfigurationChange);
}

}  // namespace undercroft
