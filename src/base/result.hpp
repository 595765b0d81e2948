// SPDX-License-Identifier: Apache-2.0
// Result<T>: a value, or the reason there is none.
//
// For failures of the host and of what the user gave us (files, configuration, API
// requests). What the guest does is never an Error: a guest's bad access is a Trap,
// which is ordinary data (see x86/trap.hpp). A broken invariant of ours is a CHECK.
//
// The interface is the part of C++23's std::expected that we use, so that moving to
// it is a change of one header. (Debian 12: g++ 12 has it only in C++23 mode, clang 14 not
// at all.)

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace undercroft {

struct Error {
    std::string message;  // a sentence without the full stop, outermost context first

    // Puts what was being attempted before the reason: "disk 'a.img': No such file".
    Error in(std::string context) && { return Error{std::move(context) + ": " + std::move(message)}; }
};

template <class T>
class [[nodiscard]] Result {
public:
    Result(T value) : state_{std::in_place_index<0>, std::move(value)} {}
    Result(Error error) : state_{std::in_place_index<1>, std::move(error)} {}

    explicit operator bool() const { return state_.index() == 0; }
    const T& operator*() const& { return std::get<0>(state_); }
    const T* operator->() const { return &std::get<0>(state_); }
    const Error& error() const { return std::get<1>(state_); }
    T& operator*() & { return std::get<0>(state_); }
    T&& operator*() && { return std::get<0>(std::move(state_)); }
    T* operator->() { return &std::get<0>(state_); }
    Error& error() { return std::get<1>(state_); }

private:
    std::variant<T, Error> state_;
};

// Nothing, or the reason why it was not done.
template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(Error error) : error_{std::move(error)} {}

    explicit operator bool() const { return !error_.has_value(); }
    Error& error() { return *error_; }
    const Error& error() const { return *error_; }

private:
    std::optional<Error> error_;
};

}  // namespace undercroft
