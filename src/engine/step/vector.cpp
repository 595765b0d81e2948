// SPDX-License-Identifier: Apache-2.0
// Vector instructions whose memory operand is not one piece: gathers, masked moves. And what clears registers
// that it does not name.
//
// Elements that a mask leaves out are not accessed and cannot fault. Source: Intel SDM vol. 2.
#include "cpu/instructions.hpp"
#include "engine/step/access.hpp"
#include "engine/step/table.hpp"
#include "engine/step/vector_register.hpp"
#include "engine/step/xsave_area.hpp"

#include <Zydis/Mnemonic.h>

#include <algorithm>

namespace undercroft {
namespace {

bool may_use(Context& context, VectorUnit unit) {
    if (!may_use_vector_unit(context.vcpu, unit, context.trap)) return false;
    materialize(context.vcpu, XCR0::SSE | XCR0::AVX);
    return true;
}

// VZEROUPPER, VZEROALL: registers 8..15 only in 64-bit mode.
Outcome zero_upper_halves(Context& context) {
    if (!may_use(context, VectorUnit::Avx)) return Outcome::Fault;
    std::memset(context.vcpu.xsave.data() + XsaveArea::ymm_high, 0, context.is_64bit() ? 256 : 128);
    return Outcome::Next;
}

Outcome zero_all(Context& context) {
    if (zero_upper_halves(context) == Outcome::Fault) return Outcome::Fault;
    std::memset(context.vcpu.xsave.data() + XsaveArea::xmm, 0, context.is_64bit() ? 256 : 128);
    return Outcome::Next;
}

// Elements that a mask selects may lie anywhere: no #AC.
class AlignmentUnchecked {
public:
    explicit AlignmentUnchecked(Vcpu& vcpu) : vcpu_{vcpu}, checked_{vcpu.system_flags & RFLAGS::AC} {
        vcpu_.system_flags &= ~RFLAGS::AC;
    }
    AlignmentUnchecked(const AlignmentUnchecked&) = delete;
    AlignmentUnchecked& operator=(const AlignmentUnchecked&) = delete;
    ~AlignmentUnchecked() { vcpu_.system_flags |= checked_; }

private:
    Vcpu& vcpu_;
    std::uint64_t checked_;
};

// Element by element, lowest first. The mask shows the progress when one faults.
template <unsigned index_size, unsigned element_size>
Outcome gather(Context& context) {
    if (!may_use(context, VectorUnit::Avx)) return Outcome::Fault;
    const Instruction& instruction = context.instruction;
    const MemoryForm& form = instruction.memory;
    VectorRegister target{context.vcpu, instruction.operand[0].number};
    VectorRegister mask{context.vcpu, instruction.operand[2].number};
    VectorRegister indices{context.vcpu, form.index};
    // The wider of element and index decides how many there are.
    unsigned count = instruction.vector_size / std::max(index_size, element_size);
    std::uint64_t base = effective_address(context);
    AlignmentUnchecked unchecked{context.vcpu};
    bool loaded = false;
    for (unsigned i = 0; i < count; i++) {
        if ((mask.element(i, element_size) >> (8 * element_size - 1)) == 0) {
            mask.set_element(i, element_size, 0);  // progress, too
            continue;
        }
        std::uint64_t index = sign_extend(indices.element(i, index_size), index_size) * form.scale;
        std::uint64_t offset = (base + index) & mask_of_size(form.address_size);
        std::uint64_t value = 0;
        if (!read_segment(context, form.segment, offset, element_size, value)) {
            // Debug traps of what was loaded come first, and then the instruction begins again. (SDM vol. 2,
            // VGATHER)
            bool traps = (context.vcpu.system_flags & RFLAGS::TF) != 0 || context.breakpoints != 0;
            return loaded && traps ? Outcome::Again : Outcome::Fault;
        }
        loaded = true;
        target.set_element(i, element_size, value);
        mask.set_element(i, element_size, 0);
    }
    mask.clear_from(0);
    target.clear_from(count * element_size);
    return Outcome::Next;
}

bool check_selected(Context& context, const VectorRegister& mask, unsigned element_size, unsigned count,
                    Access access) {
    const MemoryForm& form = context.instruction.memory;
    std::uint64_t start = effective_address(context);
    for (unsigned i = 0; i < count; i++) {
        if ((mask.element(i, element_size) >> (8 * element_size - 1)) == 0) continue;
        std::uint64_t offset = start + i * element_size;  // does not wrap with a 32-bit address
        if (!check_segment(context, form.segment, offset, element_size, access)) return false;
    }
    return true;
}

// VMASKMOVPS, VMASKMOVPD, VPMASKMOVD, VPMASKMOVQ in both directions; the mask is the second operand.
template <unsigned element_size>
Outcome masked_move(Context& context) {
    if (!may_use(context, VectorUnit::Avx)) return Outcome::Fault;
    const Instruction& instruction = context.instruction;
    bool store = instruction.operand[0].kind == OperandKind::Memory;
    unsigned count = instruction.memory.size / element_size;
    VectorRegister mask{context.vcpu, instruction.operand[1].number};
    VectorRegister reg{context.vcpu, instruction.operand[store ? 2 : 0].number};
    AlignmentUnchecked unchecked{context.vcpu};
    if (!check_selected(context, mask, element_size, count, store ? Access::Write : Access::Read))
        return Outcome::Fault;
    std::uint64_t start = effective_address(context);
    std::uint64_t loaded[8] = {};
    for (unsigned i = 0; i < count; i++) {
        if ((mask.element(i, element_size) >> (8 * element_size - 1)) == 0) continue;
        std::uint64_t offset = start + i * element_size;
        SegmentName segment = instruction.memory.segment;
        bool done = store
                        ? write_segment(context, segment, offset, element_size, reg.element(i, element_size))
                        : read_segment(context, segment, offset, element_size, loaded[i]);
        if (!done) return Outcome::Fault;
    }
    if (store) return Outcome::Next;
    for (unsigned i = 0; i < count; i++) reg.set_element(i, element_size, loaded[i]);
    reg.clear_from(count * element_size);
    return Outcome::Next;
}

// MASKMOVDQU, VMASKMOVDQU: bytes of the first operand, selected by the second, to DS:rDI.
Outcome masked_byte_store(Context& context) {
    const Instruction& instruction = context.instruction;
    if (!may_use(context, instruction.vex ? VectorUnit::Avx : VectorUnit::Sse)) return Outcome::Fault;
    VectorRegister source{context.vcpu, instruction.operand[0].number};
    VectorRegister mask{context.vcpu, instruction.operand[1].number};
    std::uint64_t address_mask = mask_of_size(instruction.address_size);
    auto offset = [&](unsigned i) { return (context.vcpu.reg(Gpr::Rdi) + i) & address_mask; };
    auto selected = [&](unsigned i) { return (mask.element(i, 1) & 0x80) != 0; };
    if (!check_masked_store(context, 16)) return Outcome::Fault;
    for (unsigned i = 0; i < 16; i++) {
        if (selected(i) && !check_segment(context, instruction.segment, offset(i), 1, Access::Write))
            return Outcome::Fault;
    }
    for (unsigned i = 0; i < 16; i++) {
        if (selected(i) && !write_segment(context, instruction.segment, offset(i), 1, source.element(i, 1)))
            return Outcome::Fault;
    }
    return Outcome::Next;
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_VZEROUPPER, zero_upper_halves}, {ZYDIS_MNEMONIC_VZEROALL, zero_all},
    {ZYDIS_MNEMONIC_VPGATHERDD, gather<4, 4>},      {ZYDIS_MNEMONIC_VPGATHERDQ, gather<4, 8>},
    {ZYDIS_MNEMONIC_VPGATHERQD, gather<8, 4>},      {ZYDIS_MNEMONIC_VPGATHERQQ, gather<8, 8>},
    {ZYDIS_MNEMONIC_VGATHERDPS, gather<4, 4>},      {ZYDIS_MNEMONIC_VGATHERDPD, gather<4, 8>},
    {ZYDIS_MNEMONIC_VGATHERQPS, gather<8, 4>},      {ZYDIS_MNEMONIC_VGATHERQPD, gather<8, 8>},
    {ZYDIS_MNEMONIC_VMASKMOVPS, masked_move<4>},    {ZYDIS_MNEMONIC_VMASKMOVPD, masked_move<8>},
    {ZYDIS_MNEMONIC_VPMASKMOVD, masked_move<4>},    {ZYDIS_MNEMONIC_VPMASKMOVQ, masked_move<8>},
    {ZYDIS_MNEMONIC_MASKMOVDQU, masked_byte_store}, {ZYDIS_MNEMONIC_VMASKMOVDQU, masked_byte_store},
};

}  // namespace

TableEntries vector_entries() { return entries; }

}  // namespace undercroft
