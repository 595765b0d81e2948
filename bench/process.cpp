// SPDX-License-Identifier: Apache-2.0
#include "process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

namespace undercroft::bench {
namespace {

double seconds_of(const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

struct Pipe {
    Fd read, write;

    static Result<Pipe> create() {
        std::array<int, 2> ends;
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) return host_error().in("pipe");
        return Pipe{Fd{ends[0]}, Fd{ends[1]}};
    }
};

// In the child, after fork. Tells errno through `failure` if there is no such program.
[[noreturn]] void become(const std::vector<std::string>& command, int input, int output, int failure) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(input, STDIN_FILENO);
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    int error = errno;
    [[maybe_unused]] ssize_t told = ::write(failure, &error, sizeof error);
    ::_exit(127);
}

}  // namespace

double seconds_since(Process::Instant start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Result<Process> Process::start(const std::vector<std::string>& command) {
    auto input = Pipe::create(), output = Pipe::create(), failure = Pipe::create();
    if (!input || !output || !failure) return host_error().in("pipe");
    ::signal(SIGPIPE, SIG_IGN);  // a child that has gone is an error of tell()

    Process process;
    process.started_ = std::chrono::steady_clock::now();
    process.id_ = ::fork();
    if (process.id_ < 0) return host_error().in("fork");
    if (process.id_ == 0) {
        ::signal(SIGPIPE, SIG_DFL);
        become(command, input->read.get(), output->write.get(), failure->write.get());
    }
    failure->write.reset();
    int error = 0;
    if (::read(failure->read.get(), &error, sizeof error) == sizeof error) {
        process.end(0);
        return Error{std::strerror(error)}.in("'" + command[0] + "'");
    }
    process.input_ = std::move(input->write);
    process.output_ = std::move(output->read);
    return process;
}

Process::Process(Process&& other) noexcept
    : id_{std::exchange(other.id_, 0)},
      started_{other.started_},
      input_{std::move(other.input_)},
      output_{std::move(other.output_)},
      seen_{std::move(other.seen_)},
      output_ended_{other.output_ended_} {}

Process::~Process() { end(0); }

void Process::read_some(double limit_s) {
    std::array<char, 16384> block;
    pollfd waiting{.fd = output_.get(), .events = POLLIN, .revents = 0};
    ::poll(&waiting, 1, static_cast<int>(std::max(limit_s, 0.0) * 1000) + 1);
    if (waiting.revents == 0) return;
    ssize_t count = ::read(output_.get(), block.data(), block.size());
    if (count > 0)
        seen_.append(block.data(), static_cast<std::size_t>(count));
    else
        output_ended_ = true;
}

std::optional<std::string> Process::take_until(std::string_view text, double limit_s) {
    Instant start = std::chrono::steady_clock::now();
    std::size_t searched = 0;
    for (;;) {
        std::size_t at = seen_.find(text, searched);
        if (at != std::string::npos) {
            std::string taken = seen_.substr(0, at + text.size());
            seen_.erase(0, at + text.size());
            return taken;
        }
        searched = seen_.size() - std::min(seen_.size(), text.size());
        double left = limit_s - seconds_since(start);
        if (output_ended_ || left <= 0) return std::nullopt;
        read_some(left);
    }
}

Result<void> Process::tell(std::string_view text) {
    while (!text.empty()) {
        ssize_t count = ::write(input_.get(), text.data(), text.size());
        if (count < 0) return host_error().in("write");
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    return {};
}

Usage Process::end(double limit_s) {
    if (id_ == 0) return {};
    Instant start = std::chrono::steady_clock::now();
    while (!output_ended_ && seconds_since(start) < limit_s) read_some(limit_s - seconds_since(start));
    if (!output_ended_) ::kill(id_, SIGKILL);
    int status = 0;
    rusage used{};
    ::wait4(std::exchange(id_, 0), &status, 0, &used);
    return {seconds_of(used.ru_utime) + seconds_of(used.ru_stime),
            static_cast<double>(used.ru_maxrss) / 1024};
}

}  // namespace undercroft::bench
