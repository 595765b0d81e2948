// SPDX-License-Identifier: Apache-2.0
#include "engine/step/access.hpp"

#include "engine/step/debug.hpp"

namespace undercroft {
namespace {

bool segment_fault(Context& context, SegmentName segment) {
    context.trap = Trap::fault(segment == SegmentName::SS ? Vector::SS : Vector::GP, 0);
    return false;
}

// Type and limit, outside 64-bit mode. Real mode keeps the types that the descriptors had, but ignores them.
bool segment_allows(const Vcpu& vcpu, const Segment& segment, std::uint64_t offset, unsigned size,
                    Access access) {
    unsigned type = Segment::Type::get(segment.attributes);
    bool is_protected = (vcpu.paging.cr0 & CR0::PE) != 0 && (vcpu.system_flags & RFLAGS::VM) == 0;
    if (is_protected) {
        if (!segment.present()) return false;
        bool is_code = (type & 8) != 0;
        bool second_bit = (type & 2) != 0;  // readable code, writable data
        if (access == Access::Write && (is_code || !second_bit)) return false;
        if (access == Access::Read && is_code && !second_bit) return false;
    }
    bool expands_down = (type & 0xc) == 4;
    if (is_protected && expands_down) {
        std::uint64_t top = Segment::DB::get(segment.attributes) ? 0xffffffff : 0xffff;
        return offset > segment.limit && offset + size - 1 <= top;
    }
    return offset + size - 1 <= segment.limit;
}

// What an operand of this size has to be aligned to. Source: Intel SDM vol. 3A table 6-7; vectors of 32 bytes
// as processors have it.
unsigned checked_alignment(unsigned size) {
    switch (size) {
        case 2:
        case 14:  // x87 environment and state, as 16-bit code has them
        case 94: return 2;
        case 4:
        case 28:  // the same in 32 bits
        case 108: return 4;
        case 8:
        case 10: return 8;
        case 16:
        case 32: return 16;
        default: return 1;
    }
}

// AMD's processors want all of an operand's offset into FS and GS canonical even if the base makes its sum
// so.
bool refuses_offset(const Vcpu& vcpu, SegmentName name, std::uint64_t offset, unsigned size) {
    bool canonical = is_canonical(offset) && is_canonical(offset + size - 1);
    return name >= SegmentName::FS && !canonical && is_amd(vcpu);
}

bool misaligned_for_ac(const Vcpu& vcpu, std::uint64_t linear, unsigned size) {
    return (vcpu.system_flags & RFLAGS::AC) != 0 && vcpu.cpl == 3 && (vcpu.paging.cr0 & CR0::AM) != 0 &&
           (linear & (checked_alignment(size) - 1)) != 0;
}

}  // namespace

bool linear_address(Context& context, SegmentName name, std::uint64_t offset, unsigned size, Access access,
                    std::uint64_t& linear) {
    Vcpu& vcpu = context.vcpu;
    const Segment& segment = vcpu.seg(name);
    if (context.is_64bit()) {
        linear = name >= SegmentName::FS ? offset + segment.base : offset;
        if (refuses_offset(vcpu, name, offset, size)) return segment_fault(context, name);
        if (!is_canonical(linear) || !is_canonical(linear + size - 1)) return segment_fault(context, name);
    } else {
        if (!segment_allows(vcpu, segment, offset, size, access)) return segment_fault(context, name);
        linear = (segment.base + offset) & 0xffffffff;
    }
    if (misaligned_for_ac(vcpu, linear, size)) {
        context.trap = Trap::fault(Vector::AC, 0);
        return false;
    }
    if (has_breakpoints(vcpu)) context.breakpoints |= breakpoints_met(vcpu, linear, size, access);
    return true;
}

std::uint64_t effective_address(const Context& context) {
    const MemoryForm& form = context.instruction.memory;
    const Vcpu& vcpu = context.vcpu;
    auto address = static_cast<std::uint64_t>(form.displacement);
    if (form.base < 16) {
        address += vcpu.gpr[form.base];
    } else if (form.base == MemoryForm::rip) {
        address += vcpu.rip + context.instruction.length;
    }
    if (form.index < 16 && !form.vector_index) address += vcpu.gpr[form.index] * form.scale;
    return address & mask_of_size(form.address_size);
}

bool operand_address(Context& context, Access access, std::uint64_t& linear, unsigned size,
                     std::uint64_t skip) {
    const MemoryForm& form = context.instruction.memory;
    std::uint64_t offset = (effective_address(context) + skip) & mask_of_size(form.address_size);
    return linear_address(context, form.segment, offset, size, access, linear);
}

bool read_linear_slowly(Context& context, std::uint64_t linear, unsigned size, std::uint64_t& value) {
    std::uint64_t bytes = 0;
    if (!context.vcpu.mmu->read(GuestVirtual{linear}, &bytes, size, context.mode, context.trap)) return false;
    value = bytes;
    return true;
}

bool write_linear_slowly(Context& context, std::uint64_t linear, unsigned size, std::uint64_t value) {
    return context.vcpu.mmu->write(GuestVirtual{linear}, &value, size, context.mode, context.trap);
}

void blame_x87_part(Context& context, std::uint64_t linear, unsigned size, Access access) {
    if (!is_amd(context.vcpu) || context.trap.vector == Vector::AC || !is_canonical(linear)) return;
    constexpr unsigned x87_register = 10;
    unsigned word = size == x87_register ? 8 : size == 14 || size == 94 ? 2 : 4;
    if (!is_canonical(linear + word - 1)) return;
    if (context.is_64bit() &&
        refuses_offset(context.vcpu, context.instruction.memory.segment, effective_address(context), word))
        return;
    if (misaligned_for_ac(context.vcpu, linear, size)) {
        context.trap = Trap::fault(Vector::AC, 0);
        return;
    }
    Mmu& mmu = *context.vcpu.mmu;
    Trap first;
    bool first_faults = !mmu.check(GuestVirtual{linear}, word, access, context.mode, first);
    if (first_faults && first.vector == Vector::PF)
        context.trap = first;
    else if (context.trap.vector == Vector::PF && size != x87_register)
        context.trap.address = linear + size - 1;
}

bool check_masked_store(Context& context, unsigned size) {
    const Instruction& instruction = context.instruction;
    if (!is_amd(context.vcpu)) return true;
    for (unsigned done = 0; done < size; done += 8) {
        std::uint64_t offset = (context.vcpu.reg(Gpr::Rdi) + done) & mask_of_size(instruction.address_size);
        if (!check_segment(context, instruction.segment, offset, 8, Access::Write)) return false;
    }
    return true;
}

bool check_segment(Context& context, SegmentName segment, std::uint64_t offset, unsigned size,
                   Access access) {
    std::uint64_t linear = 0;
    if (!linear_address(context, segment, offset, size, access, linear)) return false;
    if (context.vcpu.mmu->check(GuestVirtual{linear}, size, access, context.mode, context.trap)) return true;
    blame_segment(context, segment);
    return false;
}

bool read_memory(Context& context, unsigned size, std::uint64_t& value, std::uint64_t skip) {
    std::uint64_t linear = 0;
    return operand_address(context, Access::Read, linear, size, skip) &&
           read_linear(context, linear, size, value);
}

bool write_memory(Context& context, unsigned size, std::uint64_t value, std::uint64_t skip) {
    std::uint64_t linear = 0;
    return operand_address(context, Access::Write, linear, size, skip) &&
           write_linear(context, linear, size, value);
}

bool read_memory_bytes(Context& context, void* to, unsigned size) {
    std::uint64_t linear = 0;
    return operand_address(context, Access::Read, linear, size) &&
           context.vcpu.mmu->read(GuestVirtual{linear}, to, size, context.mode, context.trap);
}

bool write_memory_bytes(Context& context, const void* from, unsigned size) {
    std::uint64_t linear = 0;
    return operand_address(context, Access::Write, linear, size) &&
           context.vcpu.mmu->write(GuestVirtual{linear}, from, size, context.mode, context.trap);
}

}  // namespace undercroft
