// SPDX-License-Identifier: Apache-2.0
// What --stats shows of a machine, and what can be told while it runs.
#include "machine/machine.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

namespace undercroft {
namespace {

double seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>{time}.count(); }

// What ran where; the rest of the time is translated code and what it calls.
StatisticsSection times(const Engine& engine, std::uint64_t device_ticks, std::uint64_t hz, double run,
                        double idle) {
    auto to_seconds = [hz](std::uint64_t ticks) {
        return static_cast<double>(ticks) / static_cast<double>(hz);
    };
    StatisticsSection section{"time", {{"run", run, "s"}}};
    double rest = run;
    for (const auto& [part, ticks] : engine.ticks()) {
        section.figures.push_back({"- " + part, to_seconds(ticks), "s"});
        rest -= to_seconds(ticks);
    }
    section.figures.push_back({"- guest code and its traps", std::max(rest, 0.0), "s"});
    section.figures.push_back({"devices (part of the above)", to_seconds(device_ticks), "s"});
    section.figures.push_back({"idle", idle, "s"});
    return section;
}

// Exceptions that never came are left out.
StatisticsSection traps(const TrapCounts& counts) {
    constexpr std::array<std::pair<Vector, const char*>, 18> names{{{Vector::DE, "#DE divide error"},
                                                                    {Vector::DB, "#DB debug"},
                                                                    {Vector::NMI, "NMI"},
                                                                    {Vector::BP, "#BP breakpoint"},
                                                                    {Vector::OF, "#OF overflow"},
                                                                    {Vector::BR, "#BR bound range"},
                                                                    {Vector::UD, "#UD invalid opcode"},
                                                                    {Vector::NM, "#NM no device"},
                                                                    {Vector::DF, "#DF double fault"},
                                                                    {Vector::TS, "#TS invalid TSS"},
                                                                    {Vector::NP, "#NP segment not present"},
                                                                    {Vector::SS, "#SS stack fault"},
                                                                    {Vector::GP, "#GP general protection"},
                                                                    {Vector::PF, "#PF page fault"},
                                                                    {Vector::MF, "#MF x87 error"},
                                                                    {Vector::AC, "#AC alignment check"},
                                                                    {Vector::MC, "#MC machine check"},
                                                                    {Vector::XM, "#XM SIMD error"}}};
    StatisticsSection section{"traps",
                              {{"system calls", counts.system_call, ""},
                               {"external interrupts", counts.external_interrupt, ""},
                               {"software interrupts", counts.software_interrupt, ""}}};
    for (const auto& [vector, name] : names) {
        std::uint64_t count = counts.exception[static_cast<unsigned>(vector)];
        if (count != 0) section.figures.push_back({name, count, ""});
    }
    return section;
}

StatisticsSection memory_management(const MmuStatistics& mmu, const TrapCounts& traps) {
    auto misses = [&mmu](Access access) { return mmu.tlb_misses[static_cast<unsigned>(access)]; };
    return {"memory management",
            {{"TLB misses, read", misses(Access::Read), ""},
             {"TLB misses, write", misses(Access::Write), ""},
             {"fetches", misses(Access::Execute), ""},
             {"- second-level TLB hits", mmu.second_level_hits, ""},
             {"- page walks", mmu.walks, ""},
             {"- page faults", mmu.page_faults, ""},
             {"- guest-filled TLB, first-level hits", mmu.guest_tlb_hits, ""},
             {"- guest-filled TLB, misses reflected", traps.tlb_miss, ""},
             {"- guest-filled TLB, writes", mmu.guest_tlb_writes, ""},
             {"device accesses", mmu.device_accesses, ""},
             {"writes to code pages", mmu.code_page_writes, ""},
             {"flushes, all", mmu.flushes_all, ""},
             {"flushes, non-global", mmu.flushes_non_global, ""},
             {"flushes, page", mmu.flushes_page, ""},
             {"address-space switches without a flush", mmu.address_space_switches, ""}}};
}

Statistics statistics_of(const VirtualProcessor& processor, std::uint64_t hz) {
    const MachineEnvironment::Statistics& exits = processor.device_statistics();
    const VirtualProcessor::Figures& figures = processor.figures();
    StatisticsSection engine{"engine", {}};
    for (const auto& [name, value] : processor.engine().statistics())
        engine.figures.push_back({name, value, ""});
    return {times(processor.engine(), exits.ticks, hz, seconds(figures.ran - figures.idle),
                  seconds(figures.idle)),
            std::move(engine),
            traps(processor.traps()),
            memory_management(processor.mmu_statistics(), processor.traps()),
            {"devices",
             {{"port reads", exits.port_reads, ""},
              {"port writes", exits.port_writes, ""},
              {"device memory reads", exits.memory_reads, ""},
              {"device memory writes", exits.memory_writes, ""},
              {"device MSR accesses", exits.msr_accesses, ""},
              {"interrupts", exits.interrupts, ""},
              {"halts", figures.halts, ""},
              {"TLB flushes that others asked for", processor.flushes_for_others(), ""}}}};
}

void add(Figure& to, const Figure& figure) {
    if (const auto* count = std::get_if<std::uint64_t>(&figure.value))
        to.value = std::get<std::uint64_t>(to.value) + *count;
    else
        to.value = std::get<double>(to.value) + std::get<double>(figure.value);
}

// Figures of one name are added up; what only one vCPU has comes behind the others.
void add(StatisticsSection& to, const StatisticsSection& section) {
    for (const Figure& figure : section.figures) {
        auto same = std::find_if(to.figures.begin(), to.figures.end(),
                                 [&](const Figure& other) { return other.name == figure.name; });
        if (same != to.figures.end())
            add(*same, figure);
        else
            to.figures.push_back(figure);
    }
}

}  // namespace

