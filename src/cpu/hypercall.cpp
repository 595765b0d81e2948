// SPDX-License-Identifier: Apache-2.0
// VMCALL and VMMCALL: what a guest that knows of us asks for. Both vendors' instructions mean the same.
//
// The calls of the software-managed TLB are in docs/softtlb.md. Until a guest has made the first of them
// there is no such instruction.
#include "cpu/checks.hpp"
#include "cpu/instructions.hpp"
#include "trace/ring.hpp"
#include "x86/software_tlb.hpp"

namespace undercroft {
namespace {

using namespace software_tlb;

bool refuse(Trap& trap) noexcept { return raise(trap, Vector::GP, 0); }

// An address in the window and 8 bytes below it: code, or the top of a stack.
bool in_window(std::uint64_t address) noexcept { return address - window - 8 < window_size - 8; }

bool is_asid(std::uint64_t value) noexcept { return value < asid_count; }

bool enable(Vcpu& vcpu, Trap& trap) noexcept {
    std::uint64_t go_on_at = vcpu.reg(Gpr::Rbx);
    std::uint64_t handler = vcpu.reg(Gpr::Rcx);
    std::uint64_t stack_top = vcpu.reg(Gpr::Rdx);
    if (!in_window(go_on_at) || !in_window(handler) || !in_window(stack_top) || stack_top % 16 != 0)
        return refuse(trap);
    vcpu.miss_handler = {.rip = handler, .stack_top = stack_top};
    vcpu.paging.software_tlb = true;
    vcpu.paging.asid = 0;
    vcpu.mmu->begin_software_tlb();
    vcpu.rip = go_on_at;
    return true;
}

bool write_entry(Vcpu& vcpu, Trap& trap) noexcept {
    std::uint64_t high = vcpu.reg(Gpr::Rbx);
    std::uint64_t low = vcpu.reg(Gpr::Rcx);
    bool valid = is_canonical(high) && high - window >= window_size && (high & EntryHi::Reserved) == 0 &&
                 (low & ~EntryLo::Defined) == 0;
    if (!valid) return refuse(trap);
    vcpu.mmu->write_tlb_entry(high, low);
    return true;
}

bool set_address_space(Vcpu& vcpu, Trap& trap) noexcept {
    std::uint64_t asid = vcpu.reg(Gpr::Rbx);
    if (!is_asid(asid)) return refuse(trap);
    if (asid == vcpu.paging.asid) return true;
    vcpu.paging.asid = static_cast<std::uint8_t>(asid);
    vcpu.mmu->set_tlb_address_space(vcpu.paging.asid);
    return true;
}

bool perform(Vcpu& vcpu, Call call, Trap& trap) noexcept {
    std::uint64_t argument = vcpu.reg(Gpr::Rbx);
    switch (call) {
        case Call::Enable: return enable(vcpu, trap);
        case Call::WriteEntry: return write_entry(vcpu, trap);
        case Call::FlushPage:
            if ((argument & EntryHi::Reserved) != 0) return refuse(trap);
            vcpu.mmu->flush_tlb_entry(argument);
            return true;
        case Call::FlushAddressSpace:
            if (!is_asid(argument)) return refuse(trap);
            vcpu.mmu->flush_tlb_address_space(static_cast<unsigned>(argument));
            return true;
        case Call::FlushAll: vcpu.mmu->flush_tlb(); return true;
        case Call::SetAddressSpace: return set_address_space(vcpu, trap);
        case Call::SecondLevel:
            if (argument > 1) return refuse(trap);
            vcpu.mmu->use_second_level(argument != 0);
            return true;
        case Call::End: break;
    }
    return refuse(trap);
}

}  // namespace

bool hypercall(Vcpu& vcpu, std::uint64_t next_rip, Trap& trap) noexcept {
    auto call = Call{vcpu.reg(Gpr::Rax)};
    bool asked = vcpu.paging.software_tlb;
    if (!vcpu.code_64bit() || (!asked && (call != Call::Enable || vcpu.cpl != 0)))
        return raise(trap, Vector::UD);
    if (vcpu.cpl != 0) return refuse(trap);
    if (vcpu.trace != nullptr) [[unlikely]]
        vcpu.trace->record(
            TraceKind::Hypercall,
            {.address = vcpu.reg(Gpr::Rbx), .value = vcpu.reg(Gpr::Rax), .target = vcpu.reg(Gpr::Rcx)});
    std::uint64_t own_rip = vcpu.rip;
    vcpu.rip = next_rip;
    if (!perform(vcpu, call, trap)) {
        vcpu.rip = own_rip;
        return false;
    }
    vcpu.reg(Gpr::Rax) = 0;
    return true;
}

}  // namespace undercroft
