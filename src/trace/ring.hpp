// SPDX-License-Identifier: Apache-2.0
// TraceRing: the newest events of one vCPU. The oldest are overwritten, and counted.
//
// Written by the thread that runs the vCPU, also in helpers of translated code: general registers only. Read
// while the vCPU does not run.

#pragma once

#include "trace/event.hpp"
#include "trace/kinds.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace undercroft {

class TraceRing {
public:
    static constexpr std::size_t default_capacity = std::size_t{1} << 16;  // 4 MiB

    // Where the vCPU says what it is doing.
    struct Source {
        const std::uint64_t& rip;
        const std::uint64_t& address_space;
        const std::uint8_t& cpl;
    };

    // `capacity` is a power of two.
    TraceRing(TraceKinds kinds, const Source& source, std::size_t capacity = default_capacity)
        : kinds_{kinds}, source_{source}, mask_{capacity - 1}, events_{new TraceEvent[capacity]} {}

    struct Details {
        std::uint64_t address = 0;
        std::uint64_t value = 0;
        std::uint64_t target = 0;
        std::uint8_t detail = 0;
    };
    // Null: this kind is not wanted. Otherwise what was written, for who knows more in a moment.
    TraceEvent* record(TraceKind kind, const Details& details) noexcept {
        if (!kinds_.has(kind)) return nullptr;
        TraceEvent& event = events_[count_++ & mask_];
        event.ticks = __builtin_ia32_rdtsc();
        event.rip = source_.rip;
        event.address_space = source_.address_space;
        event.address = details.address;
        event.value = details.value;
        event.target = details.target;
        event.kind = kind;
        event.cpl = source_.cpl;
        event.detail = details.detail;
        return &event;
    }

    std::uint64_t dropped() const { return count_ > mask_ ? count_ - (mask_ + 1) : 0; }
    std::vector<TraceEvent> events() const {  // the oldest first
        std::vector<TraceEvent> all;
        for (std::uint64_t n = dropped(); n < count_; ++n) all.push_back(events_[n & mask_]);
        return all;
    }

private:
    TraceKinds kinds_;
    Source source_;
    std::uint64_t mask_;
    std::uint64_t count_ = 0;  // of all that were recorded
    std::unique_ptr<TraceEvent[]> events_;
};

}  // namespace undercroft
