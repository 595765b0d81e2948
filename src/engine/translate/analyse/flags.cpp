// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/analyse/flags.hpp"

#include "x86/registers.hpp"

namespace undercroft::translate {

std::uint32_t analyse_flags(std::span<Instruction> block, std::uint32_t live_out, FlagPrecision precision) {
    std::uint32_t live = live_out;
    for (auto i = block.rbegin(); i != block.rend(); ++i) {
        live |= i->exit_live;
        i->live_after = live;
        live = (live & ~i->flags.written) | i->flags.read;
        if (precision == FlagPrecision::Exact && i->may_fault) i->flags.shown = true;
        if (i->flags.shown) live = static_cast<std::uint32_t>(RFLAGS::Arithmetic);
    }
    return live;
}

}  // namespace undercroft::translate
