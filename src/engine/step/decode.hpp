// SPDX-License-Identifier: Apache-2.0
// Decoder: instruction bytes -> Instruction, with its handler and, where it runs natively, its stub.
//
// Source: Intel SDM vol. 2A chapter 2. What CPUID does not show decodes as Undefined.

#pragma once

#include "engine/step/instruction.hpp"
#include "engine/step/isa.hpp"

#include <Zydis/Decoder.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace undercroft {

class NativeCode;

enum class DecodeStatus : std::uint8_t {
    Ok,
    Incomplete,  // more bytes are needed
    TooLong,     // over 15 bytes: #GP
    Undefined,   // #UD, as every processor like ours gives (UD2, a lock prefix out of place)
    Unknown,     // #UD because we lack the instruction, or CPUID hides it
};

class Decoder {
public:
    explicit Decoder(NativeCode& native);

    // From the CPUID table of this vCPU: what it shows, and whether 16-bit near branches are AMD's.
    void configure(const Vcpu& vcpu);

    // Fills everything but `linear`. `bytes` holds at most 15.
    DecodeStatus decode(std::span<const std::uint8_t> bytes, CodeSize code_size, Instruction& out);

private:
    ZydisDecoder& decoder_for(CodeSize code_size);

    NativeCode& native_;
    IsaSets shown_;
    bool amd_ = false;
    ZydisDecoder decoder_[3];
};

}  // namespace undercroft
