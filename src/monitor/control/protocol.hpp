// SPDX-License-Identifier: Apache-2.0
// What goes over the control socket: a line of JSON for each request, a line for each reply
// (docs/monitor.md). Lines are what anybody sends who may open the socket; reading them is strict.

#pragma once

#include "base/result.hpp"
#include "machine/machine_figures.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace undercroft::control {

inline constexpr std::size_t longest_request = 4096;       // bytes, with the line's end
inline constexpr std::size_t longest_reply = 1024 * 1024;  // the same

enum class Verb : std::uint8_t { List, Pause, Resume, Stop, Console, Balloon };

struct Request {
    Verb verb = Verb::List;
    std::string machine;      // of all verbs but List
    bool now = false;         // of Stop
    std::uint64_t bytes = 0;  // of Balloon

    bool operator==(const Request&) const = default;
};

struct MachineStatus {
    std::string name;
    std::string state;  // "loading", "running", "paused", "ended"
    unsigned processors = 0;
    std::uint64_t memory = 0;  // bytes
    double up = 0;             // seconds since it was started
    MachineFigures figures;
};

struct Reply {
    std::optional<std::string> error;  // why it was not done
    std::uint64_t process = 0;         // of List, like what follows: the monitor's process ID,
    double time = 0;                   // its clock, in seconds from some moment,
    std::uint64_t frames = 0;          // bytes of the host's memory that its machines have together,
    std::vector<MachineStatus> machines;
};

// Without the line's end. Errors: what is wrong.
Result<Request> parse_request(std::string_view line);
Result<Reply> parse_reply(std::string_view line);

// With it.
std::string line_of(const Request& request);
std::string line_of(const Reply& reply);

}  // namespace undercroft::control
