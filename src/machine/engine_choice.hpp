// SPDX-License-Identifier: Apache-2.0
// The one place that knows which engines there are.

#pragma once

#include "base/result.hpp"
#include "engine/engine.hpp"
#include "machine/guest_image.hpp"

#include <memory>

namespace undercroft {

// `vcpu` is connected and in its start state.
Result<std::unique_ptr<Engine>> make_engine(const EngineChoice& choice, Vcpu& vcpu);

}  // namespace undercroft
