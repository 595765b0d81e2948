// SPDX-License-Identifier: Apache-2.0
#include "engine/lockstep/history.hpp"

#include "x86/paging.hpp"

#include <Zydis/Zydis.h>
#include <fmt/format.h>

#include <algorithm>

namespace undercroft::lockstep {
namespace {

constexpr const char* register_names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

// As the instruction lies in memory now, in the present address space and code size.
std::string disassembly(Vcpu& vcpu, std::uint64_t rip) {
    std::array<std::byte, ZYDIS_MAX_INSTRUCTION_LENGTH> bytes{};
    Trap trap;
    bool wide = vcpu.code_64bit();
    std::uint64_t linear = wide ? rip : rip + vcpu.seg(SegmentName::CS).base;
    // Supervisor code reads user text here only in reports: the mode follows the address, not CPL.
    bool user = static_cast<std::int64_t>(linear) >= 0 && vcpu.cpl == 3;
    unsigned count = vcpu.mmu->fetch(GuestVirtual{linear}, bytes.data(), ZYDIS_MAX_INSTRUCTION_LENGTH,
                                     user ? AccessMode::User : AccessMode::SupervisorAc, trap);
    ZydisDisassembledInstruction instruction;
    ZydisMachineMode mode = wide ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LONG_COMPAT_32;
    if (count == 0) return "(not mapped now)";
    if (!ZYAN_SUCCESS(ZydisDisassembleIntel(mode, rip, bytes.data(), count, &instruction)))
        return "(undecodable)";
    std::string text;
    for (unsigned i = 0; i < instruction.info.length; i++)
        text += fmt::format("{:02x} ", static_cast<unsigned>(bytes[i]));
    return fmt::format("{:<31} {}", text, instruction.text);
}

std::uint64_t* register_named(const std::string& name, Stepped& at) {
    for (unsigned n = 0; n < 16; n++)
        if (name == register_names[n]) return &at.gpr[n];
    return name == "rflags" ? &at.flags : nullptr;
}

void add_registers(std::string& text, const Vcpu& leader, const Vcpu& follower) {
    text += fmt::format("\n  registers          translated            stepped\n");
    auto line = [&](const char* name, std::uint64_t ours, std::uint64_t theirs) {
        text += fmt::format("  {:<8} {:>20x} {:>20x}{}\n", name, ours, theirs, ours != theirs ? "  <--" : "");
    };
    line("rip", leader.rip, follower.rip);
    line("rflags", leader.rflags(), follower.rflags());
    for (unsigned n = 0; n < 16; n++) line(register_names[n], leader.gpr[n], follower.gpr[n]);
}

void add_memory(std::string& text, const GuestMemory& ours, const GuestMemory& theirs, GuestPhysical at) {
    constexpr unsigned shown = 32;
    GuestPhysical start{at.value() & ~std::uint64_t{15}};
    auto row = [&](const char* name, const GuestMemory& memory) {
        text += fmt::format("  {:<12}", name);
        for (unsigned i = 0; i < shown; i++) {
            const std::byte* host = memory.readable(start + i);
            text += host != nullptr ? fmt::format(" {:02x}", static_cast<unsigned>(*host)) : " --";
        }
        text += '\n';
    };
    text +=
        fmt::format("\n  memory at physical {:#x}, first difference at {:#x}\n", start.value(), at.value());
    row("translated", ours);
    row("stepped", theirs);
}

}  // namespace

std::uint64_t likely_culprit(const Vcpu& follower, const History& history, const Difference& difference) {
    if (difference.memory && difference.memory->rip != 0) return difference.memory->rip;
    std::uint64_t stretch = std::max<std::uint64_t>(difference.last_stretch, 1);
    std::vector<Stepped> path;
    history.follower.for_each_of_last(stretch, [&](const Stepped& at) { path.push_back(at); });
    if (path.empty()) return follower.rip;
    std::uint64_t first = path.front().rip;
    Stepped now{follower.rip, follower.rflags(), follower.gpr};
    path.push_back(now);
    // Backwards to the last change of each; the earliest of these comes first.
    std::size_t earliest = path.size();
    for (const FieldDifference& field : difference.fields) {
        if (register_named(field.name, now) == nullptr) continue;
        for (std::size_t n = path.size() - 1; n > 0; n--) {
            if (*register_named(field.name, path[n]) == *register_named(field.name, path[n - 1])) continue;
            earliest = std::min(earliest, n - 1);
            break;
        }
    }
    return earliest < path.size() ? path[earliest].rip : first;
}

std::string summary(const Difference& difference) {
    return fmt::format("the engines differ: {}, after {} instructions, at rip {:#x}", difference.what,
                       difference.instructions, difference.rip);
}

std::string report(Vcpu& leader, Vcpu& follower, const History& history, const Difference& difference) {
    constexpr unsigned stretches_shown = 16;
    constexpr unsigned instructions_shown = 48;
    // First, since disassembling sets accessed bits.
    std::string memory;
    if (difference.memory)
        add_memory(memory, leader.mmu->memory(), follower.mmu->memory(), difference.memory->address);
    std::string text =
        fmt::format("lockstep: {}\n  found within {} instructions, in the last stretch below\n",
                    summary(difference), difference.last_stretch);
    text += "\n  translated code, last stretches: from, to, instructions\n";
    history.leader.for_each_of_last(stretches_shown, [&](const Stretch& stretch) {
        text += fmt::format("  {:>16x} {:>16x} {:>6}\n", stretch.from, stretch.to, stretch.instructions);
    });
    text += "\n  stepped, last instructions\n";
    history.follower.for_each_of_last(instructions_shown, [&](const Stepped& at) {
        const char* mark = at.rip == difference.rip ? "->" : "  ";
        text += fmt::format("{}{:>16x}  {}\n", mark, at.rip, disassembly(follower, at.rip));
    });
    text += fmt::format("  {:>16x}  {}  (next)\n", follower.rip, disassembly(follower, follower.rip));
    add_registers(text, leader, follower);
    if (!difference.fields.empty()) {
        text += "\n  what differs: translated, stepped\n";
        for (const FieldDifference& field : difference.fields)
            text += fmt::format("  {:<18} {} {}\n", field.name, field.leader, field.follower);
    }
    return text + memory;
}

}  // namespace undercroft::lockstep
