// SPDX-License-Identifier: Apache-2.0
// A terminal of ours, with a program on it whose standard input, output and error output it is.

#pragma once

#include <sys/types.h>
#include <termios.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace undercroft {

class PseudoTerminal {
public:
    PseudoTerminal(unsigned rows, unsigned columns);
    ~PseudoTerminal();  // kills the program
    PseudoTerminal(const PseudoTerminal&) = delete;
    PseudoTerminal& operator=(const PseudoTerminal&) = delete;

    void start(const char* program, const std::vector<std::string>& arguments);
    void resize(unsigned rows, unsigned columns);
    void type(std::string_view bytes);
    // Reads until `text` appears after what earlier calls found; false on time-out or end.
    bool wait_for(std::string_view text, double seconds);
    // Reads to the end of output. Nothing: it died of a signal.
    std::optional<int> wait_for_exit();

    const std::string& output() const { return output_; }
    termios modes() const;

private:
    bool read_some(int timeout_ms);

    int ours_ = -1;
    int its_ = -1;
    pid_t pid_ = -1;
    std::string output_;
    std::size_t position_ = 0;
};

}  // namespace undercroft
