// SPDX-License-Identifier: Apache-2.0
// How guest instructions get executed: the one interface that the rest of the house sees.
//
// Two implementations: translated code (translate/) and the single-step executor (step/); and both side by
// side (lockstep/). All leave the vCPU at rest, with exact architectural state, whenever run() returns.

#pragma once

#include "cpu/vcpu.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace undercroft {

enum class Exit : std::uint8_t {
    Halt,      // vCPU halted and nothing pending: call again when its attention word is set
    Stop,      // Attention::Stop was set
    Preempt,   // Attention::Preempt was set: another vCPU may want the processor
    Shutdown,  // triple fault
    Differ,    // lockstep: the engines do not agree; see failure()
    Lost,      // the host has taken the vCPU's state away: the machine cannot go on; see failure()
    // The vCPU waits, and others may want its processor; call again to go on.
    // In a loop that changes nothing: until its next interrupt, or until somebody else, a vCPU or a device,
    // writes memory that it reads.
    Spin,
    Pause,  // with PAUSE again and again: perhaps for another vCPU, perhaps for time to pass
};

class Engine {
public:
    virtual ~Engine() = default;
    virtual Exit run(Vcpu& vcpu) = 0;

    // After Exit::Differ and Exit::Lost: what is to be told of it.
    virtual std::string failure() const { return {}; }

    // Counters for --stats, in the order to print them.
    virtual std::vector<std::pair<std::string, std::uint64_t>> statistics() const = 0;
    // Host TSC ticks spent in run(), by part; the parts do not overlap, and what they leave is the rest.
    virtual std::vector<std::pair<std::string, std::uint64_t>> ticks() const { return {}; }
};

}  // namespace undercroft
