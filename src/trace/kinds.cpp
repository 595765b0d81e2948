// SPDX-License-Identifier: Apache-2.0
#include "trace/kinds.hpp"

#include "base/words.hpp"

#include <algorithm>
#include <array>

namespace undercroft {
namespace {

struct Group {
    std::string_view name;
    TraceKinds kinds;
    TraceFigure figure = TraceFigure::None;
};

constexpr TraceKinds kernel_entries{
    TraceKind::SystemCall,      TraceKind::SystemReturn, TraceKind::Trap,   TraceKind::Interrupt,
    TraceKind::InterruptReturn, TraceKind::AddressSpace, TraceKind::TurnEnd};
constexpr TraceKinds translations{TraceKind::TlbMiss, TraceKind::TlbFill, TraceKind::Trap,
                                  TraceKind::Hypercall, TraceKind::InterruptReturn};

constexpr std::array<Group, 12> groups{{
    {"syscalls", {TraceKind::SystemCall, TraceKind::SystemReturn}},
    {"traps", {TraceKind::Trap, TraceKind::InterruptReturn}},
    {"interrupts", {TraceKind::Interrupt, TraceKind::InterruptReturn}},
    {"switches", {TraceKind::TurnBegin, TraceKind::TurnEnd}},
    {"tlb", {TraceKind::TlbMiss, TraceKind::TlbFill}},
    {"devices", {TraceKind::DeviceRead, TraceKind::DeviceWrite}},
    {"hypercalls", {TraceKind::Hypercall}},
    {"processes", {TraceKind::AddressSpace}},
    {"all", TraceKinds::all()},
    {"B.3", kernel_entries, TraceFigure::B3},
    {"B.4", {TraceKind::TlbFill}, TraceFigure::B4},
    {"B.6", translations, TraceFigure::B6},
}};

const Group* find(std::string_view name) {
    for (const Group& group : groups) {
        if (group.name == name) return &group;
    }
    return nullptr;
}

}  // namespace

Result<TraceChoice> trace_choice(std::string_view text) {
    TraceChoice choice;
    for (std::string_view name : words_between_commas(text)) {
        const Group* group = find(name);
        if (group == nullptr) {
            std::string message = "trace '" + std::string{name} + "': not one of";
            for (const Group& known : groups)
                message += (&known == groups.data() ? " " : ", ") + std::string{known.name};
            return Error{message};
        }
        bool figure_and_more = group->figure != TraceFigure::None && text.size() != name.size();
        if (figure_and_more) return Error{"trace '" + std::string{name} + "': a figure stands alone"};
        choice.kinds |= group->kinds;
        choice.figure = group->figure;
    }
    return choice;
}

std::string_view name_of(TraceKind kind) {
    constexpr std::array<std::string_view, trace_kind_count> names{
        "system call", "system return", "trap",          "interrupt",   "interrupt return",
        "TLB miss",    "TLB fill",      "address space", "device read", "device write",
        "hypercall",   "turn begins",   "turn ends"};
    return names[static_cast<unsigned>(kind)];
}

}  // namespace undercroft