MachineFigures Machine::figures() const {
    ShareFigures turns = share();
    MachineFigures figures;
    figures.processor_time = std::chrono::nanoseconds{turns.ran};
    figures.stolen_time = std::chrono::nanoseconds{turns.stolen};
    figures.switches = turns.turns;
    figures.exits = 0;
    for (const auto& processor : processors_) *figures.exits += processor->exits();
    constexpr std::uint64_t lately = 10;  // seconds
    std::uint64_t now = clock_.ticks();
    std::uint64_t since = now - std::min(now, lately * clock_.hz());
    std::vector<std::uint64_t> spaces;
    figures.process_switches = 0;
    for (const auto& processor : processors_) {
        *figures.process_switches += processor->address_spaces().switches();
        processor->address_spaces().since(since, spaces);
    }
    std::sort(spaces.begin(), spaces.end());
    figures.processes =
        static_cast<std::uint64_t>(std::unique(spaces.begin(), spaces.end()) - spaces.begin());
    MemoryFigures pages = memory_->figures();
    figures.touched = (pages.own + pages.shared) << 12;
    figures.shared = pages.shared << 12;
    figures.zero = pages.zero << 12;
    if (memory_->pool().swap() != nullptr) figures.swapped = pages.swapped << 12;
    figures.compressed = pages.compressed << 12;
    figures.ballooned = pages.ballooned << 12;
    if (!disks_.empty()) figures.from_disk = memory_->disk_origins().pages() << 12;
    return figures;
}

Statistics Machine::statistics() const {
    Statistics all = statistics_of(*processors_[0], clock_.hz());
    StatisticsSection each{"vCPUs", {}};
    for (unsigned n = 0; n < processors(); ++n) {
        const VirtualProcessor::Figures& figures = processors_[n]->figures();
        each.figures.push_back({fmt::format("{}, run", n), seconds(figures.ran - figures.idle), "s"});
        each.figures.push_back({fmt::format("{}, idle", n), seconds(figures.idle), "s"});
        if (n == 0) continue;
        Statistics more = statistics_of(*processors_[n], clock_.hz());
        for (std::size_t section = 0; section < all.size(); ++section) add(all[section], more[section]);
    }
    if (processors() > 1) all.insert(all.begin() + 1, std::move(each));
    MemoryFigures figures = memory_->figures();
    std::uint64_t frames = memory_->pool().in_use() << 12;
    std::uint64_t resident = resident_bytes();
    all.push_back({"memory",
                   {{"guest", memory_->size(), "bytes"},
                    {"guest touched", (figures.own + figures.shared) << 12, "bytes"},
                    {"- shared", figures.shared << 12, "bytes"},
                    {"zero again", figures.zero << 12, "bytes"},
                    {"compressed", figures.compressed << 12, "bytes"},
                    {"swapped", figures.swapped << 12, "bytes"},
                    {"frames of all machines", frames, "bytes"},
                    {"resident", resident, "bytes"},
                    {"overhead", resident > frames ? resident - frames : 0, "bytes"},
                    {"peak resident", peak_resident_bytes(), "bytes"}}});
    return all;
}

std::vector<Trace> Machine::traces(const std::string& name) const {
    std::vector<Trace> all;
    for (unsigned n = 0; n < processors(); ++n) {
        const TraceRing* ring = processors_[n]->trace();
        if (ring != nullptr) all.push_back({name, n, clock_.hz(), ring->dropped(), ring->events()});
    }
    return all;
}

}  // namespace undercroft
