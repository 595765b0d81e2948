// SPDX-License-Identifier: Apache-2.0
#include "escape.hpp"

namespace undercroft {

void Escape::filter(std::span<const std::byte> typed, std::vector<std::byte>& guest,
                    const std::function<void(Command)>& command) {
    for (std::byte key : typed) {
        if (!after_prefix_) {
            after_prefix_ = key == prefix;
            if (!after_prefix_) guest.push_back(key);
            continue;
        }
        after_prefix_ = false;
        switch (static_cast<char>(key)) {
            case 'x': command(Command::End); break;
            case 'c': command(Command::Status); break;
            case 'h': command(Command::Help); break;
            case static_cast<char>(prefix): guest.push_back(prefix); break;
            default: guest.push_back(prefix); guest.push_back(key);
        }
    }
}

}  // namespace undercroft
