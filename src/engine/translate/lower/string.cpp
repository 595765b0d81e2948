// SPDX-License-Identifier: Apache-2.0
// REP MOVS and REP STOS whose source and target lie in one page each, which the software TLB has: the
// instruction itself, on host addresses. All else is the callback's (runtime/string_callback).
#include "engine/translate/lower/lowering.hpp"

#include <algorithm>
#include <bit>

namespace undercroft::translate {
namespace {

constexpr int rcx = 1;
constexpr int rsi = 6;
constexpr int rdi = 7;
constexpr std::int32_t page_bytes = 4096;
constexpr Mem target_distance =
    engine_field(offsetof(EngineFrame, distance) + AccessGroups::limit * sizeof(std::uint64_t));

// A4 and A5; the others are AA and AB. Bit 0 says that elements are larger than a byte.
bool moves(const Instruction& i) { return (i.opcode & 0xfe) == 0xa4; }

}  // namespace

// Of rcx elements, at most a page full, from `pointer` on: leaves the page's distance in scratch1.
void Lowering::check_elements(Access access, int pointer, unsigned width, ColdStub& stub) {
    auto none = std::find(stub.jumps.begin(), stub.jumps.end(), nullptr);
    as_.mov(scratch0, pointer);
    probe(access);
    as_.alu_imm(Alu::Cmp, scratch0, page_bytes - 1);
    *none++ = as_.address(as_.jcc(Condition::A));
    auto scale = static_cast<unsigned>(std::countr_zero(width));
    as_.lea(scratch0, Mem{.base = scratch0, .index = rcx, .scale = scale});
    as_.alu_imm(Alu::Cmp, scratch0, page_bytes);
    *none = as_.address(as_.jcc(Condition::A));
    as_.load(scratch1, Mem::frame_indexed(scratch1, tlb_offset(block_.mode) + offsetof(TlbEntry, distance)));
}

void Lowering::repeat(unsigned width, unsigned opcode) {
    as_.byte(0xf3);
    if (width == 2) as_.byte(0x66);
    if (width == 8) as_.byte(0x48);
    as_.byte(width == 1 ? opcode : opcode | 1);
}

void Lowering::string(const Instruction& i) {
    unsigned width = i.operand[0].size / 8u;
    save_flags(live_before(i));
    take_scratch1();
    Site* site = new_site(i, string_instruction, width, Access::Read, moves(i) ? 1 : 0);
    ColdStub stub{.record = site};
    as_.alu_imm(Alu::Cmp, rcx, page_bytes / static_cast<std::int32_t>(width));
    stub.jumps[0] = as_.address(as_.jcc(Condition::A));
    if (counted_) {  // an element counts as an instruction; none, too
        as_.alu_imm(Alu::Cmp, rcx, 0);
        stub.jumps[1] = as_.address(as_.jcc(Condition::E));
    }
    check_elements(Access::Write, rdi, width, stub);
    if (moves(i)) {
        as_.store(target_distance, scratch1);
        check_elements(Access::Read, rsi, width, stub);
    }
    if (counted_) {
        constexpr Mem counter = engine_field(offsetof(EngineFrame, instructions));
        as_.load(scratch0, counter);
        as_.lea(scratch0, Mem{.base = scratch0, .index = rcx, .disp = -1});
        as_.store(counter, scratch0);
    }
    if (moves(i)) {
        as_.load(scratch0, target_distance);
        as_.alu(Alu::Add, rdi, scratch0);
        as_.alu(Alu::Add, rsi, scratch1);
        repeat(width, 0xa4);
        as_.alu(Alu::Sub, rdi, scratch0);
        as_.alu(Alu::Sub, rsi, scratch1);
    } else {
        as_.alu(Alu::Add, rdi, scratch1);
        repeat(width, 0xaa);
        as_.alu(Alu::Sub, rdi, scratch1);
    }
    site->resume = as_.here();
    cold_.push_back(stub);
    clobber_flags();
}

}  // namespace undercroft::translate
