// SPDX-License-Identifier: Apache-2.0
// One decoded guest instruction, reduced to what translation asks of it.
//
// Decoding is Zydis's; classification (which lowering handles the instruction) and the flag effects are ours.
// 64-bit mode only.

#pragma once

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

struct Instruction {
    ZydisDecodedInstruction raw;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operand;
    std::array<std::uint8_t, 16> bytes;
    std::uint64_t rip = 0;
    Kind kind = Kind::Step;
    FlagEffects flags;
    std::int8_t memory_operand = -1;  // index of the explicit memory operand that is really accessed, or -1
    bool high_byte = false;           // names ah, ch, dh or bh: cannot take a REX prefix
    bool on_x87_state = false;        // x87 or MMX: raises #MF first, if an exception is pending
    bool may_fault = false;           // may reach the monitor or a fault: exact flags are wanted here
    std::int8_t group = -1;           // of accesses that share a check (merge_accesses)
    bool leads_group = false;
    std::int32_t group_shift = 0;  // its base register minus the leader's
    Follow follow = Follow::Nothing;
    std::uint64_t predicted = 0;   // where a followed return goes
    std::uint32_t exit_live = 0;   // flags that may be read where a followed branch does not go
    std::uint32_t live_after = 0;  // flags that may be read after this instruction (analyse fills it in)

    std::uint64_t next_rip() const { return rip + raw.length; }
    bool has_prefix(ZydisInstructionAttributes attribute) const { return (raw.attributes & attribute) != 0; }
    const ZydisDecodedOperand* memory() const {
        return memory_operand < 0 ? nullptr : &operand[static_cast<std::size_t>(memory_operand)];
    }
    // The target of a direct branch.
    std::uint64_t branch_target() const {
        return next_rip() + static_cast<std::uint64_t>(raw.raw.imm[0].value.s);
    }
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

class Decoder {
public:
    Decoder();
    // Decodes the instruction at the start of `bytes`. False: not decodable within `bytes`.
    bool decode(std::span<const std::byte> bytes, std::uint64_t rip, const Assumptions& assumptions,
                bool user, Instruction& out) const;

private:
    ZydisDecoder decoder_;
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
