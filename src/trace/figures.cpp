// SPDX-License-Identifier: Apache-2.0
// Figures B.3, B.4 and B.6 of the chapter, as they happened.
#include "trace/steps.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <span>

namespace undercroft {
namespace {

using trace::Table;

constexpr unsigned user = 3;
constexpr unsigned page_fault = 14;
constexpr unsigned most_pages = 24;

// A load or a store of the process's own memory: what the translator fetches is no access of an instruction,
// and descriptors and the kernel's stack are the processor's, not the process's.
bool is_users_miss(const TraceEvent& event) {
    constexpr unsigned execute = 2;
    return event.kind == TraceKind::TlbMiss && event.cpl == user && event.detail != execute &&
           event.address >> 63 == 0;
}

using Events = std::span<const TraceEvent>;

// The newest place at which `flow` finds something: how many events from there on belong to it, or none.
template <class Flow>
std::optional<Events> newest(const Trace& trace, Flow flow) {
    Events events{trace.events};
    for (std::size_t n = events.size(); n-- > 0;) {
        if (std::size_t length = flow(events.subspan(n))) return events.subspan(n, length);
    }
    return std::nullopt;
}

// Where a process goes on behind its system call: SYSCALL, or INT n as older kernels have it. Zero: it is
// none.
std::uint64_t behind_system_call(const TraceEvent& event) {
    constexpr unsigned first_of_software = 32;
    constexpr unsigned length_of_int = 2;
    if (event.cpl != user) return 0;
    if (event.kind == TraceKind::SystemCall) return event.address;
    return event.kind == TraceKind::Trap && event.detail >= first_of_software ? event.rip + length_of_int : 0;
}

// A system call of a process that the kernel answers without a rest.
std::size_t system_call_flow(Events events) {
    std::uint64_t behind = behind_system_call(events[0]);
    if (behind == 0) return 0;
    for (std::size_t n = 1; n < events.size(); ++n) {
        const TraceEvent& event = events[n];
        bool elsewhere = event.kind == TraceKind::AddressSpace || event.kind == TraceKind::TurnEnd;
        if (elsewhere || behind_system_call(event) != 0) return 0;
        bool returns = event.kind == TraceKind::SystemReturn ||
                       (event.kind == TraceKind::InterruptReturn && event.detail == user);
        if (returns) return event.target == behind ? n + 1 : 0;
    }
    return 0;
}

// A process's miss that the monitor serves by itself.
auto served_flow(FillSource source) {
    return [source](Events events) -> std::size_t {
        bool served = events.size() >= 2 && is_users_miss(events[0]) &&
                      events[1].kind == TraceKind::TlbFill &&
                      static_cast<FillSource>(events[1].detail) == source && events[1].target != 0;
        return served ? 2 : 0;
    };
}

// A miss that the guest's kernel has to serve, since its tables have no such page: up to the miss again, and
// the fill.
std::size_t reflected_flow(Events events) {
    bool reflected = events.size() >= 2 && is_users_miss(events[0]) && events[1].kind == TraceKind::Trap &&
                     events[1].detail == page_fault && events[1].address == events[0].address;
    if (!reflected) return 0;
    for (std::size_t n = 2; n + 2 < events.size(); ++n) {
        if (events[n].kind != TraceKind::InterruptReturn || events[n].detail != user) continue;
        bool retried = events[n].target == events[0].rip && events[n + 1].kind == TraceKind::TlbMiss &&
                       events[n + 1].address == events[0].address && events[n + 2].kind == TraceKind::TlbFill;
        return retried ? n + 3 : 0;
    }
    return 0;
}

// Of several traces, the first that has one.
template <class Flow>
void show(Table& table, const std::vector<Trace>& traces, std::string_view title, Flow flow,
          bool hide_inner) {
    for (const Trace& trace : traces) {
        auto found = newest(trace, flow);
        if (!found) continue;
        table.begin_part(title);
        std::vector<Trace> part{trace};
        part[0].events.assign(found->begin(), found->end());
        for (const TraceMoment& moment : merge(part)) {
            bool inner = moment.event->cpl != user && (moment.event->kind == TraceKind::TlbMiss ||
                                                       moment.event->kind == TraceKind::TlbFill);
            if (!(hide_inner && inner)) table.add(moment);
        }
        return;
    }
}

std::string mappings(const std::vector<Trace>& traces) {
    for (const Trace& trace : traces) {
        auto last = std::find_if(trace.events.rbegin(), trace.events.rend(), [](const TraceEvent& event) {
            return event.kind == TraceKind::TlbFill && event.cpl == user && event.target != 0;
        });
        if (last == trace.events.rend()) continue;
        std::map<std::uint64_t, const TraceEvent*> pages;  // by VPN, the newest of each
        for (const TraceEvent& event : trace.events) {
            bool his = event.kind == TraceKind::TlbFill && event.cpl == user && event.target != 0 &&
                       event.address_space == last->address_space;
            if (his) pages[event.address >> 12] = &event;
        }
        std::string text =
            fmt::format("Figure B.4: {}, address space {:#x}: {} pages in use\n{:>16}    {:>10}    {:>10}\n",
                        trace.machine, last->address_space, pages.size(), "VPN", "PFN", "MFN");
        unsigned shown = 0;
        for (const auto& [page, event] : pages) {
            if (shown++ == most_pages) {
                text += fmt::format("{:>16}\n", "...");
                break;
            }
            text += fmt::format("{:>#16x} -> {:>#10x} -> {:>#10x}\n", page, event->value, event->target);
        }
        return text;
    }
    return {};
}

}  // namespace

std::string trace_figure(TraceFigure figure, const std::vector<Trace>& traces) {
    Table table{std::vector<Trace>(1)};
    switch (figure) {
        case TraceFigure::None: break;
        case TraceFigure::B4: return mappings(traces);
        case TraceFigure::B3:
            show(table, traces, "Figure B.3: a system call", system_call_flow, false);
            break;
        case TraceFigure::B6:
            show(table, traces, "Figure B.6: a TLB miss. The OS's page table knows the page",
                 served_flow(FillSource::PageTable), true);
            show(table, traces, "The same page again: the second-level TLB remembers",
                 served_flow(FillSource::SecondLevelTlb), true);
            show(table, traces, "The OS's page table does not know the page: the OS has to help",
                 reflected_flow, true);
            break;
    }
    return std::move(table).text();
}

}  // namespace undercroft
