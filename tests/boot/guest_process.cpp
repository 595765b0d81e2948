// SPDX-License-Identifier: Apache-2.0
#include "guest_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

namespace undercroft {

namespace {

using Clock = std::chrono::steady_clock;

class Deadline {
public:
    explicit Deadline(double seconds)
        : end_{Clock::now() +
               std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>{seconds})} {}
    int left_ms() const {
        auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end_ - Clock::now()).count();
        return static_cast<int>(std::max<decltype(left)>(left, 0));
    }

private:
    Clock::time_point end_;
};

[[noreturn]] void die(const char* what) {
    std::perror(what);
    std::abort();
}

}  // namespace

GuestProcess::GuestProcess(const std::vector<std::string>& arguments,
                           const std::vector<std::string>& starter) {
    std::array<int, 2> in{}, out{};
    if (pipe2(in.data(), O_CLOEXEC) != 0 || pipe2(out.data(), O_CLOEXEC) != 0) die("pipe2");
    errors_fd_ = memfd_create("errors", MFD_CLOEXEC);
    if (errors_fd_ < 0) die("memfd_create");
    std::vector<char*> argv;
    for (const std::string& word : starter) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(const_cast<char*>(UNDERCROFT_PROGRAM));
    for (const std::string& word : arguments) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    signal(SIGPIPE, SIG_IGN);
    pid_ = fork();
    if (pid_ < 0) die("fork");
    if (pid_ == 0) {
        signal(SIGPIPE, SIG_DFL);
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(errors_fd_, STDERR_FILENO);
        execvp(argv[0], argv.data());
        die(argv[0]);
    }
    close(in[0]);
    close(out[1]);
    to_guest_ = in[1];
    from_guest_ = out[0];
    fcntl(to_guest_, F_SETFL, O_NONBLOCK);
    fcntl(from_guest_, F_SETFL, O_NONBLOCK);
}

GuestProcess::~GuestProcess() {
    if (!wait_status_) {
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    input_.clear();
    close_input();
    close(from_guest_);
    close(errors_fd_);
}

void GuestProcess::close_input() {
    input_ends_ = true;
    if (to_guest_ < 0 || !input_.empty()) return;
    close(to_guest_);
    to_guest_ = -1;
}

void GuestProcess::terminate() { kill(pid_, SIGTERM); }

bool GuestProcess::pump(int timeout_ms) {
    std::array<pollfd, 2> fds{{{from_guest_, POLLIN, 0}, {input_.empty() ? -1 : to_guest_, POLLOUT, 0}}};
    if (poll(fds.data(), fds.size(), timeout_ms) <= 0) return true;
    if (fds[1].revents != 0) {
        ssize_t written = write(to_guest_, input_.data(), std::min<std::size_t>(input_.size(), 65536));
        if (written > 0) input_.erase(0, static_cast<std::size_t>(written));
        if (written < 0 && errno == EPIPE) input_.clear();
        if (input_ends_) close_input();
    }
    if (fds[0].revents != 0) {
        static std::array<char, 1 << 18> bytes;
        ssize_t got = read(from_guest_, bytes.data(), bytes.size());
        if (got > 0) output_.append(bytes.data(), static_cast<std::size_t>(got));
        if (got == 0) return false;
    }
    return true;
}

bool GuestProcess::wait_for(std::string_view text, double seconds) {
    Deadline deadline{seconds};
    std::size_t searched = position_;
    while (true) {
        std::size_t found = output_.find(text, searched);
        if (found != std::string::npos) {
            position_ = found + text.size();
            return true;
        }
        searched = std::max(position_, output_.size() - std::min(output_.size(), text.size()));
        int left = deadline.left_ms();
        if (left == 0 || !pump(left)) return false;
    }
}

std::optional<int> GuestProcess::wait_for_exit(double seconds) {
    Deadline deadline{seconds};
    while (int left = deadline.left_ms()) {
        if (pump(left)) continue;
        int status = 0;
        waitpid(pid_, &status, 0);
        wait_status_ = status;
        if (WIFEXITED(status)) return WEXITSTATUS(status);
        return std::nullopt;
    }
    return std::nullopt;
}

const std::string& GuestProcess::errors() {
    errors_.clear();
    std::array<char, 4096> bytes;
    for (off_t at = 0;; at = static_cast<off_t>(errors_.size())) {
        ssize_t got = pread(errors_fd_, bytes.data(), bytes.size(), at);
        if (got <= 0) return errors_;
        errors_.append(bytes.data(), static_cast<std::size_t>(got));
    }
}

double GuestProcess::least_processor_use(double seconds, double enough, std::string_view text) {
    double least = std::numeric_limits<double>::infinity();
    for (int window = 0; window < 4 && least >= enough; ++window) {
        double before = processor_seconds();
        if (wait_for(text, seconds)) break;
        least = std::min(least, (processor_seconds() - before) / seconds);
    }
    return least;
}

double GuestProcess::processor_seconds() const {
    double nanoseconds = 0;
    std::error_code ignored;
    for (const auto& thread :
         std::filesystem::directory_iterator{"/proc/" + std::to_string(pid_) + "/task", ignored}) {
        double spent = 0;
        std::ifstream{thread.path() / "schedstat"} >> spent;
        nanoseconds += spent;
    }
    return nanoseconds / 1e9;
}

}  // namespace undercroft
