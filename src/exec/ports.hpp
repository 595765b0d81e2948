// SPDX-License-Identifier: Apache-2.0
// The host's ends of a command's streams: a descriptor that input comes from, and those that output goes to.
//
// A descriptor may be anything, and is shared with whoever started us, so it stays as it is: blocking, with a
// thread that waits for it.

#pragma once

#include "base/result.hpp"
#include "machine/event_loop.hpp"
#include "virtio/console_port.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace undercroft {

// Reads ahead of the guest by one buffer.
class InputPort final : public SharedConsolePort {
public:
    static Result<std::unique_ptr<InputPort>> open(int fd);
    ~InputPort() override;

    Input input() override;
    std::size_t read(std::span<std::byte> room) override;
    Output output() override { return Output::Room; }
    void write(std::span<const std::byte>) override {}  // nobody is there

private:
    InputPort(int fd, Doorbell stop);
    void run();

    int fd_;
    Doorbell stop_;
    std::condition_variable drained_;
    WaitingInput waiting_;
    bool at_end_ = false;
    bool stopping_ = false;
    std::thread thread_;
};

// Writes as fast as the other end takes it; closes when that takes no more.
class OutputPort final : public SharedConsolePort {
public:
    static Result<std::unique_ptr<OutputPort>> open(int fd);
    ~OutputPort() override;

    Input input() override { return Input::Nothing; }
    std::size_t read(std::span<std::byte>) override { return 0; }
    Output output() override;
    void write(std::span<const std::byte> bytes) override;

    // So many bytes have come from the guest, and all have gone to the descriptor (if it takes any).
    bool has_passed_on(std::uint64_t bytes);
    // Waits for what has come, but not for long.
    void finish(std::chrono::milliseconds patience);

private:
    static constexpr std::size_t most_waiting = 256 * 1024;

    OutputPort(int fd, Doorbell stop);
    void run();
    bool write_out(std::span<const std::byte> bytes) const;

    int fd_;
    Doorbell stop_;
    std::size_t at_once_;  // bytes
    std::condition_variable changed_;
    std::vector<std::byte> waiting_;
    std::uint64_t received_ = 0;  // bytes, ever
    bool writing_ = false;
    bool closed_ = false;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace undercroft
