// SPDX-License-Identifier: Apache-2.0
// Instructions that run as they are: same bytes, with the memory operand redirected to checked host memory
// and r10, r11 brought from and returned to their homes.
#include "engine/translate/lower/lowering.hpp"
#include "x86/prefixes.hpp"

namespace undercroft::translate {
namespace {

struct Borrowed {  // how an instruction uses a register that lives in the frame
    bool used = false;
    bool written = false;
};

Borrowed use_of(const Instruction& i, int reg) {
    return {.used = (i.named >> reg & 1) != 0, .written = (i.written >> reg & 1) != 0};
}

bool names(const Instruction& i, int reg) { return use_of(i, reg).used; }

// A register without REX that the instruction does not name, to lend as a base.
int lendable(const Instruction& i) {
    for (int reg : {3, 6, 7, 1, 2}) {
        if (!names(i, reg)) return reg;
    }
    CHECK(false, "an instruction names every register");
    return -1;
}

bool is_dropped_prefix(std::uint8_t prefix) {
    return is_segment_prefix(prefix) || is_address_size_prefix(prefix);
}

Access access_of(const Instruction& i) {
    return (i.memory()->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0 ? Access::Write : Access::Read;
}

// A base register and a small displacement: the access may name them as it does.
bool is_by_base(const Instruction& i) {
    const auto& m = i.memory()->mem;
    int base = m.base == ZYDIS_REGISTER_NONE || m.base == ZYDIS_REGISTER_RIP ? -1 : gpr_number(m.base);
    bool in_host = base >= 0 && base != scratch0 && base != scratch1;
    bool by_segment = m.segment == ZYDIS_REGISTER_FS || m.segment == ZYDIS_REGISTER_GS;
    return in_host && m.index == ZYDIS_REGISTER_NONE && !by_segment && i.address_width == 64 &&
           m.disp >= -128 && m.disp <= 127;
}

// D8 to DF without their common bits, and ModRM.
std::uint16_t x87_opcode(const Instruction& i) {
    if ((i.opcode & 0xf8) != 0xd8 || i.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT) return 0;
    return static_cast<std::uint16_t>((i.opcode & 7) << 8 | i.bytes[i.modrm_offset]);
}

constexpr Mem lent_register = engine_field(offsetof(EngineFrame, spill));

}  // namespace

void Lowering::copy(const Instruction& i) {
    if (i.mnemonic == ZYDIS_MNEMONIC_LEA) {
        lea(i);
    } else if (block_.variant == Variant::Crossing) {
        copy_across(i);
        return;
    } else if (i.memory() != nullptr) {
        copy_with_memory(i);
    } else {
        copy_registers(i);
    }
    if (i.flags.modifies) flags_written();
}

void Lowering::note_fault_point(const Instruction& i, std::size_t begin, int lent) {
    bool may_signal = i.mnemonic == ZYDIS_MNEMONIC_DIV || i.mnemonic == ZYDIS_MNEMONIC_IDIV ||
                      i.isa_ext != ZYDIS_ISA_EXT_BASE;
    if (!may_signal && !i.has_prefix(ZYDIS_ATTRIB_HAS_LOCK)) return;
    fault_points_.push_back({.begin = static_cast<std::uint32_t>(memory_.offset_of(as_.address(begin))),
                             .end = static_cast<std::uint32_t>(memory_.offset_of(as_.here())),
                             .flags_in_host = in_host_,
                             .lent = static_cast<std::int8_t>(lent),
                             .remaining = static_cast<std::uint8_t>(remaining_),
                             .x87_opcode = x87_opcode(i),
                             .rip = i.rip});
}

void Lowering::emit_bytes(const Instruction& i) {
    for (unsigned n = 0; n < i.length; ++n) as_.byte(i.bytes[n]);
}

void Lowering::copy_registers(const Instruction& i) {
    Borrowed low = use_of(i, scratch0);
    Borrowed high = use_of(i, scratch1);
    prepare_flags_for(i, true);
    if (low.used) as_.load(scratch0, home(scratch0));
    if (high.used) {
        take_scratch1();
        as_.load(scratch1, home(scratch1));
    }
    std::size_t begin = as_.size();
    emit_bytes(i);
    note_fault_point(i, begin, -1);
    if (low.written) as_.store(home(scratch0), scratch0);
    if (high.written) as_.store(home(scratch1), scratch1);
}

void Lowering::lea(const Instruction& i) {
    // RIP-relative or with r10, r11: compute by hand; otherwise the bytes do.
    const auto& m = i.operand[1].mem;
    int to = gpr_number(i.operand[0].reg);
    auto at_home = [](ZydisRegister reg) {
        int number = gpr_number(reg);
        return number == scratch0 || number == scratch1;
    };
    bool by_hand = m.base == ZYDIS_REGISTER_RIP || m.base == ZYDIS_REGISTER_EIP || to == scratch0 ||
                   to == scratch1 || at_home(m.base) || at_home(m.index);
    if (!by_hand) {
        emit_bytes(i);
        return;
    }
    MemoryOperand plain = m;
    plain.segment = ZYDIS_REGISTER_DS;
    effective_address(i, plain);
    bool is_home = to == scratch0 || to == scratch1;
    if (i.operand_width == 64) {
        if (is_home)
            as_.store(home(to), scratch0);
        else
            as_.mov(to, scratch0);
    } else if (i.operand_width == 32) {
        as_.mov32(is_home ? scratch0 : to, scratch0);
        if (is_home) as_.store(home(to), scratch0);
    } else if (is_home) {
        as_.store16(home(to), scratch0);
    } else {
        as_.op_rr(0x66, false, 0x8b, to, scratch0);
    }
}

void Lowering::copy_with_memory(const Instruction& i) {
    const auto& operand = *i.memory();
    Mem checked{.base = scratch0, .index = scratch1};
    if (i.group >= 0) {
        if (leaves_x87_operand(i)) effective_address(i, operand.mem);
        checked =
            reach_in_group(i, gpr_number(operand.mem.base), static_cast<std::int32_t>(operand.mem.disp));
    } else if (is_by_base(i) && !leaves_x87_operand(i)) {
        save_flags(live_before(i));
        checked = check_by_base(i, access_of(i), operand.size / 8u, gpr_number(operand.mem.base),
                                static_cast<std::int32_t>(operand.mem.disp));
    } else {
        save_flags(live_before(i));
        effective_address(i, operand.mem);
        check(i, access_of(i), operand.size / 8u);
    }
    run_on(i, checked);
}

void Lowering::run_on(const Instruction& i, const Mem& checked) {
    Borrowed low = use_of(i, scratch0);
    Borrowed high = use_of(i, scratch1);
    int lent = -1;
    Mem to = place_operand(i, checked, lent);
    prepare_flags_for(i, to.base != scratch1 && to.index != scratch1);
    if (low.used) as_.load(scratch0, home(scratch0));
    if (high.used) {
        take_scratch1();
        as_.load(scratch1, home(scratch1));
    }
    std::size_t begin = as_.size();
    emit_with_memory(i, to);
    note_fault_point(i, begin, lent);
    if (leaves_x87_operand(i)) {
        as_.load(scratch0, engine_field(offsetof(EngineFrame, next_x87_operand)));
        as_.store(engine_field(offsetof(EngineFrame, x87_operand)), scratch0);
    }
    if (lent >= 0) as_.load(lent, lent_register);
    if (low.written) as_.store(home(scratch0), scratch0);
    if (high.written) as_.store(home(scratch1), scratch1);
}

// The register's high bits select an operand-sized unit around the address, its low bits a bit of it.
void Lowering::bit_string(const Instruction& i) {
    const auto& operand = *i.memory();
    bool wide = i.operand_width == 64;
    int source = gpr_number(i.operand[1].reg);
    bool at_home = source == scratch0 || source == scratch1;
    save_flags(live_before(i));
    effective_address(i, operand.mem);
    if (at_home) as_.load(scratch1, home(source));
    int bit = at_home ? scratch1 : source;
    if (wide)
        as_.mov(scratch1, bit);
    else
        as_.movsxd(scratch1, bit);
    as_.sar_imm(scratch1, wide ? 6 : 5);
    as_.lea(scratch0, Mem{.base = scratch0, .index = scratch1, .scale = wide ? 3u : 2u});
    check(i, access_of(i), wide ? 8 : 4);
    as_.lea(scratch0, Mem{.base = scratch0, .index = scratch1});
    if (at_home)
        as_.load32(scratch1, home(source));
    else
        as_.mov32(scratch1, source);
    as_.alu32_imm(Alu::And, scratch1, wide ? 63 : 31);
    if ((i.live_after & ~i.flags.written) != 0) need_flags_keeping_scratch();
    if (i.has_prefix(ZYDIS_ATTRIB_HAS_LOCK)) as_.byte(0xf0);
    as_.op_rm(0, wide, 0x0f00u | i.opcode, scratch1, Mem{.base = scratch0});
    flags_written();
}

// An addressing form that leaves free the registers the instruction itself names: r10 and r11 when they are
// operands, and everything that needs REX beside a high-byte register.
Mem Lowering::place_operand(const Instruction& i, const Mem& checked, int& lent) {
    bool low = names(i, scratch0);
    bool high = names(i, scratch1);
    if ((low && high) || i.high_byte) {
        lent = lendable(i);
        as_.store(lent_register, lent);
        as_.lea(lent, checked);
        return Mem{.base = lent};
    }
    bool uses_low = checked.base == scratch0;
    if (high || (low && uses_low)) {
        int base = high ? scratch0 : scratch1;
        if (base == scratch1) take_scratch1();
        as_.lea(base, checked);
        return Mem{.base = base};
    }
    return checked;
}

// The instruction's bytes with its memory operand replaced by host memory.
void Lowering::emit_with_memory(const Instruction& i, const Mem& to) {
    int base = to.base;
    int index = to.index;
    const auto* bytes = i.bytes.data();
    for (unsigned n = 0; n < i.prefix_count; ++n) {
        std::uint8_t prefix = bytes[n];
        bool is_rex = (prefix & 0xf0) == 0x40;  // no legacy prefix looks like one
        // A repeated one is left out, or the instruction could grow beyond the fifteen bytes that it may
        // have.
        bool comes_again = false;
        for (unsigned later = n + 1; later < i.prefix_count; ++later)
            comes_again = comes_again || bytes[later] == prefix;
        if (!is_rex && !is_dropped_prefix(prefix) && !comes_again) as_.byte(prefix);
    }
    bool x = index != Mem::none && (index & 8) != 0;
    bool b = (base & 8) != 0;
    unsigned opcode_begin = 0;
    if (i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
        unsigned at = i.vex_offset;
        bool two_byte = bytes[at] == 0xc5;
        unsigned second = two_byte ? (bytes[at + 1] & 0x80u) | 1u : bytes[at + 1] & 0x9fu;
        unsigned third = two_byte ? bytes[at + 1] & 0x7fu : bytes[at + 2];
        second = (second & 0x9fu) | (x ? 0 : 0x40u) | (b ? 0 : 0x20u);
        as_.byte(0xc4);
        as_.byte(second);
        as_.byte(third);
        opcode_begin = at + (two_byte ? 2 : 3);
    } else {
        bool has_rex = (i.attributes & ZYDIS_ATTRIB_HAS_REX) != 0;
        unsigned bits = has_rex ? bytes[i.rex_offset] & 0x0cu : 0;
        // REX.R extends ModRM.reg, and nothing where the guest's bytes have none.
        if ((i.attributes & ZYDIS_ATTRIB_HAS_MODRM) == 0) bits &= 8u;
        bits |= (x ? 2u : 0u) | (b ? 1u : 0u);
        if (bits != 0 || has_rex) {
            CHECK(!i.high_byte, "REX would rename a high-byte register");
            as_.byte(0x40 | bits);
        }
        opcode_begin = has_rex ? i.rex_offset + 1u : i.prefix_count;
    }
    if ((i.attributes & ZYDIS_ATTRIB_HAS_MODRM) == 0) {
        // A0 to A3, MOV between rax and an absolute address: the same with ModRM.
        constexpr std::array<std::uint8_t, 4> with_modrm{0x8a, 0x8b, 0x88, 0x89};
        CHECK((i.opcode & 0xfc) == 0xa0, "an access without ModRM");
        as_.byte(with_modrm[i.opcode & 3]);
        as_.modrm(0, to);
        return;
    }
    for (unsigned n = opcode_begin; n < i.modrm_offset; ++n) as_.byte(bytes[n]);
    as_.modrm(bytes[i.modrm_offset] >> 3 & 7, to);
    for (unsigned n = i.operand_end; n < i.length; ++n) as_.byte(bytes[n]);
}

}  // namespace undercroft::translate
