// SPDX-License-Identifier: Apache-2.0
// ConsoleTap: what a console prints, for others than its other end: those who come and look, and leave again.
// Nobody who listens can hold the machine up.

#pragma once

#include "monitor/recent_output.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace undercroft {

class ConsoleTap {
public:
    // What has been printed since the last take().
    class Listener {
    public:
        static constexpr std::size_t capacity = 256 * 1024;

        // A slow one misses bytes; a note stands in their place.
        std::string take();

    private:
        friend class ConsoleTap;
        explicit Listener(std::function<void()> heard) : heard_{std::move(heard)} {}
        void add(std::span<const std::byte> bytes);

        std::function<void()> heard_;
        std::mutex mutex_;  // protects all below
        std::string text_;
        std::size_t missed_ = 0;
    };

    // Begins with the newest output. `heard` is called, on any thread, when there is something to take and
    // there was nothing; it must not block. Nothing is called after forget().
    std::unique_ptr<Listener> listen(std::function<void()> heard);
    void forget(const Listener& listener);

    void add(std::span<const std::byte> bytes);  // any thread; one at a time

private:
    std::mutex mutex_;  // protects all below; taken before a listener's
    RecentOutput recent_;
    std::vector<Listener*> listeners_;
};

}  // namespace undercroft
