// SPDX-License-Identifier: Apache-2.0
// A child process that one talks to: what it writes is read as it comes, and it can be told things.

#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"

#include <sys/resource.h>
#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace undercroft::bench {

// What a process has used, known when it has ended.
struct Usage {
    double processor_s = 0;   // user and system time
    double peak_rss_mib = 0;  // the kernel's high-water mark
};

class Process {
public:
    using Instant = std::chrono::steady_clock::time_point;

    // Runs command[0], looked up in PATH. Its standard input is a pipe from us, output and error together one
    // to us. It is killed when we end, however we end.
    static Result<Process> start(const std::vector<std::string>& command);
    Process(Process&& other) noexcept;
    Process& operator=(Process&&) = delete;
    ~Process();  // kills it if it still runs

    pid_t id() const { return id_; }
    Instant started() const { return started_; }

    // Waits until `text` has come. Returns all that nobody has taken yet, up to the end of `text`; nothing if
    // `limit_s` seconds pass or the output ends before: then rest() is what came instead.
    std::optional<std::string> take_until(std::string_view text, double limit_s);
    bool output_ended() const { return output_ended_; }
    const std::string& rest() const { return seen_; }

    Result<void> tell(std::string_view text);
    // Waits until it has ended by itself or `limit_s` seconds have passed; then, or at once with zero, kills
    // it.
    Usage end(double limit_s);

private:
    Process() = default;
    void read_some(double limit_s);

    pid_t id_ = 0;
    Instant started_;
    Fd input_, output_;
    std::string seen_;
    bool output_ended_ = false;
};

double seconds_since(Process::Instant start);

}  // namespace undercroft::bench
