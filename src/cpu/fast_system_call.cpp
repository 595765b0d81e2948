// SPDX-License-Identifier: Apache-2.0
// SYSCALL, SYSRET, SYSENTER, SYSEXIT.
//
// Source: Intel SDM vol. 2B; AMD APM vol. 3. Where they differ the host's vendor decides, because the guest
// reads it:
//   SYSCALL from compatibility mode: AMD goes to CSTAR, Intel #UD.
//   SYSRET to a non-canonical RCX: Intel #GP(0) still at CPL 0; AMD returns and the fetch faults at CPL 3.
//   SYSENTER, SYSEXIT in long mode: #UD on AMD.
// Left out: AMD's SYSCALL and SYSRET outside long mode (#UD, as on Intel), and its SYSRET from compatibility
// mode. SYSRET loads all of SS on both; AMD leaves base, limit and attributes as they were.
#include "cpu/checks.hpp"
#include "cpu/cpuid.hpp"
#include "cpu/flat_segments.hpp"
#include "cpu/instructions.hpp"
#include "trace/ring.hpp"

namespace undercroft {
namespace {

void load_segments(Vcpu& vcpu, std::uint64_t code_selector, std::uint64_t stack_selector, unsigned cpl,
                   CodeSize size) noexcept {
    vcpu.seg(SegmentName::CS) = flat_code(code_selector, cpl, size);
    vcpu.seg(SegmentName::SS) = flat_stack(stack_selector, cpl);
    vcpu.cpl = static_cast<std::uint8_t>(cpl);
}

}  // namespace

bool syscall(Vcpu& vcpu, std::uint64_t next_rip, Trap& trap) noexcept {
    if (!vcpu.long_mode() || (vcpu.paging.efer & EFER::SCE) == 0) return raise(trap, Vector::UD);
    bool from_64bit = vcpu.code_64bit();
    if (!from_64bit && !vcpu.cpuid->is_amd()) return raise(trap, Vector::UD);
    ++vcpu.traps.system_call;
    if (vcpu.trace != nullptr) [[unlikely]]
        vcpu.trace->record(TraceKind::SystemCall, {.address = next_rip,
                                                   .value = vcpu.reg(Gpr::Rax),
                                                   .target = from_64bit ? vcpu.lstar : vcpu.cstar});
    std::uint64_t flags = vcpu.rflags() & ~RFLAGS::RF;
    vcpu.reg(Gpr::Rcx) = next_rip;
    vcpu.reg(Gpr::R11) = flags;
    vcpu.rip = from_64bit ? vcpu.lstar : vcpu.cstar;
    vcpu.set_rflags(flags & ~vcpu.fmask);
    std::uint64_t selector = vcpu.star >> 32 & 0xfffc;
    load_segments(vcpu, selector, selector + 8, 0, CodeSize::Bits64);
    return true;
}

bool sysret(Vcpu& vcpu, OperandSize size, Trap& trap) noexcept {
    if (!vcpu.code_64bit() || (vcpu.paging.efer & EFER::SCE) == 0) return raise(trap, Vector::UD);
    if (!require_cpl0(vcpu, trap)) return false;
    bool to_64bit = size == OperandSize::Qword;
    std::uint64_t rcx = vcpu.reg(Gpr::Rcx);
    if (to_64bit && !is_canonical(rcx) && !vcpu.cpuid->is_amd()) return raise(trap, Vector::GP, 0);
    if (vcpu.trace != nullptr) [[unlikely]]
        vcpu.trace->record(TraceKind::SystemReturn, {.target = to_64bit ? rcx : rcx & 0xffffffff});
    vcpu.rip = to_64bit ? rcx : rcx & 0xffffffff;
    constexpr std::uint64_t restored = 0x3c7fd7;  // all but RF, VM and the reserved
    vcpu.set_rflags(vcpu.reg(Gpr::R11) & restored);
    std::uint64_t selector = vcpu.star >> 48;
    load_segments(vcpu, (selector + (to_64bit ? 16 : 0)) | 3, (selector + 8) | 3, 3,
                  to_64bit ? CodeSize::Bits64 : CodeSize::Bits32);
    notice_pending_events(vcpu);
    return true;
}

bool sysenter(Vcpu& vcpu, Trap& trap) noexcept {
    if (vcpu.long_mode() && vcpu.cpuid->is_amd()) return raise(trap, Vector::UD);
    if (!protected_mode(vcpu) || (vcpu.sysenter_cs & 0xfffc) == 0) return raise(trap, Vector::GP, 0);
    bool to_64bit = vcpu.long_mode();
    std::uint64_t mask = to_64bit ? ~0ull : 0xffffffff;
    vcpu.interrupt_flag = 0;
    vcpu.system_flags &= ~RFLAGS::VM;
    vcpu.reg(Gpr::Rsp) = vcpu.sysenter_esp & mask;
    vcpu.rip = vcpu.sysenter_eip & mask;
    std::uint64_t selector = vcpu.sysenter_cs & 0xfffc;
    load_segments(vcpu, selector, selector + 8, 0, to_64bit ? CodeSize::Bits64 : CodeSize::Bits32);
    return true;
}

bool sysexit(Vcpu& vcpu, OperandSize size, Trap& trap) noexcept {
    if (vcpu.long_mode() && vcpu.cpuid->is_amd()) {
        if (!require_cpl0(vcpu, trap)) return false;
        return raise(trap, Vector::UD);
    }
    if (!protected_mode(vcpu) || (vcpu.sysenter_cs & 0xfffc) == 0) return raise(trap, Vector::GP, 0);
    if (!require_cpl0(vcpu, trap)) return false;
    bool to_64bit = size == OperandSize::Qword;
    std::uint64_t rsp = vcpu.reg(Gpr::Rcx);
    std::uint64_t rip = vcpu.reg(Gpr::Rdx);
    if (to_64bit && (!is_canonical(rsp) || !is_canonical(rip))) return raise(trap, Vector::GP, 0);
    std::uint64_t mask = to_64bit ? ~0ull : 0xffffffff;
    vcpu.reg(Gpr::Rsp) = rsp & mask;
    vcpu.rip = rip & mask;
    std::uint64_t selector = vcpu.sysenter_cs + (to_64bit ? 32 : 16);
    load_segments(vcpu, selector | 3, (selector + 8) | 3, 3, to_64bit ? CodeSize::Bits64 : CodeSize::Bits32);
    return true;
}

}  // namespace undercroft
