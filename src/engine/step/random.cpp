// SPDX-License-Identifier: Apache-2.0
// RDRAND and RDSEED: the environment's numbers, so that a run can be repeated.
// Source: Intel SDM vol. 2B.
#include "cpu/environment.hpp"
#include "engine/step/operand.hpp"
#include "engine/step/table.hpp"

#include <Zydis/Mnemonic.h>

namespace undercroft {
namespace {

template <RandomSource source>
Outcome draw(Context& context) {
    const Operand& target = context.instruction.operand[0];
    auto number = context.vcpu.environment->random(source, target.size);
    write_register(context.vcpu.gpr[target.number], number.value_or(0), target.size);
    context.vcpu.set_arithmetic_flags(number ? RFLAGS::CF : 0);
    return Outcome::Next;
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_RDRAND, draw<RandomSource::Rdrand>},
    {ZYDIS_MNEMONIC_RDSEED, draw<RandomSource::Rdseed>},
};

}  // namespace

TableEntries random_entries() { return entries; }

}  // namespace undercroft
