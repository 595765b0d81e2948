// SPDX-License-Identifier: Apache-2.0
// The translating engine: identity binary translation with the single-step executor as its fallback.

#pragma once

#include "base/result.hpp"
#include "engine/engine.hpp"
#include "engine/translate/runtime/translator.hpp"

#include <memory>

namespace undercroft {

// One engine per vCPU; `vcpu.mmu` must be set. Needs a host with BMI2, AVX and FSGSBASE usable in user mode.
// Errors: "the translator needs a processor with ...", "code cache: ...".
Result<std::unique_ptr<Engine>> make_translate_engine(Vcpu& vcpu, const translate::Options& options = {});

}  // namespace undercroft
