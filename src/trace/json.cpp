// SPDX-License-Identifier: Apache-2.0
// The two machine-readable forms. Names of machines have no character that JSON would want escaped.
#include "trace/trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace undercroft {
namespace {

constexpr unsigned user = 3;

double microseconds(std::uint64_t ns) { return static_cast<double>(ns) / 1000; }

// Chrome's events of one vCPU: what the guest's kernel does between its entry and the return to a process is
// a slice, and so are turns (on a track of their own, since they begin and end anywhere), TLB misses and
// accesses to devices.
class ChromeTrack {
public:
    ChromeTrack(std::string& text, int process, const Trace& trace)
        : text_{text}, process_{process}, trace_{trace} {
        name("process_name", 0, trace.machine);
        name("thread_name", guest_thread(), fmt::format("vCPU {}", trace.vcpu));
        name("thread_name", turn_thread(), fmt::format("vCPU {} turns", trace.vcpu));
    }

    void add(const TraceEvent& event, std::uint64_t ns);

private:
    unsigned guest_thread() const { return 2 * trace_.vcpu + 1; }
    unsigned turn_thread() const { return 2 * trace_.vcpu + 2; }
    void name(std::string_view what, unsigned thread, std::string_view name);
    void slice(std::string_view name, unsigned thread, std::uint64_t from, std::uint64_t to,
               const TraceEvent& event);
    void instant(const TraceEvent& event, std::uint64_t ns);
    void returned(const TraceEvent& event, std::uint64_t ns, bool to_user);

    struct Open {
        const TraceEvent* event = nullptr;
        std::uint64_t ns = 0;
    };
    std::string& text_;
    int process_;
    const Trace& trace_;
    Open kernel_;  // entered from a process
    Open miss_;
    Open turn_;
};

void ChromeTrack::name(std::string_view what, unsigned thread, std::string_view name) {
    fmt::format_to(std::back_inserter(text_),
                   R"({{"ph":"M","name":"{}","pid":{},"tid":{},"args":{{"name":"{}"}}}},)"
                   "\n",
                   what, process_, thread, name);
}

void ChromeTrack::slice(std::string_view name, unsigned thread, std::uint64_t from, std::uint64_t to,
                        const TraceEvent& event) {
    fmt::format_to(std::back_inserter(text_),
                   R"({{"ph":"X","name":"{}","pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f},"args":)"
                   R"({{"rip":"{:#x}","address":"{:#x}","value":"{:#x}","target":"{:#x}"}}}},)"
                   "\n",
                   name, process_, thread, microseconds(from), microseconds(to - from), event.rip,
                   event.address, event.value, event.target);
}

void ChromeTrack::instant(const TraceEvent& event, std::uint64_t ns) {
    fmt::format_to(
        std::back_inserter(text_),
        R"({{"ph":"i","s":"t","name":"{} {:#x}","pid":{},"tid":{},"ts":{:.3f},"args":{{"rip":"{:#x}"}}}},)"
        "\n",
        name_of(event.kind),
        event.kind == TraceKind::Trap || event.kind == TraceKind::Interrupt ? event.detail : event.value,
        process_, guest_thread(), microseconds(ns), event.rip);
}

void ChromeTrack::returned(const TraceEvent& event, std::uint64_t ns, bool to_user) {
    if (!to_user) return instant(event, ns);
    if (kernel_.event == nullptr) return;
    const TraceEvent& entry = *kernel_.event;
    bool call = entry.kind == TraceKind::SystemCall;
    slice(fmt::format("{} {}", name_of(entry.kind), call ? entry.value : entry.detail), guest_thread(),
          kernel_.ns, ns, entry);
    kernel_ = {};
}

void ChromeTrack::add(const TraceEvent& event, std::uint64_t ns) {
    switch (event.kind) {
        case TraceKind::SystemCall:
        case TraceKind::Trap:
        case TraceKind::Interrupt:
            if (event.cpl == user)
                kernel_ = {&event, ns};
            else
                instant(event, ns);
            break;
        case TraceKind::SystemReturn: returned(event, ns, true); break;
        case TraceKind::InterruptReturn: returned(event, ns, event.detail == user); break;
        case TraceKind::TlbMiss: miss_ = {&event, ns}; break;
        case TraceKind::TlbFill:
            if (miss_.event != nullptr) slice("TLB miss", guest_thread(), miss_.ns, ns, event);
            miss_ = {};
            break;
        case TraceKind::DeviceRead:
        case TraceKind::DeviceWrite: {
            auto took = static_cast<std::uint64_t>(static_cast<double>(event.target) * 1e9 /
                                                   static_cast<double>(trace_.hz));
            slice(name_of(event.kind), guest_thread(), ns - std::min(ns, took), ns, event);
            break;
        }
        case TraceKind::TurnBegin: turn_ = {&event, ns}; break;
        case TraceKind::TurnEnd:
            if (turn_.event != nullptr)
                slice(fmt::format("processor {}", event.value), turn_thread(), turn_.ns, ns, event);
            turn_ = {};
            break;
        case TraceKind::AddressSpace:
        case TraceKind::Hypercall: instant(event, ns); break;
    }
}

}  // namespace

std::vector<TraceMoment> merge(const std::vector<Trace>& traces) {
    std::vector<TraceMoment> moments;
    for (const Trace& trace : traces) {
        for (const TraceEvent& event : trace.events) moments.push_back({&trace, &event, 0});
    }
    std::stable_sort(moments.begin(), moments.end(), [](const TraceMoment& a, const TraceMoment& b) {
        return a.event->ticks < b.event->ticks;
    });
    for (TraceMoment& moment : moments) {
        std::uint64_t ticks = moment.event->ticks - moments.front().event->ticks;
        moment.ns = static_cast<std::uint64_t>(static_cast<double>(ticks) * 1e9 /
                                               static_cast<double>(moment.trace->hz));
    }
    return moments;
}

std::string trace_json_lines(const std::vector<Trace>& traces) {
    std::string text;
    auto out = std::back_inserter(text);
    for (const Trace& trace : traces)
        fmt::format_to(out,
                       R"({{"machine":"{}","vcpu":{},"dropped":{}}})"
                       "\n",
                       trace.machine, trace.vcpu, trace.dropped);
    for (const auto& [trace, event, ns] : merge(traces)) {
        fmt::format_to(out,
                       R"({{"machine":"{}","vcpu":{},"ns":{},"kind":"{}","cpl":{},"detail":{},"rip":"{:#x}",)"
                       R"("cr3":"{:#x}","address":"{:#x}","value":"{:#x}","target":"{:#x}"}})"
                       "\n",
                       trace->machine, trace->vcpu, ns, name_of(event->kind), event->cpl, event->detail,
                       event->rip, event->address_space, event->address, event->value, event->target);
    }
    return text;
}

std::string trace_chrome(const std::vector<Trace>& traces) {
    std::string text = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n";
    std::vector<ChromeTrack> tracks;
    std::string machine;
    int process = 0;
    for (const Trace& trace : traces) {
        if (trace.machine != machine || process == 0) ++process;
        machine = trace.machine;
        tracks.emplace_back(text, process, trace);
    }
    for (const TraceMoment& moment : merge(traces))
        tracks[static_cast<std::size_t>(moment.trace - traces.data())].add(*moment.event, moment.ns);
    if (!tracks.empty()) text.erase(text.size() - 2);  // the last comma
    return text + "\n]}\n";
}

}  // namespace undercroft
