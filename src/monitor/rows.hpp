// SPDX-License-Identifier: Apache-2.0
// Rows: the output of several consoles on one terminal, as rows that begin with a machine's name.
//
// A row holds what one machine printed, and control bytes cannot leave it: escape sequences and carriage
// returns are left out, so a guest can neither draw over others' rows nor forge their names. A line that has
// not ended is held back until it does, flush() is called, or it has `longest` bytes; the eager machine's is
// not, since somebody types there.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace undercroft {

class Rows {
public:
    static constexpr std::size_t longest = 1024;

    // With colours, each name has one. `row_end` is "\n" or "\r\n".
    Rows(const std::vector<std::string>& names, bool colours, std::string_view row_end);

    // Each returns what to print.
    std::string add(unsigned machine, std::span<const std::byte> bytes);
    std::string flush();    // lines that have not ended
    std::string end_row();  // something else will be printed

    void set_eager(unsigned machine) { eager_ = machine; }
    bool holds_something() const { return holding_ > 0; }

private:
    enum class Sequence : std::uint8_t { None, Escape, Parameters, Text };
    struct Machine {
        std::string prefix;
        std::string held;
        std::string line;  // what is shown of the line that has not ended
        Sequence sequence = Sequence::None;
    };

    bool is_text(Machine& machine, char byte) const;
    void print(unsigned machine, std::string& out);

    std::string row_end_;
    std::vector<Machine> machines_;
    std::optional<unsigned> eager_;
    std::optional<unsigned> open_;  // whose row has not ended
    std::size_t holding_ = 0;       // machines that hold something back
};

}  // namespace undercroft
