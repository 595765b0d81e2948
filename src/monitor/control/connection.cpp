// SPDX-License-Identifier: Apache-2.0
#include "connection.hpp"

#include "monitor/control/answer.hpp"

#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace undercroft::control {
namespace {

// A client that asks and does not read its answers.
constexpr std::size_t most_answers = 2 * longest_reply;

}  // namespace

Connection::State Connection::read() {
    std::array<char, 4096> bytes;
    ssize_t n = recv(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return state_;
    if (n < 0 || (n == 0 && console_ == nullptr)) return state_ = State::Closed;
    if (n == 0) return state_ = State::InputEnded;
    std::span<const char> got{bytes.data(), static_cast<std::size_t>(n)};
    if (console_ != nullptr) {
        type(got);
    } else if (awaited_ == nullptr) {
        in_.append(got.data(), got.size());
        take_lines();
    }
    return state_;
}

void Connection::take_lines() {
    std::size_t end = 0;
    while (console_ == nullptr && awaited_ == nullptr && (end = in_.find('\n')) != std::string::npos) {
        if (end >= longest_request) break;
        answer(std::string_view{in_}.substr(0, end));
        in_.erase(0, end + 1);
    }
    if (console_ != nullptr) {
        type(in_);
        in_.clear();
    }
    if (awaited_ != nullptr) in_.clear();
    bool too_long = in_.size() >= longest_request && in_.find('\n') >= longest_request;
    if (too_long) {
        out_ += line_of(Reply{.error = "request too long", .machines = {}});
        in_.clear();
        ending_ = true;
    }
    if (out_.size() > most_answers) state_ = State::Closed;
}

void Connection::answer(std::string_view line) {
    auto request = parse_request(line);
    if (!request) {
        out_ += line_of(Reply{.error = request.error().message, .machines = {}});
        return;
    }
    Answer given = control::answer(*request, tenants_);
    awaited_ = given.awaited;
    if (awaited_ == nullptr) out_ += line_of(given.reply);
    if (given.console == nullptr) return;
    console_ = given.console;
    listener_ = console_->tap().listen(heard_);
}

void Connection::end() {
    if (awaited_ != nullptr) out_ += line_of(Reply{.error = {}, .machines = {}});
    awaited_ = nullptr;
    ending_ = true;
}

void Connection::type(std::span<const char> bytes) {
    if (!bytes.empty() && !console_->console().type(std::as_bytes(bytes))) state_ = State::Full;
}

bool Connection::write() {
    while (state_ != State::Closed) {
        if (out_.empty() && listener_) out_ = listener_->take();
        if (out_.empty()) return !ending_;
        ssize_t n = send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
        if (n < 0) state_ = State::Closed;
        if (n > 0) out_.erase(0, static_cast<std::size_t>(n));
    }
    return false;
}

}  // namespace undercroft::control
