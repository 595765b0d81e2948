// SPDX-License-Identifier: Apache-2.0
#include "console_input.hpp"

#include <algorithm>

namespace undercroft {

bool ConsoleInput::push(std::span<const std::byte> bytes) {
    std::lock_guard lock{mutex_};
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(taken_));
    taken_ = 0;
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    refused_ = buffer_.size() >= capacity;
    return !refused_;
}

void ConsoleInput::feed(const std::function<std::size_t(std::span<const std::byte>)>& receive) {
    std::lock_guard lock{mutex_};
    while (taken_ < buffer_.size() && credit_ > 0) {
        auto offered = std::span{buffer_}.subspan(taken_, std::min(credit_, buffer_.size() - taken_));
        std::size_t took = receive(offered);
        if (took == 0) break;
        taken_ += took;
        credit_ -= took;
    }
    if (credit_ == 0 && taken_ < buffer_.size() && !alarm_set_) {
        alarm_set_ = true;
        alarm_.set_in_ns(static_cast<std::uint64_t>(std::chrono::nanoseconds{patience}.count()));
    }
    if (refused_ && buffer_.size() - taken_ <= capacity / 2) {
        refused_ = false;
        room_.ring();
    }
}

void ConsoleInput::renew() {
    std::lock_guard lock{mutex_};
    alarm_set_ = false;
    credit_ = credit;
}

}  // namespace undercroft
