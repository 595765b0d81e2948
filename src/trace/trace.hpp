// SPDX-License-Identifier: Apache-2.0
// Trace: what one vCPU's ring held in the end; and the ways to show several of them.

#pragma once

#include "trace/event.hpp"
#include "trace/kinds.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace undercroft {

struct Trace {
    std::string machine;
    unsigned vcpu = 0;
    std::uint64_t hz = 1;       // ticks per second
    std::uint64_t dropped = 0;  // older events, overwritten
    std::vector<TraceEvent> events;
};

// An event of one of several traces, in the order of time.
struct TraceMoment {
    const Trace* trace;
    const TraceEvent* event;
    std::uint64_t ns;  // since the first event of all
};
std::vector<TraceMoment> merge(const std::vector<Trace>& traces);

// In the shape of the chapter's figures: a line for each step, in the column of whoever takes it.
std::string trace_table(const std::vector<Trace>& traces);
// An object per event, each on a line of its own.
std::string trace_json_lines(const std::vector<Trace>& traces);
// What chrome://tracing and Perfetto open: a process for each machine, a track for each of its vCPUs.
std::string trace_chrome(const std::vector<Trace>& traces);
// The newest example of a figure's flow. Empty: none was recorded.
std::string trace_figure(TraceFigure figure, const std::vector<Trace>& traces);

}  // namespace undercroft
