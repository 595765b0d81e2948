// SPDX-License-Identifier: Apache-2.0
#include "trace/steps.hpp"

#include "x86/software_tlb.hpp"

#include <fmt/format.h>

#include <array>
#include <iterator>

namespace undercroft::trace {
namespace {

constexpr unsigned user = 3;

Actor at_level(unsigned cpl) { return cpl == user ? Actor::Process : Actor::OperatingSystem; }

std::string exception_name(unsigned vector) {
    constexpr std::array<std::string_view, 20> names{"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD",
                                                     "#NM", "#DF", "",    "#TS", "#NP", "#SS", "#GP",
                                                     "#PF", "",    "#MF", "#AC", "#MC", "#XM"};
    if (vector < names.size() && !names[vector].empty()) return std::string{names[vector]};
    return fmt::format("INT {:#x}", vector);
}

std::string access_name(unsigned access) {
    constexpr std::array<std::string_view, 3> names{"load from", "store to", "fetch from"};
    return std::string{access < names.size() ? names[access] : "access to"};
}

std::string place_of(const TraceEvent& event) {
    switch (static_cast<DeviceSpace>(event.detail)) {
        case DeviceSpace::Port: return fmt::format("port {:#x}", event.address);
        case DeviceSpace::Memory: return fmt::format("device memory {:#x}", event.address);
        case DeviceSpace::Msr: break;
    }
    return fmt::format("MSR {:#x}", event.address);
}

std::vector<Step> returned(const TraceEvent& event, std::string_view instruction, unsigned to_level) {
    return {{Actor::OperatingSystem, fmt::format("return from trap: {} at {:#x}", instruction, event.rip)},
            {Actor::Monitor, "OS tried return from trap: do the real one"},
            {at_level(to_level), fmt::format("resume at {:#x}", event.target)}};
}

std::vector<Step> filled(const TraceEvent& event) {
    constexpr std::array<std::string_view, 3> sources{
        "in the OS's page table: ", "in the second-level TLB: ", "in the TLB that the OS fills: "};
    std::string_view source = event.detail < sources.size() ? sources[event.detail] : "";
    std::string found =
        event.target != 0 ? fmt::format("VPN {:#x} -> PFN {:#x} -> MFN {:#x}", event.address >> 12,
                                        event.value, event.target)
                          : fmt::format("VPN {:#x} -> PFN {:#x}: no frame", event.address >> 12, event.value);
    return {{Actor::Monitor, std::string{source} + found},
            {at_level(event.cpl), fmt::format("retried at {:#x}", event.rip)}};
}

// What a guest that fills its TLB by itself does in its miss handler, or anything else that is asked for.
std::vector<Step> called(const TraceEvent& event) {
    std::uint64_t page = event.address >> 12;
    if (event.value != static_cast<std::uint64_t>(software_tlb::Call::WriteEntry))
        return {
            {at_level(event.cpl), fmt::format("hypercall {:#x} at {:#x}: trap", event.value, event.rip)},
            {Actor::Monitor, fmt::format("do what is asked for: {:#x}, {:#x}", event.address, event.target)}};
    return {{at_level(event.cpl), fmt::format("write VPN {:#x} -> PFN {:#x} into the TLB: trap", page,
                                              (event.target & software_tlb::EntryLo::Page) >> 12)},
            {Actor::Monitor, fmt::format("OS tried to write the TLB: remember VPN {:#x}", page)}};
}

std::vector<Step> accessed(const TraceMoment& moment, std::string_view what) {
    const TraceEvent& event = *moment.event;
    double ns = static_cast<double>(event.target) * 1e9 / static_cast<double>(moment.trace->hz);
    return {{at_level(event.cpl), fmt::format("{} {} at {:#x}", what, place_of(event), event.rip)},
            {Actor::Monitor, fmt::format("device: {:#x}, in {:.0f} ns", event.value, ns)}};
}

}  // namespace

std::vector<Step> steps_of(const TraceMoment& moment) {
    const TraceEvent& e = *moment.event;
    Actor here = at_level(e.cpl);
    constexpr std::string_view handler = "call the OS's trap handler";
    switch (e.kind) {
        case TraceKind::SystemCall:
            return {{here, fmt::format("system call {} at {:#x}: trap", e.value, e.rip)},
                    {Actor::Monitor,
                     fmt::format("process trapped: {} {:#x}, at reduced privilege", handler, e.target)}};
        case TraceKind::SystemReturn: return returned(e, "sysret", user);
        case TraceKind::InterruptReturn: return returned(e, "iret", e.detail);
        case TraceKind::Trap:
            return {{here, fmt::format("{} at {:#x}: trap", exception_name(e.detail), e.rip)},
                    {Actor::Monitor,
                     e.detail == 14
                         ? fmt::format("reflect #PF for {:#x}: {} {:#x}", e.address, handler, e.target)
                         : fmt::format("reflect {}: {} {:#x}", exception_name(e.detail), handler, e.target)}};
        case TraceKind::Interrupt:
            return {{here, fmt::format("interrupted at {:#x}", e.rip)},
                    {Actor::Monitor, fmt::format("interrupt {:#x}: {} {:#x}", e.detail, handler, e.target)}};
        case TraceKind::TlbMiss:
            return {
                {here, fmt::format("{} {:#x} at {:#x}: TLB miss", access_name(e.detail), e.address, e.rip)}};
        case TraceKind::TlbFill: return filled(e);
        case TraceKind::AddressSpace:
            return {{here, fmt::format("switch to address space {:#x}", e.value)},
                    {Actor::Monitor, "other processes' translations are put aside"}};
        case TraceKind::DeviceRead: return accessed(moment, "read");
        case TraceKind::DeviceWrite: return accessed(moment, "write");
        case TraceKind::Hypercall: return called(e);
        case TraceKind::TurnBegin:
            return {{Actor::Monitor, fmt::format("machine switch: runs on processor {}", e.value)}};
        case TraceKind::TurnEnd:
            return {{Actor::Monitor, fmt::format("machine switch: processor {} is free", e.value)}};
    }
    return {};
}

void Table::begin_part(std::string_view title) {
    constexpr std::string_view heads =
        "    time, us  process                                         operating system "
        "                               monitor\n";
    if (!text_.empty()) text_ += '\n';
    if (!title.empty()) text_.append(title).append("\n");
    text_ += heads;
    number_ = 0;
}

void Table::add(const TraceMoment& moment) {
    if (number_ == 0) started_ = moment.ns;
    for (const Step& step : steps_of(moment)) add_row(moment, step);
}

void Table::add_row(const TraceMoment& moment, const Step& step) {
    constexpr unsigned width = 48;
    double us = static_cast<double>(moment.ns - started_) / 1000;
    std::string whose = named_ ? fmt::format("{}/{} ", moment.trace->machine, moment.trace->vcpu) : "";
    std::string text = fmt::format("{}{}. {}", whose, ++number_, step.text);
    fmt::format_to(std::back_inserter(text_), "{:12.3f}  {:{}}{}\n", us, "",
                   width * static_cast<unsigned>(step.actor), text);
}

}  // namespace undercroft::trace

namespace undercroft {

std::string trace_table(const std::vector<Trace>& traces) {
    trace::Table table{traces};
    std::string title;
    for (const Trace& one : traces) {
        if (one.dropped != 0)
            title += fmt::format("{}, vCPU {}: {} older events were overwritten\n", one.machine, one.vcpu,
                                 one.dropped);
    }
    if (!title.empty()) title.pop_back();
    table.begin_part(title);
    for (const TraceMoment& moment : merge(traces)) table.add(moment);
    return std::move(table).text();
}

}  // namespace undercroft
