// SPDX-License-Identifier: Apache-2.0
// Queue: the device's side of a split virtqueue (virtio 1.2 section 2.7), with indirect descriptors and the
// event index. Packed queues and queue reset are left out.
//
// Everything in it is the guest's, and hostile. What the specification forbids breaks the queue: the loops,
// the lengths, the addresses and the orders that a driver may not make. A broken queue stays so; fault() says
// why.
//
// Not thread-safe: the caller holds the lock of the machine's devices.

#pragma once

#include "base/buffers.hpp"
#include "virtio/dma_memory.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace undercroft {

// Feature bits that belong to queues and transports.
struct VirtioFeature {
    static constexpr std::uint64_t IndirectDescriptors = 1ull << 28;
    static constexpr std::uint64_t EventIndex = 1ull << 29;
    static constexpr std::uint64_t Version1 = 1ull << 32;
    static constexpr std::uint64_t OfEveryDevice = IndirectDescriptors | EventIndex | Version1;
};

// A request: first what the device reads, then what it writes.
struct Chain {
    struct Range {
        GuestPhysical address;
        std::uint32_t length = 0;
    };

    std::uint16_t head = 0;  // what the driver knows it by
    Buffers readable;
    Buffers writable;                    // without Queue::want_ranges()
    std::vector<Range> writable_ranges;  // as the driver gave them
    std::uint64_t length = 0;            // of all of it; below 4 GiB without Queue::want_ranges()

    void clear(std::uint16_t new_head);
    // For who has written to it, before the driver hears of that.
    void tell_written(const DmaMemory& memory) const;
};

class Queue {
public:
    static constexpr std::uint16_t most_entries = 256;
    // Drivers may make a request longer than the queue if it is indirect; Linux does.
    static constexpr std::uint32_t most_indirect = 1024;

    struct State {
        std::uint16_t size = 0;  // zero, or a power of two up to most_entries
        bool ready = false;
        GuestPhysical descriptors;
        GuestPhysical driver;   // the available ring
        GuestPhysical device;   // the used ring
        bool indirect = false;  // features that were agreed on
        bool event_index = false;
        std::uint16_t next_available = 0;
        std::uint16_t next_used = 0;
        std::uint16_t signalled = 0;  // next_used when the driver was last considered for an interrupt
    };

    explicit Queue(const DmaMemory& memory) : memory_{memory} {}

    // The device wants to know only which ranges a request's writable part is made of, which may be anything.
    void want_ranges() { ranges_only_ = true; }

    State& state() { return state_; }
    const State& state() const { return state_; }
    void reset() {
        state_ = {};
        fault_ = nullptr;
    }

    enum class Pop : std::uint8_t { Empty, Chain, Broken };
    // The next request that the driver has made available.
    Pop pop(Chain& chain);
    // Gives a request back, of which tell_written() has told, with `written` bytes of its writable part
    // written. False: broken.
    bool push(const Chain& chain, std::uint32_t written) { return put(chain, written) && publish(); }
    // The same for several that the driver shall see at once: put() each, then publish().
    bool put(const Chain& chain, std::uint32_t written);
    bool publish();
    // The last `count` requests were not taken: they come again with the next pop().
    void put_off(std::size_t count) {
        state_.next_available = static_cast<std::uint16_t>(state_.next_available - count);
    }
    // After one or more push(): does the driver want an interrupt for them?
    bool wants_interrupt();
    // Asks to be notified of the next request. False: there is one already, or the queue is broken.
    bool ask_for_notification();

    // Why it is broken, or null.
    const char* fault() const { return fault_; }

private:
    struct Descriptor {
        std::uint64_t address;
        std::uint32_t length;
        std::uint16_t flags;
        std::uint16_t next;
    };
    static_assert(sizeof(Descriptor) == 16, "virtio 1.2 section 2.7.5");
    struct DescriptorFlag {
        static constexpr std::uint16_t Next = 1;
        static constexpr std::uint16_t Write = 2;
        static constexpr std::uint16_t Indirect = 4;
    };
    static constexpr std::uint16_t no_interrupt = 1;  // of the available ring's flags
    static constexpr std::uint64_t ring_entries = 4;  // behind flags and index

    struct Table {
        GuestPhysical address;
        std::uint32_t size;
        bool indirect;
    };

    Pop follow(Chain& chain);
    const char* enter_indirect(const Descriptor& descriptor, Table& table) const;
    const char* add(const Descriptor& descriptor, Chain& chain) const;
    bool available(std::uint16_t& index);
    Pop broken(const char* why) {
        fault_ = why;
        return Pop::Broken;
    }

    const DmaMemory& memory_;
    State state_;
    bool ranges_only_ = false;
    const char* fault_ = nullptr;
};

}  // namespace undercroft
