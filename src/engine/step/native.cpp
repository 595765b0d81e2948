// SPDX-License-Identifier: Apache-2.0
#include "engine/step/native.hpp"

#include "cpu/instructions.hpp"
#include "engine/step/guard.hpp"
#include "engine/step/native_code.hpp"
#include "engine/step/operand.hpp"
#include "engine/step/table.hpp"
#include "engine/step/xsave_area.hpp"

namespace undercroft {
namespace {

// How far the bit offset of bt, bts, btr, btc moves the operand.
std::uint64_t bit_string_skip(const Context& context) {
    const Operand& source = context.instruction.operand[1];
    std::uint64_t offset = sign_extend(read_general(context.vcpu, source), source.size);
    unsigned bits = source.size * 8u;
    auto units = static_cast<std::uint64_t>(static_cast<std::int64_t>(offset) >> (bits == 64   ? 6
                                                                                  : bits == 32 ? 5
                                                                                               : 4));
    return units * source.size;
}

// An x87 instruction leaves its opcode, its own address and that of its operand; the host has left those of
// the stub. Without a memory operand the last one's address stays.
class X87Pointers {
public:
    explicit X87Pointers(Context& context)
        : context_{context},
          wanted_{(context.instruction.needs & (Needs::X87 | Needs::Mmx | Needs::Control)) == Needs::X87} {
        std::memcpy(&operand_, area() + XsaveArea::fdp, 8);
    }
    void set_operand(std::uint64_t offset) { operand_ = offset; }
    void write() {
        if (!wanted_ || (components_present(context_.vcpu) & XCR0::X87) == 0) return;
        const Instruction& instruction = context_.instruction;
        std::size_t at = 0;  // of the opcode, D8 to DF, with ModRM behind it
        while ((instruction.bytes[at] & 0xf8) != 0xd8) ++at;
        auto opcode =
            static_cast<std::uint16_t>((instruction.bytes[at] & 7) << 8 | instruction.bytes[at + 1]);
        std::memcpy(area() + XsaveArea::fop, &opcode, 2);
        std::memcpy(area() + XsaveArea::fip, &context_.vcpu.rip, 8);
        std::memcpy(area() + XsaveArea::fdp, &operand_, 8);
    }

private:
    std::byte* area() { return context_.vcpu.xsave.data(); }

    Context& context_;
    bool wanted_;
    std::uint64_t operand_ = 0;
};

// A register's 80 bits; what FLDENV and FRSTOR load.
bool is_large_x87(const Instruction& instruction) {
    return (instruction.needs & Needs::X87) != 0 && instruction.memory.size >= 10;
}

// AMD's MXCSR.MM: SSE operands may be misaligned, but for those of moves that ask for alignment by name.
bool takes_misaligned(const Context& context) {
    constexpr std::uint32_t mm = 1u << 17;
    std::uint32_t mxcsr;
    std::memcpy(&mxcsr, context.vcpu.xsave.data() + XsaveArea::mxcsr, 4);
    return (mxcsr & mm) != 0 && context.instruction.memory.alignment_by_mode;
}

}  // namespace

bool may_use_state(Context& context) {
    std::uint8_t needs = context.instruction.needs;
    const Vcpu& vcpu = context.vcpu;
    Trap& trap = context.trap;
    if (needs == 0) return true;
    if ((needs & Needs::Avx) != 0 && !may_use_vector_unit(vcpu, VectorUnit::Avx, trap)) return false;
    if ((needs & Needs::Sse) != 0 && !may_use_vector_unit(vcpu, VectorUnit::Sse, trap)) return false;
    if ((needs & Needs::Wait) != 0) return may_use_vector_unit(vcpu, VectorUnit::Wait, trap);
    if ((needs & Needs::Mmx) != 0) return may_use_vector_unit(vcpu, VectorUnit::Mmx, trap);
    if ((needs & Needs::X87) != 0) return may_use_vector_unit(vcpu, VectorUnit::X87, trap);
    return true;
}

bool run_stub(Context& context, void* memory) {
    Vcpu& vcpu = context.vcpu;
    const Instruction& instruction = context.instruction;
    bool x87 = (instruction.needs & Needs::X87) != 0;
    bool vectors = (instruction.needs & Needs::Vectors) != 0;
    if (vectors) materialize(vcpu, XCR0::SSE | XCR0::AVX);
    switch (run_guarded(vcpu, instruction.stub, memory, x87, context.native.region())) {
        case GuardedResult::Done: return true;
        case GuardedResult::DivideError: context.trap = Trap::fault(Vector::DE); return false;
        case GuardedResult::Undefined: context.trap = Trap::fault(Vector::UD); return false;
        case GuardedResult::Protection: context.trap = Trap::fault(Vector::GP, 0); return false;
        case GuardedResult::X87Error: context.trap = Trap::fault(Vector::MF); return false;
        case GuardedResult::SimdError: {
            bool announced = (vcpu.paging.cr4 & CR4::OSXMMEXCPT) != 0;
            context.trap = Trap::fault(announced ? Vector::XM : Vector::UD);
            return false;
        }
    }
    return false;
}

Outcome run_native(Context& context) {
    const Instruction& instruction = context.instruction;
    const MemoryForm& form = instruction.memory;
    if (!may_use_state(context)) return Outcome::Fault;
    if ((instruction.needs & Needs::NoPending) != 0 && x87_exception_pending(context.vcpu))
        return context.fault(Vector::MF);
    X87Pointers pointers{context};
    if (form.size == 0) {
        if (!run_stub(context, nullptr)) return Outcome::Fault;
        pointers.write();
        return Outcome::Next;
    }
    std::uint64_t skip = form.bit_string ? bit_string_skip(context) : 0;
    std::uint64_t linear = 0;
    Access access = form.writes ? Access::Write : Access::Read;
    if (!operand_address(context, access, linear, form.size, skip)) {
        // What has to be aligned is refused as such first, be its address canonical or not.
        if ((linear & (form.alignment - 1u)) != 0 && !takes_misaligned(context))
            return context.fault(Vector::GP, 0);
        if (is_large_x87(instruction)) blame_x87_part(context, linear, form.size, access);
        return Outcome::Fault;
    }
    if ((linear & (form.alignment - 1u)) != 0 && !takes_misaligned(context))
        return context.fault(Vector::GP, 0);
    Pin pin;
    // An x87 store does not happen if it raises an exception that is not masked.
    bool may_keep = (instruction.needs & Needs::X87) != 0;
    if (!pin.pin(context, linear, form.size, form.reads || may_keep, form.writes)) {
        blame_segment(context, form.segment);
        if (is_large_x87(instruction)) blame_x87_part(context, linear, form.size, access);
        return Outcome::Fault;
    }
    std::uint64_t pointer = reinterpret_cast<std::uint64_t>(pin.pointer()) - skip;
    if (!run_stub(context, reinterpret_cast<void*>(pointer))) return Outcome::Fault;
    pin.release(context);
    pointers.set_operand(effective_address(context));
    pointers.write();
    return Outcome::Next;
}

}  // namespace undercroft
