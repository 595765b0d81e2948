// SPDX-License-Identifier: Apache-2.0
#include "log.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <utility>

namespace undercroft {
namespace {
constexpr std::array<std::string_view, 5> names{"error", "warn", "info", "debug", "trace"};
std::atomic<LogLevel> threshold{LogLevel::Warn};
std::atomic<const char*> line_end{"\n"};
thread_local std::string_view subject;
}  // namespace

void set_log_level(LogLevel level) noexcept { threshold = level; }
void set_log_line_end(const char* end) noexcept { line_end = end; }
LogLevel log_level() noexcept { return threshold.load(std::memory_order_relaxed); }

std::optional<LogLevel> parse_log_level(std::string_view name) {
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i] == name) return static_cast<LogLevel>(i);
    }
    return std::nullopt;
}

void log_line(LogLevel level, fmt::string_view format, fmt::format_args args) {
    fmt::memory_buffer line;
    fmt::format_to(fmt::appender(line), "undercroft: {}: ", names[static_cast<std::size_t>(level)]);
    if (!subject.empty()) fmt::format_to(fmt::appender(line), "{}: ", subject);
    fmt::vformat_to(fmt::appender(line), format, args);
    line.append(std::string_view{line_end.load()});
    // Nothing can be done about a log that cannot be written.
    [[maybe_unused]] auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

LogSubject::LogSubject(std::string_view name) noexcept : before_{std::exchange(subject, name)} {}
LogSubject::~LogSubject() { subject = before_; }
std::string_view LogSubject::current() noexcept { return subject; }

bool Once::first(std::uint64_t key) {
    std::lock_guard lock{mutex_};
    return seen_.size() < limit_ && seen_.insert(key).second;
}

}  // namespace undercroft
