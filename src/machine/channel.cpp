// SPDX-License-Identifier: Apache-2.0
#include "machine/channel.hpp"

#include "base/poll_timeout.hpp"

#include <poll.h>

#include <array>
#include <utility>

namespace undercroft {

using State = ConsoleBackend::State;

Result<std::unique_ptr<Channel>> Channel::open(const ChannelChoice& choice) {
    auto refused = [&choice](Error error) { return std::move(error).in("channel '" + choice.name + "'"); };
    auto bell = Doorbell::create();
    if (!bell) return refused(std::move(bell.error()));
    auto backend = ConsoleBackend::open(choice.where);
    if (!backend) return refused(std::move(backend.error()));
    return std::unique_ptr<Channel>{new Channel{choice.name, *std::move(backend), *std::move(bell)}};
}

Channel::Channel(std::string name, std::unique_ptr<ConsoleBackend> backend, Doorbell bell)
    : name_{std::move(name)},
      backend_{std::move(backend)},
      bell_{std::move(bell)},
      present_{backend_->output() >= 0},
      thread_{[this] { run(); }} {}

Channel::~Channel() {
    if (thread_.joinable()) finish(std::chrono::steady_clock::now());
}

void Channel::finish(Time until) {
    {
        std::lock_guard lock{mutex_};
        ends_ = until;
    }
    bell_.ring();
    thread_.join();
}

void Channel::run() {
    for (;;) {
        std::array<pollfd, 4> waits{pollfd{.fd = bell_.fd(), .events = POLLIN, .revents = 0},
                                    pollfd{.fd = backend_->listener(), .events = POLLIN, .revents = 0},
                                    pollfd{.fd = -1, .events = POLLIN, .revents = 0},
                                    pollfd{.fd = -1, .events = POLLOUT, .revents = 0}};
        std::optional<Time> ends;
        {
            std::lock_guard lock{mutex_};
            ends = ends_;
            if (to_guest_.is_empty()) waits[2].fd = backend_->input();
            if (!from_guest_.empty()) waits[3].fd = backend_->output();
        }
        int timeout_ms = -1;
        if (ends) {
            if (waits[3].fd < 0) return;
            timeout_ms = poll_timeout(*ends);
            if (timeout_ms == 0) return give_output();  // as much as goes without waiting
            waits[1].fd = waits[2].fd = -1;
        }
        if (::poll(waits.data(), waits.size(), timeout_ms) < 0) continue;
        if (waits[0].revents != 0) bell_.acknowledge();
        if (waits[2].revents != 0) take_input();
        if (waits[3].revents != 0) give_output();
        if (waits[1].revents != 0) {
            backend_->accept();
            set_present(backend_->output() >= 0);
        }
    }
}

void Channel::take_input() {
    bytes_.resize(most_waiting);
    auto [count, state] = backend_->read(bytes_);
    if (state == State::Absent || state == State::Closed) {
        backend_->hang_up();
        return set_present(false);
    }
    std::lock_guard lock{mutex_};
    to_guest_.put(std::span{bytes_}.first(count));
    wake_();
}

// Only this thread takes away from what the guest has written, so that lies still while it is copied.
void Channel::give_output() {
    {
        std::lock_guard lock{mutex_};
        bytes_ = from_guest_;
    }
    auto [count, state] = backend_->write(bytes_);
    if (state == State::Absent || state == State::Closed) {
        backend_->hang_up();
        return set_present(false);
    }
    std::lock_guard lock{mutex_};
    from_guest_.erase(from_guest_.begin(), from_guest_.begin() + static_cast<std::ptrdiff_t>(count));
    wake_();
}

void Channel::set_present(bool present) {
    std::lock_guard lock{mutex_};
    present_ = present;
    from_guest_.clear();
    wake_();
}

ConsolePort::Input Channel::input() {
    std::lock_guard lock{mutex_};
    return to_guest_.is_empty() ? Input::Nothing : Input::Bytes;
}

std::size_t Channel::read(std::span<std::byte> room) {
    std::lock_guard lock{mutex_};
    std::size_t count = to_guest_.take(room);
    if (to_guest_.is_empty()) bell_.ring();
    return count;
}

ConsolePort::Output Channel::output() {
    std::lock_guard lock{mutex_};
    if (!present_) return Output::Closed;
    return from_guest_.size() < most_waiting ? Output::Room : Output::Full;
}

void Channel::write(std::span<const std::byte> bytes) {
    std::lock_guard lock{mutex_};
    if (present_) from_guest_.insert(from_guest_.end(), bytes.begin(), bytes.end());
    bell_.ring();
}

}  // namespace undercroft
