// SPDX-License-Identifier: Apache-2.0
// IN, OUT, INS, OUTS.
// Source: Intel SDM vol. 2; vol. 1 section 19.5 (who may use a port).
#include "cpu/environment.hpp"
#include "cpu/instructions.hpp"
#include "engine/step/debug.hpp"
#include "engine/step/operand.hpp"
#include "engine/step/string_state.hpp"
#include "engine/step/table.hpp"

#include <Zydis/Mnemonic.h>

namespace undercroft {
namespace {

// Bit 0 of the opcode: bytes, or the operand size, of which no port has more than 32 bits.
unsigned port_size(const Context& context) {
    if ((context.instruction.opcode & 1) == 0) return 1;
    return std::min<unsigned>(context.instruction.operand_size, 4);
}

std::uint16_t port_of(const Context& context, const Operand& operand) {
    bool immediate = operand.kind == OperandKind::Immediate;
    return static_cast<std::uint16_t>(immediate ? context.instruction.immediate & 0xff
                                                : context.vcpu.reg(Gpr::Rdx) & 0xffff);
}

// May the instruction use the port? Then breakpoints that it meets trap once it is done.
bool reach_port(Context& context, std::uint16_t port, unsigned size) {
    if (!may_use_port(context.vcpu, port, size, context.trap)) return false;
    if (has_breakpoints(context.vcpu)) context.breakpoints |= port_breakpoints_met(context.vcpu, port, size);
    return true;
}

Outcome in(Context& context) {
    Vcpu& vcpu = context.vcpu;
    unsigned size = port_size(context);
    std::uint16_t port = port_of(context, context.instruction.operand[1]);
    if (!reach_port(context, port, size)) return Outcome::Fault;
    write_register(vcpu.reg(Gpr::Rax), vcpu.environment->read_port(port, size), size);
    return Outcome::Next;
}

Outcome out(Context& context) {
    Vcpu& vcpu = context.vcpu;
    unsigned size = port_size(context);
    std::uint16_t port = port_of(context, context.instruction.operand[0]);
    if (!reach_port(context, port, size)) return Outcome::Fault;
    vcpu.environment->write_port(port, size, vcpu.reg(Gpr::Rax) & mask_of_size(size));
    return Outcome::Next;
}

// One element a step. The memory side is checked before the port is touched.
Outcome in_string(Context& context) {
    Vcpu& vcpu = context.vcpu;
    StringState state{context, port_size(context)};
    auto port = static_cast<std::uint16_t>(vcpu.reg(Gpr::Rdx));
    // Whoever may not use the port is refused even if the count is zero.
    if (!may_use_port(vcpu, port, state.size(), context.trap)) return Outcome::Fault;
    if (state.allowance() == 0) return Outcome::Next;
    if (!reach_port(context, port, state.size()) ||
        !check_segment(context, SegmentName::ES, state.target(), state.size(), Access::Write)) {
        return Outcome::Fault;
    }
    std::uint64_t value = vcpu.environment->read_port(port, state.size());
    if (!write_segment(context, SegmentName::ES, state.target(), state.size(), value)) return Outcome::Fault;
    state.advance_target(1);
    state.consume(1);
    return state.outcome();
}

Outcome out_string(Context& context) {
    Vcpu& vcpu = context.vcpu;
    StringState state{context, port_size(context)};
    auto port = static_cast<std::uint16_t>(vcpu.reg(Gpr::Rdx));
    if (!may_use_port(vcpu, port, state.size(), context.trap)) return Outcome::Fault;
    if (state.allowance() == 0) return Outcome::Next;
    std::uint64_t value = 0;
    if (!reach_port(context, port, state.size()) ||
        !read_segment(context, context.instruction.segment, state.source(), state.size(), value)) {
        return Outcome::Fault;
    }
    vcpu.environment->write_port(port, state.size(), value);
    state.advance_source(1);
    state.consume(1);
    return state.outcome();
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_IN, in},
    {ZYDIS_MNEMONIC_OUT, out},
    {ZYDIS_MNEMONIC_INSB, in_string},
    {ZYDIS_MNEMONIC_INSW, in_string},
    {ZYDIS_MNEMONIC_INSD, in_string},
    {ZYDIS_MNEMONIC_OUTSB, out_string},
    {ZYDIS_MNEMONIC_OUTSW, out_string},
    {ZYDIS_MNEMONIC_OUTSD, out_string},
};

}  // namespace

TableEntries port_entries() { return entries; }

}  // namespace undercroft
