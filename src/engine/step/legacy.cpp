// SPDX-License-Identifier: Apache-2.0
// Instructions that do not exist in 64-bit mode: decimal adjustments, BOUND, ARPL.
// Source: Intel SDM vol. 2. Flags that the manual leaves undefined are cleared.
#include "engine/step/operand.hpp"
#include "engine/step/table.hpp"

#include <Zydis/Mnemonic.h>

#include <bit>

namespace undercroft {
namespace {

std::uint64_t flags_of_byte(unsigned value) {
    std::uint64_t flags = 0;
    if ((value & 0xff) == 0) flags |= RFLAGS::ZF;
    if ((value & 0x80) != 0) flags |= RFLAGS::SF;
    if ((std::popcount(value & 0xff) & 1) == 0) flags |= RFLAGS::PF;
    return flags;
}

struct Accumulator {
    explicit Accumulator(Vcpu& of)
        : vcpu{of},
          al{static_cast<unsigned>(of.reg(Gpr::Rax)) & 0xff},
          ah{static_cast<unsigned>(of.reg(Gpr::Rax)) >> 8 & 0xff},
          carry{(of.arithmetic_flags() & RFLAGS::CF) != 0},
          adjust{(of.arithmetic_flags() & RFLAGS::AF) != 0} {}

    void write(unsigned new_ah, unsigned new_al, std::uint64_t flags) {
        write_register(vcpu.reg(Gpr::Rax), (new_ah & 0xff) << 8 | (new_al & 0xff), 2);
        vcpu.set_arithmetic_flags(flags);
    }

    Vcpu& vcpu;
    unsigned al;
    unsigned ah;
    bool carry;
    bool adjust;
};

std::uint64_t carries(bool carry, bool adjust) {
    return (carry ? RFLAGS::CF : 0) | (adjust ? RFLAGS::AF : 0);
}

// AAA: sign 1, AAS: sign -1.
template <int sign>
Outcome ascii_adjust(Context& context) {
    Accumulator a{context.vcpu};
    bool adjust = (a.al & 15) > 9 || a.adjust;
    unsigned ax = a.ah << 8 | a.al;
    if (adjust) ax = sign > 0 ? ax + 0x106 : ax - 0x106;
    a.write(ax >> 8, ax & 15, carries(adjust, adjust) | flags_of_byte(ax & 15));
    return Outcome::Next;
}

// DAA, DAS.
template <int sign>
Outcome decimal_adjust(Context& context) {
    Accumulator a{context.vcpu};
    bool low = (a.al & 15) > 9 || a.adjust;
    bool high = a.al > 0x99 || a.carry;
    unsigned correction = (low ? 6u : 0u) + (high ? 0x60u : 0u);
    bool carry = high || (sign < 0 && low && a.al < 6);
    unsigned al = sign > 0 ? a.al + correction : a.al - correction;
    a.write(a.ah, al, carries(carry, low) | flags_of_byte(al));
    return Outcome::Next;
}

Outcome ascii_adjust_after_multiply(Context& context) {
    Accumulator a{context.vcpu};
    unsigned base = context.instruction.immediate & 0xff;
    if (base == 0) return context.fault(Vector::DE);
    a.write(a.al / base, a.al % base, flags_of_byte(a.al % base));
    return Outcome::Next;
}

Outcome ascii_adjust_before_division(Context& context) {
    Accumulator a{context.vcpu};
    unsigned base = context.instruction.immediate & 0xff;
    unsigned al = a.al + a.ah * base;
    a.write(0, al, flags_of_byte(al));
    return Outcome::Next;
}

Outcome bound(Context& context) {
    unsigned size = context.instruction.operand_size;
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    if (!read_memory(context, size, low) || !read_memory(context, size, high, size)) return Outcome::Fault;
    auto as_signed = [&](std::uint64_t value) { return static_cast<std::int64_t>(sign_extend(value, size)); };
    std::int64_t index = as_signed(read_general(context.vcpu, context.instruction.operand[0]));
    bool inside = index >= as_signed(low) && index <= as_signed(high);
    return inside ? Outcome::Next : context.fault(Vector::BR);
}

Outcome adjust_requested_privilege(Context& context) {
    Vcpu& vcpu = context.vcpu;
    const auto& operand = context.instruction.operand;
    if ((vcpu.paging.cr0 & CR0::PE) == 0 || (vcpu.system_flags & RFLAGS::VM) != 0)
        return context.fault(Vector::UD);
    std::uint64_t target = 0;
    std::uint64_t source = 0;
    if (!read_operand(context, operand[0], target) || !read_operand(context, operand[1], source))
        return Outcome::Fault;
    bool lower = (target & 3) < (source & 3);
    if (lower && !write_operand(context, operand[0], (target & ~3ull) | (source & 3))) return Outcome::Fault;
    std::uint64_t flags = vcpu.arithmetic_flags() & ~RFLAGS::ZF;
    vcpu.set_arithmetic_flags(flags | (lower ? RFLAGS::ZF : 0));
    return Outcome::Next;
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_AAA, ascii_adjust<1>},
    {ZYDIS_MNEMONIC_AAS, ascii_adjust<-1>},
    {ZYDIS_MNEMONIC_DAA, decimal_adjust<1>},
    {ZYDIS_MNEMONIC_DAS, decimal_adjust<-1>},
    {ZYDIS_MNEMONIC_AAM, ascii_adjust_after_multiply},
    {ZYDIS_MNEMONIC_AAD, ascii_adjust_before_division},
    {ZYDIS_MNEMONIC_BOUND, bound},
    {ZYDIS_MNEMONIC_ARPL, adjust_requested_privilege},
};

}  // namespace

TableEntries legacy_entries() { return entries; }

}  // namespace undercroft
