// SPDX-License-Identifier: Apache-2.0
// DIV and IDIV: run natively once it is sure that the host will not raise #DE.
// Source: Intel SDM vol. 2.
#include "engine/step/native.hpp"
#include "engine/step/operand.hpp"
#include "engine/step/table.hpp"

#include <Zydis/Mnemonic.h>

namespace undercroft {
namespace {

__extension__ using Wide = unsigned __int128;

// The dividend: AX, DX:AX, EDX:EAX, RDX:RAX.
Wide dividend(const Vcpu& vcpu, unsigned size) {
    std::uint64_t rax = vcpu.reg(Gpr::Rax);
    if (size == 1) return rax & 0xffff;
    std::uint64_t mask = mask_of_size(size);
    return Wide{vcpu.reg(Gpr::Rdx) & mask} << (8 * size) | (rax & mask);
}

bool unsigned_quotient_fits(Wide numerator, std::uint64_t divisor, unsigned size) {
    return divisor != 0 && (numerator >> (8 * size)) < divisor;
}

bool signed_quotient_fits(Wide numerator, std::uint64_t divisor, unsigned size) {
    if (divisor == 0) return false;
    unsigned width = 16 * size;
    bool numerator_negative = (numerator >> (width - 1) & 1) != 0;
    bool divisor_negative = (divisor >> (8 * size - 1) & 1) != 0;
    Wide all = width == 128 ? ~Wide{0} : (Wide{1} << width) - 1;
    Wide magnitude = numerator_negative ? (~numerator + 1) & all : numerator;
    std::uint64_t divisor_magnitude = divisor_negative ? (~divisor + 1) & mask_of_size(size) : divisor;
    Wide quotient = magnitude / divisor_magnitude;
    Wide limit = Wide{1} << (8 * size - 1);
    return numerator_negative != divisor_negative ? quotient <= limit : quotient < limit;
}

// The native run takes a divisor in memory from the copy that was checked.
template <bool (*quotient_fits)(Wide, std::uint64_t, unsigned)>
Outcome divide(Context& context) {
    const Operand& operand = context.instruction.operand[0];
    std::uint64_t divisor = 0;
    if (!read_operand(context, operand, divisor)) return Outcome::Fault;
    if (!quotient_fits(dividend(context.vcpu, operand.size), divisor, operand.size))
        return context.fault(Vector::DE);
    return run_stub(context, &divisor) ? Outcome::Next : Outcome::Fault;
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_DIV, divide<unsigned_quotient_fits>, true},
    {ZYDIS_MNEMONIC_IDIV, divide<signed_quotient_fits>, true},
};

}  // namespace

TableEntries arithmetic_entries() { return entries; }

}  // namespace undercroft
