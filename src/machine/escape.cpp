// SPDX-License-Identifier: Apache-2.0
#include "escape.hpp"

namespace undercroft {

std::optional<Escape::Command> Escape::command_for(char key) const {
    bool several = machines_ > 1;
    if (key == 'x') return Command{Kind::End};
    if (key == 'c') return Command{Kind::Status};
    if (key == 'h' || (several && key == '?')) return Command{Kind::Help};
    bool digit = key >= '0' && key <= '9';
    if (several && digit && static_cast<unsigned>(key - '0') <= machines_)
        return Command{Kind::Choose, static_cast<unsigned>(key - '0')};
    return std::nullopt;
}

void Escape::filter(std::span<const std::byte> typed, std::vector<std::byte>& guest,
                    const std::function<void(Command)>& command) {
    for (std::byte key : typed) {
        if (!after_prefix_) {
            after_prefix_ = key == prefix;
            if (!after_prefix_) guest.push_back(key);
            continue;
        }
        after_prefix_ = false;
        if (auto found = command_for(static_cast<char>(key))) {
            command(*found);
        } else {
            guest.push_back(prefix);
            if (key != prefix) guest.push_back(key);
        }
    }
}

}  // namespace undercroft
