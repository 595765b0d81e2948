// SPDX-License-Identifier: Apache-2.0
// Vectoring through the IDT in long mode (64-bit and compatibility code alike).
//
// Source: Intel SDM vol. 3A section 6.14, vol. 2A INT n (IA-32e branches of the pseudo-code).
#include "cpu/descriptor_table.hpp"
#include "cpu/flat_segments.hpp"
#include "cpu/gate_delivery.hpp"
#include "cpu/stack.hpp"

namespace undercroft {
namespace {

struct Handler {
    std::uint64_t rip = 0;
    std::uint64_t stack_top = 0;
    Segment code;
    std::uint64_t code_descriptor = 0;
    std::uint8_t cpl = 0;
    bool masks_interrupts = true;
};

[[nodiscard]] bool read_gate(Vcpu& vcpu, const Trap& trap, Gate& gate, Trap& fault) noexcept {
    unsigned offset = static_cast<unsigned>(trap.vector) * 16;
    if (offset + 15 > vcpu.idtr.limit) return raise(fault, Vector::GP, gate_error(trap));
    if (!read_system(vcpu, vcpu.idtr.base + offset, gate, fault)) return false;
    using TypeAndZero = Bits<44, 40>;
    std::uint64_t type = TypeAndZero::get(gate.low);
    if (type != static_cast<unsigned>(SystemType::InterruptGate) &&
        type != static_cast<unsigned>(SystemType::TrapGate)) {
        return raise(fault, Vector::GP, gate_error(trap));
    }
    if (trap.kind == TrapKind::SoftwareInterrupt && Gate::DPL::get(gate.low) < vcpu.cpl) {
        return raise(fault, Vector::GP, gate_error(trap));
    }
    if (Gate::P::get(gate.low) == 0) return raise(fault, Vector::NP, gate_error(trap));
    return true;
}

[[nodiscard]] bool read_code_segment(Vcpu& vcpu, const Gate& gate, std::uint32_t ext, Handler& handler,
                                     Trap& fault) noexcept {
    auto selector = static_cast<std::uint16_t>(Gate::Selector::get(gate.low));
    if (is_null(selector)) return raise(fault, Vector::GP, ext);
    if (!read_descriptor(vcpu, selector, ext, handler.code_descriptor, fault)) return false;
    Segment& code = handler.code;
    code = loaded_segment(handler.code_descriptor, selector);
    std::uint32_t error = selector_error(selector) | ext;
    if (!code.is_code() || code.dpl() > vcpu.cpl) return raise(fault, Vector::GP, error);
    if (!code.is_64bit_code() || has_reserved_size(vcpu, code)) return raise(fault, Vector::GP, error);
    if (!code.present()) return raise(fault, Vector::NP, error);
    handler.cpl = is_conforming(code) ? vcpu.cpl : static_cast<std::uint8_t>(code.dpl());
    code.selector = static_cast<std::uint16_t>((selector & 0xfffc) | handler.cpl);
    return true;
}

// The top of the handler's stack: an IST entry, the TSS's for a more privileged level, or RSP as it is.
[[nodiscard]] bool find_stack(Vcpu& vcpu, const Gate& gate, std::uint32_t ext, Handler& handler,
                              Trap& fault) noexcept {
    auto ist = static_cast<unsigned>(Gate::Ist::get(gate.low));
    if (ist == 0 && handler.cpl == vcpu.cpl) {
        handler.stack_top = vcpu.reg(Gpr::Rsp);
    } else {
        unsigned offset = ist == 0 ? handler.cpl * 8u + 4 : ist * 8 + 28;
        if (offset + 7 > vcpu.tr.limit)
            return raise(fault, Vector::TS, selector_error(vcpu.tr.selector) | ext);
        if (!read_system(vcpu, vcpu.tr.base + offset, handler.stack_top, fault)) return false;
    }
    handler.stack_top &= ~15ull;
    return true;
}

[[nodiscard]] bool push_frame(Vcpu& vcpu, const Trap& trap, std::uint32_t ext, const Handler& handler,
                              Trap& fault) noexcept {
    StackItems frame = {
        trap.error_code,          return_address(vcpu, trap), vcpu.seg(SegmentName::CS).selector,
        pushed_flags(vcpu, trap), vcpu.reg(Gpr::Rsp),         vcpu.seg(SegmentName::SS).selector};
    AccessMode mode = handler.cpl == 3 ? AccessMode::User : vcpu.system_access_mode();
    bool done = trap.has_error_code ? try_write_quadwords<0, 6>(vcpu, mode, handler.stack_top, frame)
                                    : try_write_quadwords<1, 5>(vcpu, mode, handler.stack_top, frame);
    if (done) [[likely]]
        return true;
    StackView stack{.is_64bit = true, .mode = mode, .ext = ext};
    unsigned first = trap.has_error_code ? 0 : 1;
    return write_stack(vcpu, stack, handler.stack_top, 8, frame, first, 6 - first, fault);
}

void enter(Vcpu& vcpu, const Trap& trap, const Handler& handler) noexcept {
    if (handler.cpl != vcpu.cpl) vcpu.seg(SegmentName::SS) = null_segment(handler.cpl);
    vcpu.seg(SegmentName::CS) = handler.code;
    vcpu.cpl = handler.cpl;
    vcpu.reg(Gpr::Rsp) = handler.stack_top - (trap.has_error_code ? 48 : 40);
    vcpu.rip = handler.rip;
    if (handler.masks_interrupts) vcpu.interrupt_flag = 0;
    vcpu.system_flags &= ~(RFLAGS::TF | RFLAGS::NT | RFLAGS::RF | RFLAGS::VM);
}

// A translation that a guest-filled TLB does not have: the guest's kernel is to find it. (Figure B.6, step 2)
bool is_tlb_miss(const Vcpu& vcpu, const Trap& trap) noexcept {
    return vcpu.paging.software_tlb && trap.vector == Vector::PF && trap.kind == TrapKind::Fault &&
           (trap.error_code & PageFault::P) == 0;
}

// Needs no IDT and no TSS: the handler is the registered one, its code segment the one that SYSCALL loads. A
// miss while the handler runs becomes a double fault, as the second page fault in delivering one does.
bool reflect_tlb_miss(Vcpu& vcpu, const Trap& trap, Trap& fault) noexcept {
    if (vcpu.miss_handler.running != 0) {
        fault = trap;
        return false;
    }
    Handler handler;
    handler.rip = vcpu.miss_handler.rip;
    handler.stack_top = vcpu.miss_handler.stack_top;
    handler.code = flat_code(vcpu.star >> 32 & 0xfffc, 0, CodeSize::Bits64);
    if (!push_frame(vcpu, trap, 0, handler, fault)) return false;
    enter(vcpu, trap, handler);
    vcpu.miss_handler.running = 1;
    ++vcpu.traps.tlb_miss;
    return true;
}

}  // namespace

bool deliver_in_long_mode(Vcpu& vcpu, const Trap& trap, Trap& fault) noexcept {
    if (is_tlb_miss(vcpu, trap)) [[unlikely]]
        return reflect_tlb_miss(vcpu, trap, fault);
    std::uint32_t ext = external_bit(trap);
    Gate gate{};
    Handler handler;
    if (!read_gate(vcpu, trap, gate, fault)) return false;
    if (!read_code_segment(vcpu, gate, ext, handler, fault)) return false;
    if (!find_stack(vcpu, gate, ext, handler, fault)) return false;
    handler.rip = gate.offset();
    handler.masks_interrupts = Gate::Type::get(gate.low) == static_cast<unsigned>(SystemType::InterruptGate);
    if (!is_canonical(handler.rip)) return raise(fault, Vector::GP, ext);
    if (!mark_accessed(vcpu, handler.code.selector, handler.code_descriptor, fault)) return false;
    if (!push_frame(vcpu, trap, ext, handler, fault)) return false;
    enter(vcpu, trap, handler);
    return true;
}

}  // namespace undercroft
