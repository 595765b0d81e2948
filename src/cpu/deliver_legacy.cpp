// SPDX-License-Identifier: Apache-2.0
// Vectoring in real mode and in 32-bit protected mode: what processors need on their way to long mode.
//
// Source: Intel SDM vol. 3A sections 20.1.4 and 6.12; vol. 2A INT n. Left out: task gates, 16-bit gates,
// handlers of another privilege level in protected mode, virtual-8086 mode; a trap that needs one of them is
// a double fault at best.
#include "cpu/descriptor_table.hpp"
#include "cpu/gate_delivery.hpp"
#include "cpu/stack.hpp"

namespace undercroft {

bool deliver_in_real_mode(Vcpu& vcpu, const Trap& trap, Trap& fault) noexcept {
    unsigned offset = static_cast<unsigned>(trap.vector) * 4;
    std::uint32_t entry = 0;  // segment : offset
    if (offset + 3 > vcpu.idtr.limit) return raise(fault, Vector::GP, 0);
    if (!read_system(vcpu, vcpu.idtr.base + offset, entry, fault)) return false;
    StackView stack = current_stack(vcpu);
    StackItems frame = {return_address(vcpu, trap), vcpu.seg(SegmentName::CS).selector, vcpu.rflags()};
    if (!write_stack(vcpu, stack, vcpu.reg(Gpr::Rsp), 2, frame, 0, 3, fault)) return false;
    move_stack_pointer(vcpu, stack, ~0ull - 5);
    vcpu.interrupt_flag = 0;
    vcpu.system_flags &= ~(RFLAGS::TF | RFLAGS::AC | RFLAGS::RF);
    Segment& code = vcpu.seg(SegmentName::CS);
    code.selector = static_cast<std::uint16_t>(entry >> 16);
    code.base = std::uint64_t{code.selector} << 4;
    vcpu.rip = entry & 0xffff;
    return true;
}

bool deliver_in_protected_mode(Vcpu& vcpu, const Trap& trap, Trap& fault) noexcept {
    unsigned offset = static_cast<unsigned>(trap.vector) * 8;
    std::uint32_t ext = external_bit(trap);
    std::uint64_t gate = 0;
    if (offset + 7 > vcpu.idtr.limit) return raise(fault, Vector::GP, gate_error(trap));
    if (!read_system(vcpu, (vcpu.idtr.base + offset) & 0xffffffff, gate, fault)) return false;
    std::uint64_t type = Bits<44, 40>::get(gate);
    if (type != 14 && type != 15) return raise(fault, Vector::GP, gate_error(trap));
    if (trap.kind == TrapKind::SoftwareInterrupt && Gate::DPL::get(gate) < vcpu.cpl) {
        return raise(fault, Vector::GP, gate_error(trap));
    }
    if (Gate::P::get(gate) == 0) return raise(fault, Vector::NP, gate_error(trap));

    auto selector = static_cast<std::uint16_t>(Gate::Selector::get(gate));
    std::uint64_t raw = 0;
    if (is_null(selector)) return raise(fault, Vector::GP, ext);
    if (!read_descriptor(vcpu, selector, ext, raw, fault)) return false;
    Segment code = loaded_segment(raw, selector);
    bool same_level =
        code.is_code() && (is_conforming(code) ? code.dpl() <= vcpu.cpl : code.dpl() == vcpu.cpl);
    if (!same_level) return raise(fault, Vector::GP, selector_error(selector) | ext);
    if (!code.present()) return raise(fault, Vector::NP, selector_error(selector) | ext);
    code.selector = static_cast<std::uint16_t>((selector & 0xfffc) | vcpu.cpl);
    std::uint64_t rip = Gate::OffsetLow::get(gate) | Gate::OffsetMiddle::get(gate) << 16;
    if (rip > code.limit) return raise(fault, Vector::GP, ext);

    StackView stack = current_stack(vcpu);
    stack.ext = ext;
    StackItems frame = {trap.error_code, return_address(vcpu, trap), vcpu.seg(SegmentName::CS).selector,
                        pushed_flags(vcpu, trap)};
    unsigned first = trap.has_error_code ? 0 : 1;
    if (!mark_accessed(vcpu, selector, raw, fault)) return false;
    if (!write_stack(vcpu, stack, vcpu.reg(Gpr::Rsp), 4, frame, first, 4 - first, fault)) return false;
    move_stack_pointer(vcpu, stack, ~std::uint64_t{(4 - first) * 4} + 1);
    vcpu.seg(SegmentName::CS) = code;
    vcpu.rip = rip;
    if (type == 14) vcpu.interrupt_flag = 0;
    vcpu.system_flags &= ~(RFLAGS::TF | RFLAGS::NT | RFLAGS::RF | RFLAGS::VM);
    return true;
}

}  // namespace undercroft
