// SPDX-License-Identifier: Apache-2.0
// Descriptor tables, system segments, segment bases, and the questions about selectors.
// Operands here, meaning in cpu/instructions.hpp.
#include "cpu/instructions.hpp"
#include "engine/step/operand.hpp"
#include "engine/step/table.hpp"

#include <Zydis/Mnemonic.h>

namespace undercroft {
namespace {

Outcome next(bool done) { return done ? Outcome::Next : Outcome::Fault; }

template <TableName name>
Outcome load_descriptor_table(Context& context) {
    if (context.vcpu.cpl != 0) return context.fault(Vector::GP, 0);
    unsigned base_size = context.is_64bit() ? 8 : 4;
    std::uint64_t limit = 0;
    std::uint64_t base = 0;
    if (!read_memory(context, 2, limit) || !read_memory(context, base_size, base, 2)) return Outcome::Fault;
    if (!context.is_64bit() && context.instruction.operand_size == 2) base &= 0xffffff;
    return next(load_table(context.vcpu, name, static_cast<std::uint16_t>(limit), base, context.trap));
}

template <TableRegister Vcpu::*table>
Outcome store_descriptor_table(Context& context) {
    if (!may_store_system_register(context.vcpu, context.trap)) return Outcome::Fault;
    const TableRegister& source = context.vcpu.*table;
    unsigned size = context.is_64bit() ? 10 : 6;
    std::byte image[10];
    std::memcpy(image, &source.limit, 2);
    std::memcpy(image + 2, &source.base, 8);
    return next(write_memory_bytes(context, image, size));
}

template <bool (*meaning)(Vcpu&, std::uint16_t, Trap&) noexcept>
Outcome load_system_segment(Context& context) {
    if ((context.vcpu.paging.cr0 & CR0::PE) == 0) return context.fault(Vector::UD);
    if (context.vcpu.cpl != 0) return context.fault(Vector::GP, 0);
    Operand source = context.instruction.operand[0];
    source.size = 2;
    std::uint64_t selector = 0;
    if (!read_operand(context, source, selector)) return Outcome::Fault;
    return next(meaning(context.vcpu, static_cast<std::uint16_t>(selector), context.trap));
}

template <Segment Vcpu::*segment>
Outcome store_system_segment(Context& context) {
    if ((context.vcpu.paging.cr0 & CR0::PE) == 0) return context.fault(Vector::UD);
    if (!may_store_system_register(context.vcpu, context.trap)) return Outcome::Fault;
    Operand target = context.instruction.operand[0];
    if (target.kind == OperandKind::Memory) target.size = 2;
    return next(write_operand(context, target, (context.vcpu.*segment).selector));
}

// LAR, LSL: the selector is the second operand. VERR, VERW: the only one.
template <SegmentQuery query, unsigned selector_operand>
Outcome ask_about_selector(Context& context) {
    Operand source = context.instruction.operand[selector_operand];
    source.size = 2;
    std::uint64_t selector = 0;
    if (!read_operand(context, source, selector)) return Outcome::Fault;
    std::uint64_t value = 0;
    if (!query_segment(context.vcpu, query, static_cast<std::uint16_t>(selector), value, context.trap))
        return Outcome::Fault;
    bool answered = (context.vcpu.arithmetic_flags() & RFLAGS::ZF) != 0;
    if (selector_operand == 1 && answered) write_general(context.vcpu, context.instruction.operand[0], value);
    return Outcome::Next;
}

template <SegmentName name>
Outcome read_base(Context& context) {
    if (!may_use_fsgsbase(context.vcpu, context.trap)) return Outcome::Fault;
    write_general(context.vcpu, context.instruction.operand[0], context.vcpu.seg(name).base);
    return Outcome::Next;
}

template <SegmentName name>
Outcome write_base(Context& context) {
    if (!may_use_fsgsbase(context.vcpu, context.trap)) return Outcome::Fault;
    std::uint64_t base = read_general(context.vcpu, context.instruction.operand[0]);
    return next(write_segment_base(context.vcpu, name, base, context.trap));
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_LGDT, load_descriptor_table<TableName::Gdt>},
    {ZYDIS_MNEMONIC_LIDT, load_descriptor_table<TableName::Idt>},
    {ZYDIS_MNEMONIC_SGDT, store_descriptor_table<&Vcpu::gdtr>},
    {ZYDIS_MNEMONIC_SIDT, store_descriptor_table<&Vcpu::idtr>},
    {ZYDIS_MNEMONIC_LLDT, load_system_segment<lldt>},
    {ZYDIS_MNEMONIC_LTR, load_system_segment<ltr>},
    {ZYDIS_MNEMONIC_SLDT, store_system_segment<&Vcpu::ldtr>},
    {ZYDIS_MNEMONIC_STR, store_system_segment<&Vcpu::tr>},
    {ZYDIS_MNEMONIC_LAR, ask_about_selector<SegmentQuery::Lar, 1>},
    {ZYDIS_MNEMONIC_LSL, ask_about_selector<SegmentQuery::Lsl, 1>},
    {ZYDIS_MNEMONIC_VERR, ask_about_selector<SegmentQuery::Verr, 0>},
    {ZYDIS_MNEMONIC_VERW, ask_about_selector<SegmentQuery::Verw, 0>},
    {ZYDIS_MNEMONIC_RDFSBASE, read_base<SegmentName::FS>},
    {ZYDIS_MNEMONIC_RDGSBASE, read_base<SegmentName::GS>},
    {ZYDIS_MNEMONIC_WRFSBASE, write_base<SegmentName::FS>},
    {ZYDIS_MNEMONIC_WRGSBASE, write_base<SegmentName::GS>},
};

}  // namespace

TableEntries segment_entries() { return entries; }

}  // namespace undercroft
