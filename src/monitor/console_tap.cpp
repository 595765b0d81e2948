// SPDX-License-Identifier: Apache-2.0
#include "console_tap.hpp"

#include <fmt/core.h>

#include <utility>

namespace undercroft {

void ConsoleTap::Listener::add(std::span<const std::byte> bytes) {
    bool first = false;
    {
        std::lock_guard lock{mutex_};
        first = text_.empty() && missed_ == 0;
        if (missed_ > 0 || text_.size() + bytes.size() > capacity) {
            missed_ += bytes.size();
        } else {
            text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        }
    }
    if (first) heard_();
}

std::string ConsoleTap::Listener::take() {
    std::lock_guard lock{mutex_};
    std::string text = std::exchange(text_, {});
    if (missed_ > 0) text += fmt::format("\r\n[undercroft: {} bytes are missing here]\r\n", missed_);
    missed_ = 0;
    return text;
}

std::unique_ptr<ConsoleTap::Listener> ConsoleTap::listen(std::function<void()> heard) {
    std::lock_guard lock{mutex_};
    std::unique_ptr<Listener> listener{new Listener{std::move(heard)}};
    std::string recent = recent_.text();
    if (!recent.empty()) listener->add(std::as_bytes(std::span{recent}));
    listeners_.push_back(listener.get());
    return listener;
}

void ConsoleTap::forget(const Listener& listener) {
    std::lock_guard lock{mutex_};
    std::erase(listeners_, &listener);
}

void ConsoleTap::add(std::span<const std::byte> bytes) {
    std::lock_guard lock{mutex_};
    recent_.add(bytes);
    for (Listener* listener : listeners_) listener->add(bytes);
}

}  // namespace undercroft
