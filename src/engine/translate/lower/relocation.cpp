// SPDX-License-Identifier: Apache-2.0
// What depends on where a block lies, noted as it is emitted. The entry in front of a block is not: a copy
// has its own.
#include "engine/translate/lower/lowering.hpp"

namespace undercroft::translate {

void Lowering::note(Relocation::Kind kind, HostCode at) {
    if (relocations_ == nullptr) return;
    bool cold = block_.cold_begin != nullptr && at >= block_.cold_begin;
    HostCode begin = cold ? block_.cold_begin : block_.code_begin;
    Relocation::Part part = cold ? Relocation::Part::Cold : Relocation::Part::Hot;
    relocations_->add({kind, part, static_cast<std::size_t>(at - begin)});
}

void Lowering::note_record(Relocation::Kind kind, const void* record) {
    if (relocations_ == nullptr) return;
    auto offset = static_cast<const std::byte*>(record) - reinterpret_cast<const std::byte*>(&block_);
    relocations_->add({kind, Relocation::Part::Records, static_cast<std::size_t>(offset)});
}

// Shorter forms than that with 64 bits would not fit every address.
void Lowering::mov_guest_address(int reg, std::uint64_t address) {
    as_.mov_imm(reg, address);
    if (address <= 0xffffffff || Assembler::fits_int32(address))
        immovable();
    else
        note(Relocation::Kind::GuestAddress, as_.here() - 8);
}

// The comparison of a page's instance with a number to be patched.
std::size_t Lowering::cmp_exec_id(AccessMode mode, std::uint64_t rip, std::uint32_t id) {
    std::size_t number = as_.cmp32_imm_patchable(exec_id_field(mode, rip), id);
    note(Relocation::Kind::ExecId, as_.address(number) - 4);
    return number;
}

}  // namespace undercroft::translate
