// SPDX-License-Identifier: Apache-2.0
// Any bytes as guest code: decoded, analysed and lowered, and the emitted code proven to confine them.
//
// Input: a byte of privilege and page offset, a byte of control bits, then the code.
#include "confinement.hpp"
#include "engine/step/testing.hpp"
#include "input.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

using namespace undercroft;
using namespace undercroft::test;

namespace {

struct Guest {
    Guest() : translator{std::move(*translate::Translator::create(machine.vcpu, {.chaining = false}))} {}
    StepMachine machine;
    std::unique_ptr<translate::Translator> translator;
};

void prepare(StepMachine& machine, std::uint8_t mode, std::uint8_t control) {
    mode % 2 == 0 ? machine.be_kernel() : machine.be_user();
    PagingState& state = machine.vcpu.paging;
    auto set = [&](std::uint64_t& reg, std::uint64_t bit, bool on) { reg = on ? reg | bit : reg & ~bit; };
    set(state.cr0, CR0::TS, (control & 1) != 0);
    set(state.cr4, CR4::FSGSBASE, (control & 2) == 0);
    set(state.cr4, CR4::SMAP, (control & 4) != 0);
    set(state.cr4, CR4::TSD, (control & 8) != 0);
    set(state.cr4, CR4::OSXSAVE, (control & 16) == 0);
    machine.vcpu.set_rflags(RFLAGS::Fixed | ((control & 32) != 0 ? RFLAGS::AC : 0));
    // SMEP is off, so supervisor code may lie in user pages.
}

void prove(const Guest& guest, const translate::Block& block, std::vector<std::uint64_t>* targets = nullptr) {
    std::string problem = fuzz::unproven(*guest.translator, block, targets);
    if (problem.empty()) return;
    std::fprintf(stderr, "not proven: %s\n", problem.c_str());
    for (auto [begin, end] :
         {std::pair{block.code_begin, block.code_end}, {block.cold_begin, block.cold_end}}) {
        for (const std::byte* at = begin; at < end; ++at)
            std::fprintf(stderr, "%02x", static_cast<unsigned>(*at));
        std::fprintf(stderr, "\n");
    }
    std::abort();
}

const translate::Block* translate_and_prove(Guest& guest, translate::Variant variant,
                                            std::vector<std::uint64_t>* targets = nullptr) {
    bool step_instead = false;
    translate::Block* block = guest.translator->translate(guest.machine.vcpu, step_instead, variant);
    CHECK((block == nullptr) == step_instead, "neither translated nor left to the single-step executor");
    if (block != nullptr) prove(guest, *block, targets);
    return block;
}

// The blocks that the code's direct exits lead to, as if all had been executed; then the trace, which goes on
// where there are blocks.
void prove_with_trace(Guest& guest) {
    constexpr std::size_t limit = 12;
    std::uint64_t start = guest.machine.vcpu.rip;
    std::vector<std::uint64_t> pending{start};
    std::vector<std::uint64_t> done;
    while (!pending.empty() && done.size() < limit) {
        std::uint64_t rip = pending.back();
        pending.pop_back();
        bool here = (rip ^ start) >> 12 == 0;
        if (!here || std::find(done.begin(), done.end(), rip) != done.end()) continue;
        done.push_back(rip);
        guest.machine.vcpu.rip = rip;
        std::vector<std::uint64_t> targets;
        translate_and_prove(guest, translate::Variant::Merged, &targets);
        pending.insert(pending.end(), targets.begin(), targets.end());
    }
    guest.machine.vcpu.rip = start;
    if (const translate::Block* trace = guest.translator->translate_trace(guest.machine.vcpu))
        prove(guest, *trace);
    translate_and_prove(guest, translate::Variant::UnmergedTrace);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Guest guest;
    fuzz::Input input{data, size};
    auto mode = input.take<std::uint8_t>();
    auto control = input.take<std::uint8_t>();
    auto code = input.take_bytes(256);
    StepMachine& machine = guest.machine;
    prepare(machine, mode, control);
    // At the page's start, in its middle, or running into its end.
    std::uint64_t offset = mode / 2 % 4 == 0 ? 4096 - code.size() % 4096 : mode / 2 % 4 * 0x433u;
    if (code.empty() || offset + code.size() > 4096) return 0;
    machine.code_pages.wrote(GuestPhysical{StepMachine::code}, 4096);
    std::byte* page = machine.memory->writable(GuestPhysical{StepMachine::code});
    std::fill_n(page, 4096, std::byte{0x90});
    std::copy(code.begin(), code.end(), page + offset);
    machine.vcpu.rip = StepMachine::code + offset;
    guest.translator->check_assumptions(machine.vcpu);
    translate_and_prove(guest, translate::Variant::Unmerged);
    prove_with_trace(guest);
    return 0;
}
