// SPDX-License-Identifier: Apache-2.0
#include "rows.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>

namespace undercroft {
namespace {

constexpr char escape = '\x1b';
constexpr char bell = '\a';
constexpr char backspace = '\b';
constexpr char erase = '\x7f';

// SGR: cyan, yellow, green, magenta, blue, red.
constexpr std::array<int, 6> colours{36, 33, 32, 35, 34, 31};

}  // namespace

Rows::Rows(const std::vector<std::string>& names, bool with_colours, std::string_view row_end)
    : row_end_{row_end} {
    std::size_t width = 0;
    for (const std::string& name : names) width = std::max(width, name.size());
    for (std::size_t n = 0; n < names.size(); ++n) {
        std::string prefix = fmt::format("{:<{}} | ", names[n], width);
        if (with_colours) prefix = fmt::format("\x1b[{}m{}\x1b[0m", colours[n % colours.size()], prefix);
        machines_.push_back({.prefix = std::move(prefix), .held = {}, .line = {}});
    }
}

// ECMA-48: ESC [ parameters final, ESC ] text BEL (or ESC \), and ESC with one or two bytes.
bool Rows::is_text(Machine& machine, char byte) const {
    switch (machine.sequence) {
        case Sequence::None: break;
        case Sequence::Escape:
            machine.sequence = byte == '['                  ? Sequence::Parameters
                               : byte == ']'                ? Sequence::Text
                               : byte >= ' ' && byte <= '/' ? Sequence::Escape
                                                            : Sequence::None;
            return false;
        case Sequence::Parameters:
            if (byte >= '@' && byte <= '~') machine.sequence = Sequence::None;
            return false;
        case Sequence::Text:
            if (byte == bell) machine.sequence = Sequence::None;
            if (byte == escape) machine.sequence = Sequence::Escape;
            return false;
    }
    if (byte == escape) machine.sequence = Sequence::Escape;
    bool control = (byte >= 0 && byte < ' ' && byte != '\t' && byte != backspace) || byte == erase;
    return !control;
}

std::string Rows::add(unsigned number, std::span<const std::byte> bytes) {
    std::string out;
    Machine& machine = machines_[number];
    bool held = !machine.held.empty();
    for (std::byte byte : bytes) {
        char text = static_cast<char>(byte);
        if (text == '\n') {
            machine.sequence = Sequence::None;
            print(number, out);
            out += end_row();
            machine.line.clear();
        } else if (is_text(machine, text)) {
            machine.held += text;
            if (machine.held.size() >= longest) print(number, out);
        }
    }
    if (number == eager_ && !machine.held.empty()) print(number, out);
    bool holds = !machine.held.empty();
    holding_ = holding_ + (holds ? 1 : 0) - (held ? 1 : 0);
    return out;
}

// What the machine holds goes behind its open row, or into a new one, which begins with what others' rows
// have cut off.
void Rows::print(unsigned number, std::string& out) {
    Machine& machine = machines_[number];
    if (open_ != number) {
        out += end_row();
        out += machine.prefix + machine.line;
        open_ = number;
    }
    for (char byte : machine.held) {
        if (byte == backspace && machine.line.empty()) continue;
        out += byte;
        if (byte == backspace)
            machine.line.pop_back();
        else
            machine.line += byte;
    }
    machine.held.clear();
    if (machine.line.size() > longest) machine.line.clear();
}

std::string Rows::flush() {
    std::string out;
    for (unsigned number = 0; number < machines_.size(); ++number) {
        if (!machines_[number].held.empty()) print(number, out);
    }
    holding_ = 0;
    return out;
}

std::string Rows::end_row() {
    if (!open_) return {};
    open_.reset();
    return row_end_;
}

}  // namespace undercroft
