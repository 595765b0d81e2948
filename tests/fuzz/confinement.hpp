// SPDX-License-Identifier: Apache-2.0
// Proves, for one translated block, the invariants 1 to 3 of docs/architecture.md from its emitted code
// alone:
//
//   * every memory operand is a field of the frame that such code may touch, or lies wholly within bytes that
//     a probe of the software TLB has checked, for this access mode and kind of access;
//   * nothing uses host rsp as a stack, calls, or changes state of the host's (host_instruction.cpp);
//   * no host address is ever in a register of the guest's between instructions that may leave the block, nor
//     stored to guest memory;
//   * control leaves only to the thunks and through the jump cache, and the records handed over describe the
//     probe that failed.
//
// The proof is an abstract interpretation of the code in the order of its addresses (abstract_state.hpp).
// Whoever changes what lowering emits extends it, with the argument why the new form is safe.

#pragma once

#include "engine/translate/runtime/translator.hpp"

#include <string>
#include <vector>

namespace undercroft::fuzz {

// The block must not have been linked or run yet. Empty: proven; else what could not be, and where.
// `targets`: where its direct exits go.
std::string unproven(const translate::Translator& translator, const translate::Block& block,
                     std::vector<std::uint64_t>* targets = nullptr);

// The same for code of any origin; for tests of the proof itself.
std::string unproven(const translate::Translator& translator, const translate::Block& block,
                     std::span<const std::byte> code);

}  // namespace undercroft::fuzz
