// SPDX-License-Identifier: Apache-2.0
#include "exec/kernel_log.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace undercroft {

Result<std::unique_ptr<KernelLog>> KernelLog::open(bool shown) {
    std::array<int, 2> ends;
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return host_error();
    return std::unique_ptr<KernelLog>{new KernelLog{Fd{ends[0]}, Fd{ends[1]}, shown}};
}

KernelLog::KernelLog(Fd read_end, Fd write_end, bool shown)
    : read_end_{std::move(read_end)}, write_end_{std::move(write_end)}, shown_{shown}, thread_{[this] {
          run();
      }} {}

KernelLog::~KernelLog() { finish(); }

void KernelLog::run() {
    std::array<char, 4096> bytes;
    for (;;) {
        ssize_t count = ::read(read_end_.get(), bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return;
        if (shown_) (void)!::write(STDERR_FILENO, bytes.data(), static_cast<std::size_t>(count));
        text_.append(bytes.data(), static_cast<std::size_t>(count));
        if (text_.size() > 2 * most_kept) text_.erase(0, text_.size() - most_kept);
    }
}

std::string KernelLog::finish() {
    write_end_.reset();
    if (thread_.joinable()) thread_.join();
    return shown_ ? "" : what_matters(text_);
}

std::string KernelLog::what_matters(std::string_view log) {
    std::size_t end = log.size() < most_shown ? 0 : log.find('\n', log.size() - most_shown) + 1;
    std::string text;
    std::size_t panic = log.rfind("Kernel panic");
    if (panic < end) {  // what comes behind it is a long story
        std::size_t line = log.rfind('\n', panic) + 1;
        text = std::string{log.substr(line, log.find('\n', panic) - line)} + "\n...\n";
    }
    return text.append(log.substr(end));
}

}  // namespace undercroft
