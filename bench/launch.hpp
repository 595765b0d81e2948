// SPDX-License-Identifier: Apache-2.0
// Starts a program, waits for a text in its output, ends it: one measured boot.

#pragma once

#include "base/result.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace undercroft::bench {

struct Boot {
    bool reached = false;       // false: the time was up before the text came
    double seconds = 0;         // from just before the process is made to the text's last byte being read
    double processor_s = 0;     // user and system time of the process until it was ended
    double peak_rss_mib = 0;    // the kernel's high-water mark
    std::string end_of_output;  // its last few hundred bytes, for saying what went wrong
};

// Runs command[0] (looked up in PATH) with nothing on standard input, and standard output and error together
// searched for `text`. Ends the process when the text has come or `limit_s` seconds have passed. It is an
// error if the program cannot be started, or ends by itself before the text comes.
Result<Boot> boot_until(const std::vector<std::string>& command, std::string_view text, double limit_s);

}  // namespace undercroft::bench
