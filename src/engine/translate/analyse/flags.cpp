// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/analyse/flags.hpp"

#include "x86/registers.hpp"

namespace undercroft::translate {

std::uint32_t analyse_flags(std::span<Instruction> block, std::uint32_t live_out, FlagPrecision precision) {
    std::uint32_t live = live_out;
    for (auto i = block.rbegin(); i != block.rend(); ++i) {
        i->live_after = live;
        live = (live & ~i->flags.written) | i->flags.read;
        // Instructions that the monitor executes or delivers see the whole register.
        bool reader = (i->kind != Kind::Copy && i->kind != Kind::Nop && ends_block(i->kind) &&
                       (i->kind == Kind::Step || i->kind == Kind::Syscall)) ||
                      i->kind == Kind::PushFlags || (precision == FlagPrecision::Exact && i->may_fault);
        if (reader) live = static_cast<std::uint32_t>(RFLAGS::Arithmetic);
    }
    return live;
}

}  // namespace undercroft::translate
