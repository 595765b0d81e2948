// SPDX-License-Identifier: Apache-2.0
// Which instruction sets the guest's processor has: what CPUID shows executes, everything else is #UD.

#pragma once

#include <Zydis/MetaInfo.h>

#include <bitset>

namespace undercroft {

struct Vcpu;

using IsaSets = std::bitset<ZYDIS_ISA_SET_MAX_VALUE + 1>;

// The sets that vcpu.cpuid shows and we know. Without a CPUID table: all that we know.
IsaSets shown_isa_sets(const Vcpu& vcpu);

}  // namespace undercroft
