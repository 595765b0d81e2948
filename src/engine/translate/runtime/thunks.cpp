// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/runtime/thunks.hpp"

#include "engine/translate/runtime/frame.hpp"

#include <array>

namespace undercroft::translate {
namespace {

constexpr int r11 = scratch1;
constexpr int rcx = 1;
constexpr int rdx = 2;
constexpr int rbx = 3;
constexpr int rsi = 6;
constexpr int rdi = 7;
// Do helpers use vector registers in this build? See sources.cmake.
constexpr bool save_vectors = UNDERCROFT_SAVE_VECTORS != 0;

constexpr std::array<int, 6> callee_saved{3, 5, 12, 13, 14, 15};
constexpr std::array<int, 14> guest_registers{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15};

void save_guest(Assembler& as) {
    for (int reg : guest_registers) as.store(home(reg), reg);
}

void load_guest(Assembler& as) {
    for (int reg : guest_registers) as.load(reg, home(reg));
}

void push(Assembler& as, int reg) {
    if (reg >= 8) as.byte(0x41);
    as.byte(0x50u | (static_cast<unsigned>(reg) & 7));
}

void pop(Assembler& as, int reg) {
    if (reg >= 8) as.byte(0x41);
    as.byte(0x58u | (static_cast<unsigned>(reg) & 7));
}

// XSAVE or XRSTOR of everything that our XCR0 can hold: x87, SSE, AVX. Uses rax and rdx.
enum class VectorState : std::uint8_t { Save = 4, Restore = 5 };  // the opcode's extension

void vector_state(Assembler& as, VectorState what) {
    as.mov_imm(rax, 7);
    as.alu(Alu::Xor, rdx, rdx);
    as.op_rm(0, true, 0x0fae, static_cast<int>(what), vcpu_field(offsetof(Vcpu, xsave)));
}

HostCode emit_enter(Assembler& as) {
    HostCode entry = as.here();
    for (int reg : callee_saved) push(as, reg);
    as.alu_imm(Alu::Sub, rsp, 8);
    as.store(engine_field(offsetof(EngineFrame, host_rsp)), rsp);
    vector_state(as, VectorState::Restore);
    load_guest(as);
    as.jmp(engine_field(offsetof(EngineFrame, entry)));
    return entry;
}

// The guest's rounding modes, exception masks and stack of x87 registers end here. An x87 that is as FNINIT
// leaves it, as nearly always, is left alone: FNINIT takes longer than all else but XSAVE.
void to_host_vectors(Assembler& as) {
    constexpr std::size_t xstate_bv = 512;  // SDM vol. 1 section 13.4.2
    vector_state(as, VectorState::Save);
    as.op_rm(0, false, 0xf6, 0, vcpu_field(offsetof(Vcpu, xsave) + xstate_bv));  // test byte, x87
    as.byte(1);
    std::size_t is_initial = as.jcc(Condition::E);
    as.byte(0xdb);  // fninit
    as.byte(0xe3);
    as.bind(is_initial);
    as.op_rm(0, false, 0x0fae, 2, engine_field(offsetof(EngineFrame, host_mxcsr)));  // ldmxcsr
    as.byte(0xc5);                                                                   // vzeroupper
    as.byte(0xf8);
    as.byte(0x77);
}

HostCode emit_leave(Assembler& as) {
    HostCode leave = as.here();
    as.load(rsp, engine_field(offsetof(EngineFrame, host_rsp)));
    to_host_vectors(as);
    as.alu_imm(Alu::Add, rsp, 8);
    for (auto reg = callee_saved.rbegin(); reg != callee_saved.rend(); ++reg) pop(as, *reg);
    as.ret();
    return leave;
}

enum class Callee : std::uint8_t { GeneralRegistersOnly, Any };
enum class Gives : std::uint8_t { R10, Distance };

HostCode emit_call(Assembler& as, Callee callee, Gives gives) {
    HostCode call = as.here();
    save_guest(as);
    if (callee == Callee::Any)
        to_host_vectors(as);
    else if (save_vectors)
        vector_state(as, VectorState::Save);
    as.load(rsp, engine_field(offsetof(EngineFrame, host_rsp)));
    as.load(rdi, engine_field(offsetof(EngineFrame, vcpu)));
    as.mov(rsi, r11);
    as.mov(rdx, scratch0);
    if (gives == Gives::Distance) as.mov(rbx, scratch0);
    as.call(Mem{.base = r11});
    as.store(engine_field(offsetof(EngineFrame, resume)), rax);
    if (gives == Gives::Distance) as.alu(Alu::Sub, rdx, rbx);
    as.mov(gives == Gives::Distance ? r11 : scratch0, rdx);
    if (save_vectors || callee == Callee::Any) vector_state(as, VectorState::Restore);
    load_guest(as);
    if (gives == Gives::R10) as.mov_imm(r11, 0);
    as.jmp(engine_field(offsetof(EngineFrame, resume)));
    return call;
}

std::int32_t resume_in_site() {
    static const Site site;
    auto at = [](const void* place) { return reinterpret_cast<std::intptr_t>(place); };
    return static_cast<std::int32_t>(at(&site.resume) - at(static_cast<const Callback*>(&site)));
}

HostCode emit_missed(Assembler& as, AccessMode mode, Access access, Gives gives, HostCode call) {
    constexpr std::array<int, 3> used{rax, rcx, rdx};
    auto spill = [](std::size_t n) {
        return engine_field(offsetof(EngineFrame, thunk_spill) + n * sizeof(std::uint64_t));
    };
    auto restore = [&] {
        for (std::size_t n = 0; n < used.size(); ++n) as.load(used[n], spill(n));
    };
    std::size_t array = tlb_offset(mode);
    std::size_t tag = tag_offset(mode, access);
    std::size_t distance = array + offsetof(TlbEntry, distance);

    HostCode missed = as.here();
    for (std::size_t n = 0; n < used.size(); ++n) as.store(spill(n), used[n]);
    emit_entry_index(as, rcx, scratch0);
    as.mov(rdx, scratch0);
    as.alu_imm(Alu::And, rdx, -4096);
    as.alu(Alu::Cmp, rdx, Mem::frame_indexed(rcx, tag));
    std::size_t not_first = as.jcc(Condition::NE);
    as.alu_imm(Alu::Add, rdx, 4096);
    emit_entry_index(as, rax, rdx);
    as.alu(Alu::Cmp, rdx, Mem::frame_indexed(rax, tag));
    std::size_t not_second = as.jcc(Condition::NE);
    // Who walks through memory comes to the next page soon, in either direction.
    for (std::size_t entry : {array - 2 * sizeof(TlbEntry), array + 3 * sizeof(TlbEntry)})
        as.op_rm(0, false, 0x0f18, 1, Mem::frame_indexed(rcx, entry));  // prefetcht0
    as.load(rcx, Mem::frame_indexed(rcx, distance));
    as.alu(Alu::Cmp, rcx, Mem::frame_indexed(rax, distance));
    std::size_t apart = as.jcc(Condition::NE);
    as.load(rax, Mem{.base = r11, .disp = resume_in_site()});
    as.store(engine_field(offsetof(EngineFrame, resume)), rax);
    if (gives == Gives::R10) as.alu(Alu::Add, scratch0, rcx);
    if (gives == Gives::R10)
        as.mov_imm(r11, 0);
    else
        as.mov(r11, rcx);
    restore();
    as.jmp(engine_field(offsetof(EngineFrame, resume)));
    for (std::size_t jump : {not_first, not_second, apart}) as.bind(jump);
    restore();
    as.jmp(call);
    as.align(32);
    return missed;
}

}  // namespace

Thunks make_thunks(CodeMemory& memory, ThunkRecords& records) {
    Assembler as = memory.assemble(CodeMemory::Part::Hot);
    Thunks thunks;
    thunks.enter = emit_enter(as);
    as.align(32);
    thunks.leave = emit_leave(as);
    as.align(32);
    thunks.call = emit_call(as, Callee::GeneralRegistersOnly, Gives::R10);
    as.align(32);
    thunks.call_for_distance = emit_call(as, Callee::GeneralRegistersOnly, Gives::Distance);
    as.align(32);
    thunks.call_outside = emit_call(as, Callee::Any, Gives::R10);
    as.align(32);
    thunks.indirect_miss = as.here();
    as.mov_imm(r11, reinterpret_cast<std::uintptr_t>(&records.indirect_miss));
    as.jmp(thunks.call);
    as.align(32);
    thunks.attention = as.here();
    as.mov_imm(r11, reinterpret_cast<std::uintptr_t>(&records.attention));
    as.jmp(thunks.call);
    as.align(32);
    for (AccessMode mode : {AccessMode::User, AccessMode::Supervisor, AccessMode::SupervisorAc}) {
        for (Access access : {Access::Read, Access::Write}) {
            thunks.missed[Thunks::missed_index(mode, access)] = {
                emit_missed(as, mode, access, Gives::R10, thunks.call),
                emit_missed(as, mode, access, Gives::Distance, thunks.call_for_distance)};
        }
    }
    memory.take(CodeMemory::Part::Hot, as.size());
    return thunks;
}

}  // namespace undercroft::translate
