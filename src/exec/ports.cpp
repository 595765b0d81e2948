// SPDX-License-Identifier: Apache-2.0
#include "exec/ports.hpp"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace undercroft {
namespace {

// Until the descriptor is ready. False: `stop` came first.
bool wait_for(int fd, short events, const Doorbell& stop) {
    std::array waits{pollfd{.fd = fd, .events = events, .revents = 0},
                     pollfd{.fd = stop.fd(), .events = POLLIN, .revents = 0}};
    while (::poll(waits.data(), waits.size(), -1) < 0) {
        if (errno != EINTR) return false;
    }
    return waits[1].revents == 0;
}

bool is_worth_trying_again() { return errno == EINTR || errno == EAGAIN; }

// A pipe or terminal that is ready has room for a page; more of it would wait, and nothing ends that.
std::size_t safe_to_write(int fd) {
    struct stat status {};
    bool is_file = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    return is_file ? 256 * 1024 : 4096;
}

}  // namespace

Result<std::unique_ptr<InputPort>> InputPort::open(int fd) {
    auto stop = Doorbell::create();
    if (!stop) return stop.error();
    return std::unique_ptr<InputPort>{new InputPort{fd, *std::move(stop)}};
}

InputPort::InputPort(int fd, Doorbell stop) : fd_{fd}, stop_{std::move(stop)}, thread_{[this] { run(); }} {}

InputPort::~InputPort() {
    {
        std::lock_guard lock{mutex_};
        stopping_ = true;
    }
    drained_.notify_one();
    stop_.ring();
    thread_.join();
}

void InputPort::run() {
    std::vector<std::byte> next(32 * 1024);
    for (bool open = true; open;) {
        if (!wait_for(fd_, POLLIN, stop_)) return;
        ssize_t count = ::read(fd_, next.data(), next.size());
        if (count < 0 && is_worth_trying_again()) continue;
        open = count > 0;
        std::unique_lock lock{mutex_};
        waiting_.put(std::span{next}.first(static_cast<std::size_t>(std::max<ssize_t>(count, 0))));
        at_end_ = !open;
        wake_();
        drained_.wait(lock, [this] { return waiting_.is_empty() || stopping_; });
        if (stopping_) return;
    }
}

ConsolePort::Input InputPort::input() {
    std::lock_guard lock{mutex_};
    if (!waiting_.is_empty()) return Input::Bytes;
    return at_end_ ? Input::End : Input::Nothing;
}

std::size_t InputPort::read(std::span<std::byte> room) {
    std::lock_guard lock{mutex_};
    std::size_t count = waiting_.take(room);
    if (waiting_.is_empty()) drained_.notify_one();
    return count;
}

Result<std::unique_ptr<OutputPort>> OutputPort::open(int fd) {
    auto stop = Doorbell::create();
    if (!stop) return stop.error();
    return std::unique_ptr<OutputPort>{new OutputPort{fd, *std::move(stop)}};
}

OutputPort::OutputPort(int fd, Doorbell stop)
    : fd_{fd}, stop_{std::move(stop)}, at_once_{safe_to_write(fd)}, thread_{[this] { run(); }} {}

OutputPort::~OutputPort() {
    {
        std::lock_guard lock{mutex_};
        stopping_ = true;
    }
    changed_.notify_all();
    stop_.ring();
    thread_.join();
}

void OutputPort::run() {
    std::vector<std::byte> bytes;
    std::unique_lock lock{mutex_};
    for (;;) {
        changed_.wait(lock, [this] { return !waiting_.empty() || stopping_; });
        if (stopping_) return;
        bytes.clear();
        bytes.swap(waiting_);
        writing_ = true;
        wake_();  // there is room
        lock.unlock();
        bool written = write_out(bytes);
        lock.lock();
        writing_ = false;
        if (!written) {
            closed_ = true;
            waiting_.clear();
        }
        wake_();
        changed_.notify_all();
    }
}

// Somebody else may have made the descriptor one that does not block.
bool OutputPort::write_out(std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
        if (!wait_for(fd_, POLLOUT, stop_)) return false;
        ssize_t count = ::write(fd_, bytes.data(), std::min(bytes.size(), at_once_));
        if (count < 0 && is_worth_trying_again()) continue;
        if (count < 0) return false;
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return true;
}

ConsolePort::Output OutputPort::output() {
    std::lock_guard lock{mutex_};
    if (closed_) return Output::Closed;
    return waiting_.size() < most_waiting ? Output::Room : Output::Full;
}

void OutputPort::write(std::span<const std::byte> bytes) {
    std::lock_guard lock{mutex_};
    received_ += bytes.size();
    if (!closed_) waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
    changed_.notify_all();
}

bool OutputPort::has_passed_on(std::uint64_t bytes) {
    std::lock_guard lock{mutex_};
    return closed_ || (received_ >= bytes && waiting_.empty() && !writing_);
}

void OutputPort::finish(std::chrono::milliseconds patience) {
    std::unique_lock lock{mutex_};
    changed_.wait_for(lock, patience, [this] { return closed_ || (waiting_.empty() && !writing_); });
}

}  // namespace undercroft
