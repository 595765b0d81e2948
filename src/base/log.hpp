// SPDX-License-Identifier: Apache-2.0
// The log: one line per event on stderr, filtered by level.
//
//   log(LogLevel::Warn, "unclaimed port {:#x} read at rip {:#x}", port, rip);
//   if (once.first(port)) log(...);            // "the log says so once"
//
// Thread-safe: a line is written with a single write(2). Not for hot paths.

#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_set>

namespace undercroft {

enum class LogLevel : std::uint8_t { Error, Warn, Info, Debug, Trace };

void set_log_level(LogLevel level) noexcept;
LogLevel log_level() noexcept;
// What ends a line: "\n", or "\r\n" while standard error is a terminal in raw mode. A literal.
// async-signal-safe
void set_log_line_end(const char* end) noexcept;
std::optional<LogLevel> parse_log_level(std::string_view name);  // "error", "warn", "info", "debug", "trace"

void log_line(LogLevel level, fmt::string_view format, fmt::format_args args);

template <class... Args>
void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
    if (level <= log_level()) log_line(level, format, fmt::make_format_args(args...));
}

// Whom this thread works for: while it lives, the thread's lines begin with the name, if it has one. What
// works for the same on other threads takes the name along (current()).
class LogSubject {
public:
    explicit LogSubject(std::string_view name) noexcept;  // its bytes stay
    LogSubject(const LogSubject&) = delete;
    LogSubject& operator=(const LogSubject&) = delete;
    ~LogSubject();

    static std::string_view current() noexcept;

private:
    std::string_view before_;
};

// Remembers keys, so that each kind of event is reported once. Bounded: after `limit` keys all count as seen.
class Once {
public:
    explicit Once(std::size_t limit = 1024) : limit_{limit} {}
    bool first(std::uint64_t key);

private:
    std::mutex mutex_;
    std::size_t limit_;
    std::unordered_set<std::uint64_t> seen_;
};

}  // namespace undercroft
