// SPDX-License-Identifier: Apache-2.0
#include "output_log.hpp"

#include "base/log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace undercroft {

// Only regular files: nobody waits for who reads a pipe.
Result<OutputLog> OutputLog::open(const std::string& path) {
    std::string name = "log file '" + path + "'";
    Fd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0666)};
    if (!file) return host_error().in(name);
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return host_error().in(name);
    if (!S_ISREG(status.st_mode)) return Error{"not a regular file"}.in(name);
    return OutputLog{path, std::move(file)};
}

void OutputLog::add(std::span<const std::byte> bytes) {
    while (file_ && !bytes.empty()) {
        ssize_t n = ::write(file_.get(), bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            log(LogLevel::Warn, "log file '{}': {}; no more is written to it", path_, host_error().message);
            file_.reset();
            return;
        }
        bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
}

}  // namespace undercroft
