// SPDX-License-Identifier: Apache-2.0
// One decoded guest instruction, reduced to what translation asks of it.
//
// Decoding is Zydis's, whose terms stay; classification (which lowering handles the instruction), the flag
// effects, and what is remembered of instructions seen before (known_forms.hpp) are ours. 64-bit mode only.

#pragma once

#include "engine/translate/decode/registers.hpp"

#include <Zydis/Zydis.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace undercroft::translate {

// Which lowering an instruction goes to.
enum class Kind : std::uint8_t {
    Copy,       // runs as it is, with its memory operand redirected
    BitString,  // bt [m], r and kin: the bit may lie anywhere around the operand
    Nop,        // no effect at all
    Push,
    Pop,
    Leave,
    CallDirect,
    CallIndirect,
    Return,
    JumpDirect,
    JumpIndirect,
    JumpConditional,
    Cli,
    Sti,
    StacClac,
    PushFlags,
    ReadTsc,
    ReadSystem,  // mov r, sreg; mov r, cr0/2/3/4; rdfsbase, rdgsbase: a field of the vCPU
    WriteCr3,
    WriteSegmentBase,  // wrfsbase, wrgsbase
    SwapGs,
    String,  // rep movs, rep stos
    Syscall,
    Sysret,
    InterruptReturn,
    PopFlags,
    Helper,          // done by a callback, see lower/helper.cpp
    HelperEnds,      // the same, where what comes next has to be looked up
    SaveVectors,     // xsave, xsaveopt
    RestoreVectors,  // xrstor
    Step,            // left to the single-step executor
};

// Bits of arithmetic flags, at their places in RFLAGS.
struct FlagEffects {
    std::uint32_t read = 0;
    std::uint32_t written = 0;  // always given a new value (defined or not)
    bool modifies = false;      // may change some, if not always (a shift by cl)
    bool shown = false;         // the monitor or the guest sees the whole register: it must be in the frame
    bool touches = false;       // anything at all: the host's flags must be the guest's before
};

// Where a trace goes on after a branch; the other way is one out of it.
enum class Follow : std::uint8_t {
    Nothing,  // no branch, or the block ends here
    Next,     // not taken
    Taken,    // to branch_target(); of a return, to `predicted`
};

struct MemoryOperand {
    ZydisMemoryOperandType type : 8;
    std::uint8_t scale;
    ZydisRegister segment : 16;
    ZydisRegister base : 16;
    ZydisRegister index : 16;
    std::int64_t disp;
};

struct Operand {
    ZydisOperandType type : 8;
    ZydisOperandActions actions;
    std::uint16_t size;      // in bits
    ZydisRegister reg : 16;  // each of these three: if it is of that type
    MemoryOperand mem;
    std::int64_t imm;
};

// What an instruction's bytes alone say, but for its operands.
struct Form {
    ZydisMnemonic mnemonic : 16;
    ZydisInstructionCategory category : 16;
    ZydisISAExt isa_ext : 8;
    ZydisExceptionClass exception_class : 8;
    ZydisBranchType branch_type : 8;
    ZydisInstructionEncoding encoding : 8;
    ZydisOpcodeMap opcode_map : 8;
    std::uint8_t opcode;
    std::uint8_t length;
    std::uint8_t operand_width;
    std::uint8_t address_width;
    std::uint8_t operand_count;
    std::uint8_t operand_count_visible;
    std::uint8_t prefix_count;  // REX included
    std::uint8_t rex_offset;    // in the bytes; each of these three: if there is one
    std::uint8_t vex_offset;
    std::uint8_t modrm_offset;
    std::uint8_t operand_end;    // of what ModRM begins: what comes after it, SIB and displacement
    std::int8_t memory_operand;  // index of the explicit memory operand that is really accessed, or -1
    bool high_byte;              // names ah, ch, dh or bh: cannot take a REX prefix
    bool on_x87_state;           // x87 or MMX: raises #MF first, if an exception is pending
    bool may_fault;              // may reach the monitor or a fault: exact flags are wanted here
    Kind kind;
    std::uint16_t named;    // general registers that are operands, a bit each; those of addresses are not
    std::uint16_t written;  // those of them that may be
    ZydisInstructionAttributes attributes;
    const ZydisAccessedFlags* cpu_flags;
    FlagEffects flags;

    bool has_prefix(ZydisInstructionAttributes attribute) const { return (attributes & attribute) != 0; }
};

struct Instruction : Form {
    std::array<std::uint8_t, 16> bytes;
    std::uint64_t rip;
    std::int8_t group;  // of accesses that share a check (merge_accesses)
    bool leads_group;
    std::int32_t group_shift;  // its base register minus the leader's
    Follow follow;
    std::uint64_t predicted;   // where a followed return goes
    std::uint32_t exit_live;   // flags that may be read where a followed branch does not go
    std::uint32_t live_after;  // flags that may be read after this instruction (analyse fills it in)
    std::array<Operand, ZYDIS_MAX_OPERAND_COUNT> operand;

    std::uint64_t next_rip() const { return rip + length; }
    const Operand* memory() const {
        return memory_operand < 0 ? nullptr : &operand[static_cast<std::size_t>(memory_operand)];
    }
    // The target of a direct branch.
    std::uint64_t branch_target() const { return next_rip() + static_cast<std::uint64_t>(operand[0].imm); }
};

// What the guest's control registers let translated code assume; a change of any of these discards all
// translations.
struct Assumptions {
    bool vector_usable = false;  // CR0.EM, TS clear; CR4.OSFXSR set
    bool avx_usable = false;     // and CR4.OSXSAVE, XCR0.AVX
    bool xsave_usable = false;   // CR4.OSXSAVE, CR0.TS clear
    bool user_tsc = true;        // CR4.TSD clear
    bool smap = false;
    bool fsgsbase = false;
    bool operator==(const Assumptions&) const = default;
};

// ends a block: no instruction after it belongs to the same block.
constexpr bool ends_block(Kind kind) {
    switch (kind) {
        case Kind::CallDirect:
        case Kind::CallIndirect:
        case Kind::Return:
        case Kind::JumpDirect:
        case Kind::JumpIndirect:
        case Kind::JumpConditional:
        case Kind::StacClac:
        case Kind::WriteCr3:
        case Kind::Syscall:
        case Kind::Sysret:
        case Kind::InterruptReturn:
        case Kind::PopFlags:
        case Kind::HelperEnds:
        case Kind::Step: return true;
        default: return false;
    }
}

}  // namespace undercroft::translate
