// SPDX-License-Identifier: Apache-2.0
// Two processors at rest: is what a guest can see of them the same?
//
// Left out, as documented deviations of translated code: RF (docs/architecture.md); arithmetic flags that are
// dead, see EngineFrame::live_flags; the x87 instruction and operand pointers, which the host fills in with
// its own addresses.

#pragma once

#include "cpu/vcpu.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace undercroft::lockstep {

// A field by its name, for reports.
struct FieldDifference {
    std::string name;
    std::string leader;
    std::string follower;
};

// The quick answer. True also stands for differences in padding only.
bool same_state(const Vcpu& leader, const Vcpu& follower, std::uint32_t live_flags);
// The x87, SSE and AVX registers. What is the same but written down differently (which components are in use)
// becomes the leader's form in both, since XSAVE shows it to the guest.
bool same_vectors(const Vcpu& leader, Vcpu& follower);

std::vector<FieldDifference> differences(const Vcpu& leader, const Vcpu& follower, std::uint32_t live_flags);

// Everything that a guest can see, from one to the other.
void copy_state(const Vcpu& from, Vcpu& to);

// Makes exact in the leader what translated code need not keep: dead flags, RF. Before an interrupt shows
// them.
void settle_flags(Vcpu& leader, const Vcpu& follower, std::uint32_t live_flags);

}  // namespace undercroft::lockstep
