// SPDX-License-Identifier: Apache-2.0
// IRET, IRETD, IRETQ.
//
// Source: Intel SDM vol. 2A IRET; vol. 3A section 6.7.1 (an IRET unblocks NMIs even when it faults). Left
// out: returns to virtual-8086 mode (VM is ignored) and to another task outside long mode (NT there is
// #GP(0), too).
#include "cpu/instructions.hpp"
#include "cpu/return_segments.hpp"
#include "trace/ring.hpp"

namespace undercroft {
namespace {

// The flags that a return at this CPL and IOPL may change.
std::uint64_t changeable_flags(const Vcpu& vcpu, OperandSize size) noexcept {
    std::uint64_t mask = RFLAGS::Arithmetic | RFLAGS::TF | RFLAGS::DF | RFLAGS::NT;
    if (size != OperandSize::Word) mask |= RFLAGS::RF | RFLAGS::AC | RFLAGS::ID;
    if (vcpu.cpl <= vcpu.iopl()) mask |= RFLAGS::IF;
    if (vcpu.cpl == 0) {
        mask |= RFLAGS::IOPL;
        if (size != OperandSize::Word) mask |= RFLAGS::VIF | RFLAGS::VIP;
    }
    return mask;
}

void restore_flags(Vcpu& vcpu, std::uint64_t popped, OperandSize size) noexcept {
    std::uint64_t mask = changeable_flags(vcpu, size);
    vcpu.set_rflags((vcpu.rflags() & ~mask) | (popped & mask));
}

bool return_in_real_mode(Vcpu& vcpu, OperandSize size, Trap& trap) noexcept {
    StackView stack = current_stack(vcpu);
    StackItems items{};
    auto bytes = static_cast<unsigned>(size);
    if (!read_stack(vcpu, stack, vcpu.reg(Gpr::Rsp), bytes, 3, items, trap)) return false;
    if (items[0] > 0xffff) return raise(trap, Vector::GP, 0);
    move_stack_pointer(vcpu, stack, bytes * 3);
    restore_flags(vcpu, items[2], size);
    Segment& code = vcpu.seg(SegmentName::CS);
    code.selector = static_cast<std::uint16_t>(items[1]);
    code.base = std::uint64_t{code.selector} << 4;
    vcpu.rip = items[0];
    return true;
}

}  // namespace

bool iret(Vcpu& vcpu, OperandSize size, Trap& trap) noexcept {
    vcpu.mmu->serialise();
    vcpu.nmi_blocked = 0;
    vcpu.miss_handler.running = 0;
    notice_pending_events(vcpu);
    if (!protected_mode(vcpu)) return return_in_real_mode(vcpu, size, trap);
    if ((vcpu.system_flags & RFLAGS::NT) != 0) return raise(trap, Vector::GP, 0);

    StackView view = current_stack(vcpu);
    StackItems items{};  // RIP, CS, RFLAGS, RSP, SS
    auto bytes = static_cast<unsigned>(size);
    unsigned count = view.is_64bit ? 5 : 3;
    std::uint64_t rsp = vcpu.reg(Gpr::Rsp);
    bool done = view.is_64bit && bytes == 8 && try_read_quadwords<5>(vcpu, view.mode, rsp, items);
    if (!done && !read_stack(vcpu, view, rsp, bytes, count, items, trap)) return false;
    auto code_selector = static_cast<std::uint16_t>(items[1]);
    bool outward = (code_selector & 3) > vcpu.cpl;
    ReturnTarget target;
    if (!load_return_code(vcpu, code_selector, target, trap)) return false;
    if (outward && count == 3) {
        count = 5;
        if (!read_stack(vcpu, view, rsp, bytes, count, items, trap)) return false;
    }
    if (count == 5 && !load_return_stack(vcpu, static_cast<std::uint16_t>(items[4]), target, trap))
        return false;
    target.rip = items[0];
    if (!check_target(vcpu, target.code, target.rip, trap)) return false;
    if (!mark_return_segments(vcpu, target, count == 5, trap)) return false;

    if (vcpu.trace != nullptr) [[unlikely]]
        vcpu.trace->record(TraceKind::InterruptReturn, {.target = target.rip, .detail = target.cpl()});
    restore_flags(vcpu, items[2], size);
    vcpu.rip = target.rip;
    vcpu.seg(SegmentName::CS) = target.code;
    if (count == 5) {
        vcpu.reg(Gpr::Rsp) = items[3];
        vcpu.seg(SegmentName::SS) = target.stack;
    } else {
        move_stack_pointer(vcpu, view, bytes * 3);
    }
    vcpu.cpl = target.cpl();
    if (outward) drop_inner_segments(vcpu);
    notice_pending_events(vcpu);
    return true;
}

}  // namespace undercroft
