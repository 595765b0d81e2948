// SPDX-License-Identifier: Apache-2.0
// KernelLog: what a machine's console prints while it runs a command: passed on to standard error if that is
// wished, and its end kept, to say what went wrong.

#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <thread>

namespace undercroft {

class KernelLog {
public:
    static Result<std::unique_ptr<KernelLog>> open(bool shown);
    ~KernelLog();

    // For TenantOptions::console.
    std::string console() const { return "file:/proc/self/fd/" + std::to_string(write_end_.get()); }
    // When the machine is gone: see what_matters(). Nothing if it was shown.
    std::string finish();

    // The last lines of a log, and what a panic said before them.
    static std::string what_matters(std::string_view log);

private:
    static constexpr std::size_t most_kept = 64 * 1024;
    static constexpr std::size_t most_shown = 2048;

    KernelLog(Fd read_end, Fd write_end, bool shown);
    void run();

    Fd read_end_;
    Fd write_end_;
    bool shown_;
    std::string text_;  // of the thread, until it has ended
    std::thread thread_;
};

}  // namespace undercroft
