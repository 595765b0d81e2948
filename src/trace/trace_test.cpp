// SPDX-License-Identifier: Apache-2.0
#include "trace/trace.hpp"

#include "trace/ring.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include <set>
#include <sstream>
#include <string>
#include <utility>

namespace undercroft {
namespace {

// A vCPU, as far as a trace knows it.
struct Processor {
    std::uint64_t rip = 0x401000;
    std::uint64_t cr3 = 0x1000;
    std::uint8_t cpl = 3;

    TraceRing ring{TraceKinds::all(), {rip, cr3, cpl}, 64};

    Trace trace() const { return {"web", 0, 1'000'000'000, ring.dropped(), ring.events()}; }
    void system_call() {
        ring.record(TraceKind::SystemCall, {.address = rip + 2, .value = 39, .target = 0xffff8000});
        cpl = 0;
        std::uint64_t back = rip + 2;
        rip = 0xffff8100;
        ring.record(TraceKind::SystemReturn, {.target = back});
        cpl = 3;
        rip = back;
    }
    void miss(std::uint64_t address) { ring.record(TraceKind::TlbMiss, {.address = address}); }
    void fill(std::uint64_t address, FillSource source = FillSource::PageTable) {
        ring.record(TraceKind::TlbFill, {.address = address,
                                         .value = 0x77,
                                         .target = 0x999,
                                         .detail = static_cast<std::uint8_t>(source)});
    }
    void page_fault(
        std::uint64_t address, const std::function<void()>& handler = [] {}) {
        ring.record(TraceKind::Trap, {.address = address, .target = 0xffff9000, .detail = 14});
        cpl = 0;
        handler();
        ring.record(TraceKind::InterruptReturn, {.target = rip, .detail = 3});
        cpl = 3;
    }
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST(TraceRing, KeepsTheNewestAndCountsTheOthers) {
    Processor processor;
    for (std::uint64_t n = 0; n < 100; ++n) processor.miss(n);
    std::vector<TraceEvent> events = processor.ring.events();
    ASSERT_EQ(events.size(), 64u);
    EXPECT_EQ(events.front().address, 36u);
    EXPECT_EQ(events.back().address, 99u);
    EXPECT_EQ(processor.ring.dropped(), 36u);
    for (std::size_t n = 1; n < events.size(); ++n) EXPECT_GE(events[n].ticks, events[n - 1].ticks);
}

TEST(TraceRing, RecordsWhatIsWantedWithWhereItHappened) {
    Processor processor;
    TraceRing ring{{TraceKind::SystemCall}, {processor.rip, processor.cr3, processor.cpl}, 4};
    EXPECT_EQ(ring.record(TraceKind::Trap, {}), nullptr);
    TraceEvent* event = ring.record(TraceKind::SystemCall, {.value = 1});
    ASSERT_NE(event, nullptr);
    event->target = 5;
    ASSERT_EQ(ring.events().size(), 1u);
    TraceEvent kept = ring.events()[0];
    EXPECT_EQ(kept.rip, 0x401000u);
    EXPECT_EQ(kept.address_space, 0x1000u);
    EXPECT_EQ(kept.cpl, 3);
    EXPECT_EQ(kept.target, 5u);
}

TEST(TraceKinds, NamesAndFigures) {
    auto some = trace_choice("syscalls,tlb");
    ASSERT_TRUE(some);
    EXPECT_TRUE(some->kinds.has(TraceKind::SystemReturn) && some->kinds.has(TraceKind::TlbFill));
    EXPECT_FALSE(some->kinds.has(TraceKind::Trap));
    EXPECT_EQ(trace_choice("all")->kinds, TraceKinds::all());
    EXPECT_EQ(trace_choice("B.4")->figure, TraceFigure::B4);
    for (const char* bad : {"", "sysc", "tlb,", ",tlb", "tlb,B.3", "B.3,tlb"})
        EXPECT_FALSE(trace_choice(bad)) << bad;
    EXPECT_TRUE(has(trace_choice("x").error().message, "'x'"));
}

TEST(TraceFigures, B3IsTheNewestWholeSystemCall) {
    Processor processor;
    processor.system_call();
    processor.ring.record(TraceKind::SystemCall, {.address = 7, .value = 60});  // never comes back
    std::string text = trace_figure(TraceFigure::B3, {processor.trace()});
    EXPECT_TRUE(has(text, "1. system call 39 at 0x401000: trap")) << text;
    EXPECT_TRUE(has(text, "2. process trapped: call the OS's trap handler 0xffff8000, at reduced privilege"))
        << text;
    EXPECT_TRUE(has(text, "3. return from trap: sysret at 0xffff8100")) << text;
    EXPECT_TRUE(has(text, "5. resume at 0x401002")) << text;
    EXPECT_FALSE(has(text, "60")) << text;
}

TEST(TraceFigures, B3ShowsSystemCallsByInterrupt) {
    Processor processor;
    processor.ring.record(TraceKind::Trap, {.target = 0xffff9000, .detail = 0x80});
    processor.cpl = 0;
    processor.ring.record(TraceKind::InterruptReturn, {.target = processor.rip + 2, .detail = 3});
    std::string text = trace_figure(TraceFigure::B3, {processor.trace()});
    EXPECT_TRUE(has(text, "reflect INT 0x80: call the OS's trap handler 0xffff9000")) << text;
    EXPECT_TRUE(has(text, "5. resume at")) << text;
}

TEST(TraceFigures, B4HasOneAddressSpace) {
    Processor processor;
    processor.cr3 = 0x9000;
    processor.fill(0x5000);
    processor.cr3 = 0x1000;
    processor.fill(0x6000);
    processor.fill(0x6008);
    processor.cpl = 0;
    processor.fill(0x8000);
    std::string text = trace_figure(TraceFigure::B4, {processor.trace()});
    EXPECT_TRUE(has(text, "address space 0x1000: 1 pages")) << text;
    EXPECT_TRUE(has(text, "0x6 ->       0x77 ->      0x999")) << text;
    EXPECT_FALSE(has(text, "0x5 ->") || has(text, "0x8 ->")) << text;
}

TEST(TraceFigures, B6ShowsWhoServedTheMiss) {
    Processor processor;
    processor.miss(0x5123);
    processor.fill(0x5123);
    processor.miss(0x5200);
    processor.fill(0x5200, FillSource::SecondLevelTlb);
    processor.miss(0x6000);
    processor.page_fault(0x6000);
    processor.miss(0x6000);
    processor.fill(0x6000);
    std::string text = trace_figure(TraceFigure::B6, {processor.trace()});
    EXPECT_TRUE(has(text, "in the OS's page table: VPN 0x6 -> PFN 0x77 -> MFN 0x999")) << text;
    EXPECT_TRUE(has(text, "in the second-level TLB: VPN 0x5")) << text;
    EXPECT_TRUE(has(text, "reflect #PF for 0x6000: call the OS's trap handler 0xffff9000")) << text;
}

TEST(TraceFigures, B6ShowsAGuestThatFillsItsTlb) {
    Processor processor;
    processor.miss(0xffff800000001000);  // the monitor pushes a frame: not the process's doing
    processor.fill(0xffff800000001000);
    processor.miss(0x6008);
    processor.page_fault(0x6008, [&] {
        processor.ring.record(TraceKind::Hypercall,
                              {.address = 0x6001, .value = 0x55430001, .target = 0x4200b});
    });
    processor.miss(0x6008);
    processor.fill(0x6008, FillSource::SecondLevelTlb);
    std::string text = trace_figure(TraceFigure::B6, {processor.trace()});
    EXPECT_TRUE(has(text, "write VPN 0x6 -> PFN 0x42 into the TLB: trap")) << text;
    EXPECT_TRUE(has(text, "OS tried to write the TLB: remember VPN 0x6")) << text;
    EXPECT_FALSE(has(text, "VPN 0xffff8")) << text;
}

TEST(TraceFigures, NothingRecordedIsNothingShown) {
    for (TraceFigure figure : {TraceFigure::B3, TraceFigure::B4, TraceFigure::B6}) {
        EXPECT_EQ(trace_figure(figure, {}), "");
        EXPECT_EQ(trace_figure(figure, {Processor{}.trace()}), "");
    }
}

void record_everything(Processor& processor) {
    for (unsigned level : {3u, 0u}) {
        processor.cpl = static_cast<std::uint8_t>(level);
        for (unsigned kind = 0; kind < trace_kind_count; ++kind) {
            // Whatever a guest put there.
            processor.ring.record(static_cast<TraceKind>(kind),
                                  {.address = ~0ull, .value = ~0ull, .target = ~0ull, .detail = 0xff});
        }
    }
}

TEST(TraceForms, JsonLinesParseAndTimesGoForward) {
    Processor processor;
    record_everything(processor);
    std::istringstream lines{trace_json_lines({processor.trace()})};
    std::string line;
    std::getline(lines, line);
    EXPECT_EQ(nlohmann::json::parse(line).at("dropped"), 0);
    std::uint64_t last = 0;
    unsigned count = 0;
    for (; std::getline(lines, line); ++count) {
        auto event = nlohmann::json::parse(line);
        EXPECT_EQ(event.at("machine"), "web");
        EXPECT_EQ(event.at("address"), "0xffffffffffffffff");
        EXPECT_GE(event.at("ns").get<std::uint64_t>(), last);
        last = event.at("ns").get<std::uint64_t>();
    }
    EXPECT_EQ(count, 2 * trace_kind_count);
}

TEST(TraceForms, ChromeHasATrackForEachVcpu) {
    Processor processor;
    processor.system_call();
    processor.miss(1);
    processor.fill(1);
    record_everything(processor);
    Trace first = processor.trace();
    Trace second = first;
    second.vcpu = 1;
    Trace other = first;
    other.machine = "database";
    auto root = nlohmann::json::parse(trace_chrome({first, second, other}));
    std::set<std::pair<int, int>> tracks;
    std::set<std::string> names;
    for (const auto& event : root.at("traceEvents")) {
        if (event.at("ph") == "M") continue;
        tracks.emplace(event.at("pid"), event.at("tid"));
        names.insert(event.at("name"));
        EXPECT_GE(event.at("ts").get<double>(), 0);
        EXPECT_GE(event.value("dur", 0.0), 0);
    }
    EXPECT_EQ(tracks.size(), 6u) << "guest and turns, of three vCPUs";
    EXPECT_TRUE(names.contains("system call 39"));
    EXPECT_TRUE(names.contains("TLB miss"));
    EXPECT_EQ(nlohmann::json::parse(trace_chrome({})).at("traceEvents").size(), 0u);
}

TEST(TraceForms, TableHasEveryKindAndSaysWhatIsMissing) {
    Processor processor;
    record_everything(processor);
    Trace trace = processor.trace();
    trace.dropped = 12;
    std::string text = trace_table({trace});
    EXPECT_TRUE(has(text, "web, vCPU 0: 12 older events were overwritten\n")) << text;
    EXPECT_TRUE(has(text, "hypercall 0xffffffffffffffff")) << text;
    EXPECT_FALSE(has(text, "web/0")) << "there is but one";
    EXPECT_TRUE(has(trace_table({trace, trace}), "web/0 1. "));
}

}  // namespace
}  // namespace undercroft
