// SPDX-License-Identifier: Apache-2.0
// Connection: one client of the control socket. It asks in lines, until it asks for a console, whereupon
// bytes go both ways; or for a machine's end, after which it gets the reply, and no other.

#pragma once

#include "base/fd.hpp"
#include "monitor/console_tap.hpp"
#include "monitor/control/protocol.hpp"
#include "monitor/tenant.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace undercroft::control {

class Connection {
public:
    enum class State : std::uint8_t {
        Open,
        Full,  // read no more before has_room(): the guest takes no input
        InputEnded,
        Closed,  // drop it
    };

    // `heard` is called, on any thread, when there is something to write.
    Connection(Fd fd, std::span<const std::unique_ptr<Tenant>> tenants, std::function<void()> heard)
        : fd_{std::move(fd)}, tenants_{tenants}, heard_{std::move(heard)} {}
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() {
        if (listener_) console_->tap().forget(*listener_);
    }

    int fd() const { return fd_.get(); }
    const Tenant* console() const { return console_; }
    bool concerns(const Tenant& tenant) const { return console_ == &tenant || awaited_ == &tenant; }
    bool is_reading() const { return state_ == State::Open; }

    // When the client has sent something.
    State read();
    // As much as it takes. False: it is done, or gone.
    bool write();
    bool owes() const { return !out_.empty(); }

    void has_room() {
        if (state_ == State::Full) state_ = State::Open;
    }
    void end();  // the machine that it concerns has ended; write() says when all is out

private:
    void take_lines();
    void answer(std::string_view line);
    void type(std::span<const char> bytes);

    Fd fd_;
    std::span<const std::unique_ptr<Tenant>> tenants_;
    std::function<void()> heard_;
    State state_ = State::Open;
    std::string in_;
    std::string out_;
    Tenant* console_ = nullptr;
    Tenant* awaited_ = nullptr;
    std::unique_ptr<ConsoleTap::Listener> listener_;
    bool ending_ = false;
};

}  // namespace undercroft::control
