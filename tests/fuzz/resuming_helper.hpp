// SPDX-License-Identifier: Apache-2.0
// The helpers behind which emitted code goes on at the next instruction, and what they leave there.

#pragma once

#include "engine/translate/runtime/callbacks.hpp"

#include <cstdint>
#include <optional>

namespace undercroft::fuzz {

struct ResumingHelper {
    translate::CallbackFunction function;
    std::uint32_t changes = 0;  // registers of the guest's, a bit each in encoding order
    unsigned region = 0;        // r10 is the host address of so many checked bytes; zero: it is nothing
    bool operand = false;       // r10 + r11 is the host address of the site's operand
};

// Empty: the code behind a call from this site is reached in another way or never.
std::optional<ResumingHelper> resuming_helper(const translate::Site& site);

}  // namespace undercroft::fuzz
