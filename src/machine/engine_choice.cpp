// SPDX-License-Identifier: Apache-2.0
#include "engine_choice.hpp"

#include "engine/step/step.hpp"

#if __has_include("engine/translate/engine.hpp")
#include "engine/translate/engine.hpp"
#endif

namespace undercroft {

Result<std::unique_ptr<Engine>> make_engine(EngineKind kind, [[maybe_unused]] Vcpu& vcpu) {
    if (kind == EngineKind::Step) return make_step_engine();
#if __has_include("engine/translate/engine.hpp")
    return make_translate_engine(vcpu);
#else
    return Error{"engine 'translate' is not in this build; use --engine step"};
#endif
}

}  // namespace undercroft
