// SPDX-License-Identifier: Apache-2.0
// The one place that knows which engines there are.

#pragma once

#include "base/result.hpp"
#include "engine/engine.hpp"
#include "machine/guest_image.hpp"

#include <memory>

namespace undercroft {

// `vcpu` is connected and in its start state. It may give up its thread when it spins in a loop with PAUSE.
Result<std::unique_ptr<Engine>> make_engine(const EngineChoice& choice, Vcpu& vcpu, bool yields_in_spins);

}  // namespace undercroft
