// SPDX-License-Identifier: Apache-2.0
// Which kinds of events are recorded, and what users call them.

#pragma once

#include "base/result.hpp"
#include "trace/event.hpp"

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace undercroft {

class TraceKinds {
public:
    constexpr TraceKinds() = default;  // none
    constexpr TraceKinds(std::initializer_list<TraceKind> kinds) {
        for (TraceKind kind : kinds) bits_ |= bit(kind);
    }
    static constexpr TraceKinds all() {
        TraceKinds kinds;
        kinds.bits_ = (1u << trace_kind_count) - 1;
        return kinds;
    }

    constexpr bool has(TraceKind kind) const { return (bits_ & bit(kind)) != 0; }
    constexpr bool none() const { return bits_ == 0; }
    constexpr TraceKinds& operator|=(TraceKinds other) {
        bits_ |= other.bits_;
        return *this;
    }
    constexpr bool operator==(const TraceKinds&) const = default;

private:
    static constexpr std::uint32_t bit(TraceKind kind) { return 1u << static_cast<unsigned>(kind); }

    std::uint32_t bits_ = 0;
};

// The flows of the chapter that a trace can show.
enum class TraceFigure : std::uint8_t { None, B3, B4, B6 };

struct TraceChoice {
    TraceKinds kinds;
    TraceFigure figure = TraceFigure::None;  // only that is wanted of what was recorded
};

// Names with commas between them: syscalls, traps, interrupts, switches, tlb, devices, hypercalls, processes,
// all; or one of B.3, B.4, B.6. Error: which one is none.
Result<TraceChoice> trace_choice(std::string_view text);

// As JSON and tables name it: "system call".
std::string_view name_of(TraceKind kind);

}  // namespace undercroft
