// SPDX-License-Identifier: Apache-2.0
// x87 and MMX instructions that cannot run as they are: those that store addresses, and MASKMOVQ, whose
// memory operand is implied. Source: Intel SDM vol. 1 sections 8.1.9 and 8.1.10; vol. 2.
#include "cpu/instructions.hpp"
#include "engine/step/access.hpp"
#include "engine/step/native.hpp"
#include "engine/step/table.hpp"
#include "engine/step/xsave_area.hpp"

#include <Zydis/Mnemonic.h>

#include <algorithm>
#include <array>

namespace undercroft {
namespace {

// FNSTENV, FNSAVE: the host would store the stub's addresses.
Outcome store_x87_environment(Context& context) {
    const Instruction& instruction = context.instruction;
    unsigned size = instruction.memory.size;
    if (!may_use_state(context)) return Outcome::Fault;
    std::uint64_t linear = 0;
    Mmu& mmu = *context.vcpu.mmu;
    if (!operand_address(context, Access::Write, linear, size) ||
        !mmu.check(GuestVirtual{linear}, size, Access::Write, context.mode, context.trap)) {
        blame_x87_part(context, linear, size, Access::Write);
        return Outcome::Fault;
    }
    materialize(context.vcpu, XCR0::X87);
    const std::byte* area = context.vcpu.xsave.data();
    std::byte pointers[16];
    std::memcpy(pointers, area + XsaveArea::fip, 16);
    alignas(16) std::byte image[128] = {};
    if (!run_stub(context, image)) return Outcome::Fault;
    bool narrow = size == 14 || size == 94;
    std::size_t start = narrow ? 6 : 12;
    std::size_t width = narrow ? 2 : 4;
    std::memset(image + start, 0, 4 * width);
    std::memcpy(image + start, pointers, width);
    std::memcpy(image + start + 2 * width, pointers + 8, width);
    if (!narrow) std::memset(image + 26, 0xff, 2);  // beside the operand's selector, reserved
    bool written = mmu.write(GuestVirtual{linear}, image, size, context.mode, context.trap);
    return written ? Outcome::Next : Outcome::Fault;
}

constexpr std::size_t status_word = 2;
constexpr std::size_t tag_word = 4;

// What every MMX instruction does first: the top of the stack becomes register 0, all registers are in use.
// The area holds the registers by their distance from the top.
void enter_mmx(Vcpu& vcpu) {
    std::byte* area = vcpu.xsave.data();
    std::uint16_t status;
    std::memcpy(&status, area + status_word, 2);
    using Register = std::array<std::byte, 16>;
    std::array<Register, 8> registers;
    std::memcpy(registers.data(), area + XsaveArea::st, sizeof registers);
    unsigned top = status >> 11 & 7u;
    std::rotate(registers.begin(), registers.begin() + (8 - top) % 8, registers.end());
    std::memcpy(area + XsaveArea::st, registers.data(), sizeof registers);
    status = static_cast<std::uint16_t>(status & ~0x3800);
    std::memcpy(area + status_word, &status, 2);
    area[tag_word] = std::byte{0xff};
}

std::uint64_t mmx_register(const Vcpu& vcpu, unsigned number) {
    std::uint64_t value;
    std::memcpy(&value, vcpu.xsave.data() + XsaveArea::st + 16u * number, 8);
    return value;
}

// MASKMOVQ: bytes of the first register, selected by the second, to DS:rDI.
Outcome masked_byte_store(Context& context) {
    Vcpu& vcpu = context.vcpu;
    const Instruction& instruction = context.instruction;
    if (!may_use_vector_unit(vcpu, VectorUnit::Mmx, context.trap)) return Outcome::Fault;
    materialize(vcpu, XCR0::X87);
    if (x87_exception_pending(vcpu)) return context.fault(Vector::MF);
    enter_mmx(vcpu);  // and so it stays, if the store faults
    unsigned modrm = instruction.bytes[instruction.length - 1u];
    std::uint64_t source = mmx_register(vcpu, modrm >> 3 & 7);
    std::uint64_t mask = mmx_register(vcpu, modrm & 7);
    if (!check_masked_store(context, 8)) return Outcome::Fault;
    auto store = [&](bool checking) {
        for (unsigned i = 0; i < 8; i++) {
            if ((mask >> (8 * i + 7) & 1) == 0) continue;
            std::uint64_t offset = (vcpu.reg(Gpr::Rdi) + i) & mask_of_size(instruction.address_size);
            bool done = checking
                            ? check_segment(context, instruction.segment, offset, 1, Access::Write)
                            : write_segment(context, instruction.segment, offset, 1, source >> 8 * i & 0xff);
            if (!done) return false;
        }
        return true;
    };
    return store(true) && store(false) ? Outcome::Next : Outcome::Fault;
}

constexpr TableEntry entries[] = {
    {ZYDIS_MNEMONIC_FNSTENV, store_x87_environment, true},
    {ZYDIS_MNEMONIC_FNSAVE, store_x87_environment, true},
    {ZYDIS_MNEMONIC_MASKMOVQ, masked_byte_store},
};

}  // namespace

TableEntries x87_entries() { return entries; }

}  // namespace undercroft
