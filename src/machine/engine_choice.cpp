// SPDX-License-Identifier: Apache-2.0
#include "engine_choice.hpp"

#include "engine/lockstep/engine.hpp"
#include "engine/step/step.hpp"
#include "engine/translate/engine.hpp"

namespace undercroft {

Result<std::unique_ptr<Engine>> make_engine(const EngineChoice& choice, Vcpu& vcpu) {
    switch (choice.kind) {
        case EngineKind::Step: return make_step_engine();
        case EngineKind::Lockstep: return make_lockstep_engine(vcpu, {.every = choice.lockstep_every});
        case EngineKind::Direct: return make_translate_engine(vcpu, {.direct = translate::DirectUse::Always});
        case EngineKind::Translate: break;
    }
    using translate::DirectUse;
    return make_translate_engine(vcpu,
                                 {.direct = choice.direct ? DirectUse::WhenComputing : DirectUse::Never});
}

}  // namespace undercroft
