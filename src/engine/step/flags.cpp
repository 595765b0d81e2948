// SPDX-License-Identifier: Apache-2.0
// Single flags: CLC, STC, CMC, CLD, STD, CLI, STI, CLAC, STAC, LAHF, SAHF, SALC.
#include "cpu/instructions.hpp"
#include "engine/step/context.hpp"
#include "engine/step/table.hpp"

#include <Zydis/Mnemonic.h>

namespace undercroft {
namespace {

Outcome next(bool done) { return done ? Outcome::Next : Outcome::Fault; }

constexpr std::uint16_t carry = RFLAGS::CF << 8;  // in vcpu.arithmetic

Outcome clear_carry(Context& context) {
    context.vcpu.arithmetic &= static_cast<std::uint16_t>(~carry);
    return Outcome::Next;
}
Outcome set_carry(Context& context) {
    context.vcpu.arithmetic |= carry;
    return Outcome::Next;
}
Outcome complement_carry(Context& context) {
    context.vcpu.arithmetic ^= carry;
    return Outcome::Next;
}
Outcome clear_direction(Context& context) {
    context.vcpu.system_flags &= ~RFLAGS::DF;
    return Outcome::Next;
}
Outcome set_direction(Context& context) {
    context.vcpu.system_flags |= RFLAGS::DF;
    return Outcome::Next;
}
Outcome load_flags(Context& context) {
    std::uint64_t& rax = context.vcpu.reg(Gpr::Rax);
    rax = (rax & ~0xff00ull) | (context.vcpu.arithmetic & 0xff00);
    return Outcome::Next;
}
Outcome store_flags(Context& context) {
    Vcpu& vcpu = context.vcpu;
    vcpu.set_arithmetic_flags((vcpu.arithmetic_flags() & RFLAGS::OF) | (vcpu.reg(Gpr::Rax) >> 8 & 0xff));
    return Outcome::Next;
}
Outcome set_al_on_carry(Context& context) {
    bool set = (context.vcpu.arithmetic & carry) != 0;
    write_register(context.vcpu.reg(Gpr::Rax), set ? 0xff : 0, 1);
    return Outcome::Next;
}
Outcome clear_interrupts(Context& context) { return next(cli(context.vcpu, context.trap)); }
Outcome set_interrupts(Context& context) { return next(sti(context.vcpu, context.trap)); }
Outcome clear_ac(Context& context) { return next(clac(context.vcpu, context.trap)); }
Outcome set_ac(Context& context) { return next(stac(context.vcpu, context.trap)); }

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_CLC, clear_carry},      {ZYDIS_MNEMONIC_STC, set_carry},
    {ZYDIS_MNEMONIC_CMC, complement_carry}, {ZYDIS_MNEMONIC_CLD, clear_direction},
    {ZYDIS_MNEMONIC_STD, set_direction},    {ZYDIS_MNEMONIC_CLI, clear_interrupts},
    {ZYDIS_MNEMONIC_STI, set_interrupts},   {ZYDIS_MNEMONIC_CLAC, clear_ac},
    {ZYDIS_MNEMONIC_STAC, set_ac},          {ZYDIS_MNEMONIC_LAHF, load_flags},
    {ZYDIS_MNEMONIC_SAHF, store_flags},     {ZYDIS_MNEMONIC_SALC, set_al_on_carry},
};

}  // namespace

TableEntries flag_entries() { return entries; }

}  // namespace undercroft
