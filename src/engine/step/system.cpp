// SPDX-License-Identifier: Apache-2.0
// System instructions on control, debug and model-specific registers, time, identity, caches, and those that
// do nothing. Operands here, meaning in cpu/instructions.hpp.
#include "cpu/instructions.hpp"
#include "engine/step/operand.hpp"
#include "engine/step/table.hpp"
#include "mmu/full_fence.hpp"

#include <Zydis/Mnemonic.h>

namespace undercroft {
namespace {

Outcome next(bool done) { return done ? Outcome::Next : Outcome::Fault; }

// Handlers of instructions without operands.
template <bool (*meaning)(Vcpu&, Trap&) noexcept>
Outcome plain(Context& context) {
    return next(meaning(context.vcpu, context.trap));
}

Outcome nothing(Context&) { return Outcome::Next; }

// Between this vCPU's accesses to guest memory, as others see them.
Outcome fence(Context&) {
    full_fence();
    return Outcome::Next;
}

// F3 90 with REX.B is XCHG r8, rAX, as 90 with it is.
Outcome pause(Context& context) {
    const Instruction& instruction = context.instruction;
    bool rex_b = context.is_64bit() && (instruction.bytes[instruction.length - 2u] & 0xf1) == 0x41;
    if (!rex_b) {
        context.paused = true;
        return Outcome::Next;
    }
    std::uint64_t& rax = context.vcpu.reg(Gpr::Rax);
    std::uint64_t& r8 = context.vcpu.reg(Gpr::R8);
    std::uint64_t value = rax;
    write_register(rax, r8, instruction.operand_size);
    write_register(r8, value, instruction.operand_size);
    return Outcome::Next;
}

Outcome halt(Context& context) {
    std::uint64_t after = context.next_rip();
    if (!hlt(context.vcpu, context.trap)) return Outcome::Fault;
    context.vcpu.rip = after;
    return Outcome::Halted;
}

Outcome store_machine_status_word(Context& context) {
    if (!may_store_system_register(context.vcpu, context.trap)) return Outcome::Fault;
    Operand target = context.instruction.operand[0];
    if (target.kind == OperandKind::Memory) target.size = 2;
    return next(write_operand(context, target, context.vcpu.paging.cr0));
}

Outcome load_machine_status_word(Context& context) {
    if (context.vcpu.cpl != 0) return context.fault(Vector::GP, 0);
    Operand source = context.instruction.operand[0];
    source.size = 2;
    std::uint64_t value = 0;
    if (!read_operand(context, source, value)) return Outcome::Fault;
    return next(lmsw(context.vcpu, static_cast<std::uint16_t>(value), context.trap));
}

Outcome call_monitor(Context& context) {
    return hypercall(context.vcpu, context.next_rip(), context.trap) ? Outcome::Jumped : Outcome::Fault;
}

Outcome invalidate_page(Context& context) {
    if (context.vcpu.cpl != 0) return context.fault(Vector::GP, 0);
    const MemoryForm& form = context.instruction.memory;
    std::uint64_t address = effective_address(context);
    if (!context.is_64bit() || form.segment >= SegmentName::FS)
        address += context.vcpu.seg(form.segment).base;
    if (!context.is_64bit()) address &= 0xffffffff;
    return next(invlpg(context.vcpu, address, context.trap));
}

Outcome invalidate_address_space(Context& context) {
    if (context.vcpu.cpl != 0) return context.fault(Vector::GP, 0);
    InvpcidDescriptor descriptor;
    if (!read_memory_bytes(context, &descriptor, sizeof descriptor)) return Outcome::Fault;
    std::uint64_t type = read_general(context.vcpu, context.instruction.operand[0]);
    return next(invpcid(context.vcpu, type, descriptor, context.trap));
}

// CLFLUSH, CLFLUSHOPT, CLWB: a read of one byte to paging.
Outcome flush_cache_line(Context& context) {
    std::uint64_t linear = 0;
    if (!operand_address(context, Access::Read, linear, 1)) return Outcome::Fault;
    Vcpu& vcpu = context.vcpu;
    return next(vcpu.mmu->check(GuestVirtual{linear}, 1, Access::Read, context.mode, context.trap));
}

Outcome read_processor_id(Context& context) {
    std::uint64_t value = 0;
    if (!rdpid(context.vcpu, value, context.trap)) return Outcome::Fault;
    write_general(context.vcpu, context.instruction.operand[0], value);
    return Outcome::Next;
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_HLT, halt},
    {ZYDIS_MNEMONIC_SMSW, store_machine_status_word},
    {ZYDIS_MNEMONIC_LMSW, load_machine_status_word},
    {ZYDIS_MNEMONIC_CLTS, plain<clts>},
    {ZYDIS_MNEMONIC_XSETBV, plain<xsetbv>},
    {ZYDIS_MNEMONIC_XGETBV, plain<xgetbv>},
    {ZYDIS_MNEMONIC_RDMSR, plain<rdmsr>},
    {ZYDIS_MNEMONIC_WRMSR, plain<wrmsr>},
    {ZYDIS_MNEMONIC_RDTSC, plain<rdtsc>},
    {ZYDIS_MNEMONIC_RDTSCP, plain<rdtscp>},
    {ZYDIS_MNEMONIC_RDPMC, plain<rdpmc>},
    {ZYDIS_MNEMONIC_CPUID, plain<cpuid>},
    {ZYDIS_MNEMONIC_WBINVD, plain<wbinvd>},
    {ZYDIS_MNEMONIC_INVD, plain<wbinvd>},
    {ZYDIS_MNEMONIC_SWAPGS, plain<swapgs>},
    {ZYDIS_MNEMONIC_RDPID, read_processor_id},
    {ZYDIS_MNEMONIC_INVLPG, invalidate_page},
    {ZYDIS_MNEMONIC_INVPCID, invalidate_address_space},
    {ZYDIS_MNEMONIC_VMCALL, call_monitor},
    {ZYDIS_MNEMONIC_VMMCALL, call_monitor},
    {ZYDIS_MNEMONIC_CLFLUSH, flush_cache_line},
    {ZYDIS_MNEMONIC_CLFLUSHOPT, flush_cache_line},
    {ZYDIS_MNEMONIC_CLWB, flush_cache_line},
    {ZYDIS_MNEMONIC_NOP, nothing},
    {ZYDIS_MNEMONIC_PAUSE, pause},
    {ZYDIS_MNEMONIC_LFENCE, nothing},
    {ZYDIS_MNEMONIC_MFENCE, fence},
    {ZYDIS_MNEMONIC_SFENCE, fence},
    {ZYDIS_MNEMONIC_ENDBR32, nothing},
    {ZYDIS_MNEMONIC_ENDBR64, nothing},
    {ZYDIS_MNEMONIC_PREFETCH, nothing},
    {ZYDIS_MNEMONIC_PREFETCHNTA, nothing},
    {ZYDIS_MNEMONIC_PREFETCHT0, nothing},
    {ZYDIS_MNEMONIC_PREFETCHT1, nothing},
    {ZYDIS_MNEMONIC_PREFETCHT2, nothing},
    {ZYDIS_MNEMONIC_PREFETCHW, nothing},
    {ZYDIS_MNEMONIC_PREFETCHWT1, nothing},
};

}  // namespace

TableEntries system_entries() { return entries; }

Outcome move_to_control(Context& context) {
    const auto& operand = context.instruction.operand;
    std::uint64_t value = read_general(context.vcpu, operand[1]);
    return next(write_control(context.vcpu, operand[0].number, value, context.trap));
}

Outcome move_from_control(Context& context) {
    const auto& operand = context.instruction.operand;
    std::uint64_t value = 0;
    if (!read_control(context.vcpu, operand[1].number, value, context.trap)) return Outcome::Fault;
    write_general(context.vcpu, operand[0], value);
    return Outcome::Next;
}

Outcome move_to_debug(Context& context) {
    const auto& operand = context.instruction.operand;
    std::uint64_t value = read_general(context.vcpu, operand[1]);
    return next(write_debug(context.vcpu, operand[0].number, value, context.trap));
}

Outcome move_from_debug(Context& context) {
    const auto& operand = context.instruction.operand;
    std::uint64_t value = 0;
    if (!read_debug(context.vcpu, operand[1].number, value, context.trap)) return Outcome::Fault;
    write_general(context.vcpu, operand[0], value);
    return Outcome::Next;
}

}  // namespace undercroft
