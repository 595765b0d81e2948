// SPDX-License-Identifier: Apache-2.0
// Instruction: one guest instruction, decoded down to what executing it needs.
//
// Made by decode.cpp from Zydis's far larger description, kept in the decode cache. Registers are numbers in
// encoding order. At most one memory operand; the implicit operands of string and stack instructions are
// known by heart where these are written out.

#pragma once

#include "x86/segment.hpp"

#include <array>
#include <cstdint>

namespace undercroft {

struct Context;
struct Vcpu;

// What executing an instruction came to.
enum class Outcome : std::uint8_t {
    Next,    // done; RIP is to move to the next instruction
    Jumped,  // done; RIP has been set
    Again,   // a repeated string instruction made progress; RIP stays, the rest is to be done
    Halted,  // HLT; RIP has been set
    Fault,   // context.trap is to be delivered; RIP stays
};

using Handler = Outcome (*)(Context&);
using NativeStub = void (*)(Vcpu* vcpu, void* memory);

enum class OperandKind : std::uint8_t {
    None,
    Register,  // a general register's low `size` bytes
    HighByte,  // AH, CH, DH, BH: `number` is that of RAX, RCX, RDX, RBX
    Memory,
    Immediate,
    Segment,
    Control,
    Debug,
    FarPointer,
    Vector,  // XMM or YMM
    Other,   // x87, MMX
};

struct Operand {
    OperandKind kind = OperandKind::None;
    std::uint8_t number = 0;
    std::uint16_t size = 0;  // bytes
};

// The address expression of a memory operand.
struct MemoryForm {
    static constexpr std::uint8_t none = 16;
    static constexpr std::uint8_t rip = 17;

    std::int64_t displacement = 0;  // of a direct address: the address
    std::uint8_t base = none;
    std::uint8_t index = none;  // a vector register's number in VSIB form
    std::uint8_t scale = 1;
    std::uint8_t address_size = 8;  // bytes: 2, 4, 8
    SegmentName segment = SegmentName::DS;
    bool reads = false;
    bool writes = false;
    std::uint16_t size = 0;          // bytes
    std::uint8_t alignment = 1;      // #GP unless the address is a multiple
    bool alignment_by_mode = false;  // ... or MXCSR.MM is set
    bool vector_index = false;       // VSIB: the index is a vector register's number
    bool bit_string = false;         // bt, bts, btr, btc with a register: the bit offset moves the address
};

// What must be enabled for the instruction, and which state a native run needs.
namespace Needs {
inline constexpr std::uint8_t X87 = 1;         // x87 or MMX state: loaded with xrstor
inline constexpr std::uint8_t Mmx = 2;         // names MMX registers
inline constexpr std::uint8_t Sse = 4;         // XMM registers or MXCSR, legacy encoding
inline constexpr std::uint8_t Avx = 8;         // XMM or YMM registers, VEX encoding
inline constexpr std::uint8_t Wait = 16;       // FWAIT
inline constexpr std::uint8_t Control = 32;    // an x87 instruction that leaves the instruction pointer alone
inline constexpr std::uint8_t NoPending = 64;  // #MF first, if an x87 exception is pending
inline constexpr std::uint8_t Vectors = Sse | Avx;
}  // namespace Needs

enum class CodeSize : std::uint8_t { Code16 = 2, Code32 = 4, Code64 = 8 };
enum class Repeat : std::uint8_t { None, WhileEqual, WhileNotEqual };  // F3 (also plain REP), F2

struct Instruction {
    std::uint64_t linear = ~0ull;  // where it was found; part of the cache key
    std::array<std::uint8_t, 16> bytes{};
    Handler execute = nullptr;
    NativeStub stub = nullptr;    // for the native handler
    std::uint64_t immediate = 0;  // sign-extended; for relative branches the displacement
    MemoryForm memory;
    std::array<Operand, 4> operand{};  // explicit and implicit ones, not hidden ones
    std::uint16_t mnemonic = 0;        // ZydisMnemonic
    std::uint16_t selector = 0;        // of a far pointer
    std::uint8_t length = 0;
    std::uint8_t operand_size = 4;  // bytes
    std::uint8_t address_size = 8;  // bytes
    std::uint8_t opcode = 0;        // the last opcode byte
    std::uint8_t immediate2 = 0;    // ENTER's second
    CodeSize code_size = CodeSize::Code64;
    Repeat repeat = Repeat::None;
    std::uint8_t needs = 0;
    bool lock = false;
    bool rex_w = false;
    bool vex = false;
    std::uint8_t vector_size = 0;           // VEX.L: 16 or 32 bytes
    SegmentName segment = SegmentName::DS;  // of a string instruction's source, or an override
};

}  // namespace undercroft
