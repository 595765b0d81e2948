// SPDX-License-Identifier: Apache-2.0
// From bytes to an Instruction. What was seen before, but for its displacement and immediate, is not decoded
// again.

#pragma once

#include "engine/translate/decode/instruction.hpp"
#include "engine/translate/decode/known_forms.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace undercroft::translate {

class Decoder {
public:
    Decoder();
    // Decodes the instruction at the start of `bytes`. False: not decodable within `bytes`. `user`: at
    // privilege level 3.
    bool decode(std::span<const std::byte> bytes, std::uint64_t rip, const Assumptions& assumptions,
                bool user, Instruction& out);

private:
    bool decode_new(std::span<const std::byte> bytes, bool user, Instruction& out);

    ZydisDecoder decoder_;
    Assumptions assumptions_;  // of what is known
    KnownForms known_;
};

}  // namespace undercroft::translate
