// SPDX-License-Identifier: Apache-2.0
// Channel: a port of a virtio console that leads to a socket or a file of the host. The guest finds it by its
// name, and sees it closed while nobody is connected to the socket; what it writes then is not kept.

#pragma once

#include "base/result.hpp"
#include "machine/console_backend.hpp"
#include "machine/event_loop.hpp"
#include "virtio/console_port.hpp"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace undercroft {

struct ChannelChoice {
    std::string name;
    std::string where;  // "unix:PATH" or "file:PATH"
};

class Channel final : public SharedConsolePort {
public:
    // Errors name the channel and the reason.
    static Result<std::unique_ptr<Channel>> open(const ChannelChoice& choice);
    ~Channel() override;

    // Waits, until then at most, for the other end to take what the guest has written. When the machine has
    // ended; nothing gets through afterwards.
    using Time = std::chrono::steady_clock::time_point;
    void finish(Time until);

    std::string_view name() const override { return name_; }
    Input input() override;
    std::size_t read(std::span<std::byte> room) override;
    Output output() override;
    void write(std::span<const std::byte> bytes) override;

private:
    static constexpr std::size_t most_waiting = 64 * 1024;  // bytes, in each direction

    Channel(std::string name, std::unique_ptr<ConsoleBackend> backend, Doorbell bell);
    void run();
    void take_input();
    void give_output();
    void set_present(bool present);

    std::string name_;
    std::unique_ptr<ConsoleBackend> backend_;  // of the thread
    Doorbell bell_;                            // rung when the thread has something to do
    std::vector<std::byte> bytes_;             // of the thread

    // Under the lock:
    WaitingInput to_guest_;
    std::vector<std::byte> from_guest_;
    bool present_;  // there is somebody at the other end
    std::optional<Time> ends_;
    std::thread thread_;
};

}  // namespace undercroft
