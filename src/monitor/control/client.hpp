// SPDX-License-Identifier: Apache-2.0
// Client: how the verbs of the command line speak to monitors.

#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"
#include "monitor/control/protocol.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace undercroft::control {

// How long one waits for a reply, and the error if none comes: unless it says something else, that nobody
// answers.
struct Patience {
    std::chrono::milliseconds time{2000};
    std::string error;
};

class Client {
public:
    static Result<Client> connect(const std::string& path);

    const std::string& path() const { return path_; }
    // A reply that says why not is an error, too.
    Result<Reply> ask(const Request& request, const Patience& patience = {});
    // After Verb::Console: the socket, on which bytes go both ways, and what has come already.
    struct Stream {
        Fd fd;
        std::string received;
    };
    Stream stream() && { return {std::move(fd_), std::move(received_)}; }

private:
    Client(std::string path, Fd fd) : path_{std::move(path)}, fd_{std::move(fd)} {}
    bool wait_for(short events, std::int64_t deadline_ms) const;  // false: it did not come

    std::string path_;
    Fd fd_;
    std::string received_;
};

struct Monitor {
    Client client;
    Reply machines;  // of Verb::List
};

// All monitors of this user that answer, or the one at `path`. What is wrong with others is appended to
// `complaints`.
std::vector<Monitor> all_monitors(const std::optional<std::string>& path, std::vector<Error>& complaints);

// The monitor that has a machine of this name. Errors: none has, or several have; at `path` nobody answers.
Result<Client> monitor_of(const std::string& machine, const std::optional<std::string>& path);

}  // namespace undercroft::control
