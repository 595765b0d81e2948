// SPDX-License-Identifier: Apache-2.0
#include "launch.hpp"

#include "base/fd.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstring>

extern char** environ;

namespace undercroft::bench {
namespace {

using Instant = std::chrono::steady_clock::time_point;

double seconds_since(Instant start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double seconds_of(const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

Result<pid_t> spawn(const std::vector<std::string>& command, int output) {
    std::vector<char*> arguments;
    for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    pid_t child = 0;
    int error = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return Error{std::strerror(error)}.in("'" + command[0] + "'");
    return child;
}

// Reads until the text has come (true), the output ends or the time is up.
bool wait_for(std::string_view text, int output, Instant start, double limit_s, Boot& boot) {
    std::array<char, 16384> block;
    std::string seen;
    while (boot.seconds < limit_s) {
        pollfd waiting{.fd = output, .events = POLLIN, .revents = 0};
        ::poll(&waiting, 1, static_cast<int>((limit_s - boot.seconds) * 1000) + 1);
        boot.seconds = seconds_since(start);
        if (waiting.revents == 0) continue;
        ssize_t count = ::read(output, block.data(), block.size());
        if (count <= 0) break;
        seen.append(block.data(), static_cast<std::size_t>(count));
        boot.seconds = seconds_since(start);
        if (seen.find(text) != std::string::npos) return true;
        if (seen.size() > 1000) seen.erase(0, seen.size() - 500);  // more than the text is long
        boot.end_of_output = seen;
    }
    return false;
}

}  // namespace

Result<Boot> boot_until(const std::vector<std::string>& command, std::string_view text, double limit_s) {
    std::array<int, 2> ends;
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return host_error().in("pipe");
    Fd output{ends[0]};
    Fd input{ends[1]};

    Boot boot;
    Instant start = std::chrono::steady_clock::now();
    auto child = spawn(command, input.get());
    if (!child) return std::move(child.error());
    input.reset();
    boot.reached = wait_for(text, output.get(), start, limit_s, boot);

    bool ended_itself = !boot.reached && boot.seconds < limit_s;
    if (!ended_itself) ::kill(*child, SIGKILL);
    int status = 0;
    rusage usage{};
    ::wait4(*child, &status, 0, &usage);
    boot.processor_s = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
    boot.peak_rss_mib = static_cast<double>(usage.ru_maxrss) / 1024;
    if (ended_itself) {
        return Error{"ended before '" + std::string{text} + "', having said:\n" + boot.end_of_output}.in(
            "'" + command[0] + "'");
    }
    return boot;
}

}  // namespace undercroft::bench
