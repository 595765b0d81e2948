// SPDX-License-Identifier: Apache-2.0
// ConsolePort: the host's end of one port of a virtio console.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace undercroft {

class ConsolePort {
public:
    enum class Input : std::uint8_t { Nothing, Bytes, End };  // nothing now; the port closes for good
    enum class Output : std::uint8_t {
        Room,
        Full,
        Closed
    };  // full for now; nobody is there, the port is closed

    virtual ~ConsolePort() = default;

    // What the guest may find it by; empty: its number only.
    virtual std::string_view name() const { return {}; }

    // The device calls these four under the lock of the machine's devices: none of them waits.
    virtual Input input() = 0;
    virtual std::size_t read(std::span<std::byte> room) = 0;  // how many bytes it has put there
    virtual Output output() = 0;
    virtual void write(std::span<const std::byte> bytes) = 0;  // all of them, after output() said Room

    // `wake` is called, by any thread, when input() or output() has become another one; and what was given
    // before is called no more.
    virtual void on_change(std::function<void()> wake) = 0;
};

// What waits on a port for the guest to read it.
class WaitingInput {
public:
    bool is_empty() const { return given_ == bytes_.size(); }
    void put(std::span<const std::byte> bytes) {  // when there is nothing
        bytes_.assign(bytes.begin(), bytes.end());
        given_ = 0;
    }
    std::size_t take(std::span<std::byte> room) {
        std::size_t count = std::min(room.size(), bytes_.size() - given_);
        std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(given_), count, room.begin());
        given_ += count;
        return count;
    }

private:
    std::vector<std::byte> bytes_;
    std::size_t given_ = 0;
};

// For those that other threads fill and empty.
class SharedConsolePort : public ConsolePort {
public:
    void on_change(std::function<void()> wake) final {
        std::lock_guard lock{mutex_};
        wake_ = std::move(wake);
    }

protected:
    std::mutex mutex_;  // of what a port has, and of the next; taken after the lock of the machine's devices
    std::function<void()> wake_ = [] {};
};

}  // namespace undercroft
