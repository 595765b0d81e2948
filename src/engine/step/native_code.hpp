// SPDX-License-Identifier: Apache-2.0
// NativeCode: the stubs that run guest instructions as themselves.
//
// A stub loads the registers and flags that the instruction names from the vCPU, executes the instruction
// with its memory operand replaced by [pointer], stores what was written, and returns. It is a C function:
// stub(vcpu, pointer).
//
//   mov rax,[rdi]            loads: the named registers, rsp as a value in another one
//   mov eax / add / sahf     flags, where the instruction reads or writes any
//   add rax,[rsi]            the instruction
//   mov [rdi],rax            stores
//   lahf; seto al; mov ...
//   ret
//
// XMM and YMM operands and MXCSR are loaded from and stored to vcpu.xsave; x87 and MMX state is the caller's
// business (guard.hpp). Stubs live in one region seen through two views, one writable and one executable.
// Equal stubs are shared. A full region is emptied: `generation` changes and all stubs handed out are void.

#pragma once

#include "base/fd.hpp"
#include "engine/step/instruction.hpp"

#include <Zydis/DecoderTypes.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>

namespace undercroft {

class NativeCode {
public:
    static constexpr std::size_t region_size = std::size_t{8} << 20;

    NativeCode();
    NativeCode(const NativeCode&) = delete;
    NativeCode& operator=(const NativeCode&) = delete;
    ~NativeCode();

    // Sets instruction.stub, .needs and .memory.alignment. False: not an instruction that can run like this.
    bool prepare(const ZydisDecodedInstruction& source, const ZydisDecodedOperand* operands,
                 Instruction& instruction);

    std::uint64_t generation() const { return generation_; }
    std::span<const std::byte> region() const { return {executable_, region_size}; }
    std::size_t used() const { return used_; }

private:
    NativeStub place(std::span<const std::uint8_t> code);

    Fd memory_;
    std::byte* writable_ = nullptr;
    std::byte* executable_ = nullptr;
    std::size_t used_ = 0;
    std::uint64_t generation_ = 0;
    std::unordered_map<std::string, std::size_t> known_;  // code -> offset
};

}  // namespace undercroft
