// SPDX-License-Identifier: Apache-2.0
// Server: the control socket's end in the monitor. All of it belongs to the event loop's thread.
//
// A client that hangs, floods or dies costs a bounded piece of memory and holds nobody up: nothing here
// blocks, requests and replies have limits, and of too many clients the oldest is dropped.

#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"
#include "machine/event_loop.hpp"
#include "monitor/control/connection.hpp"
#include "monitor/tenant.hpp"

#include <cstddef>
#include <list>
#include <memory>
#include <span>
#include <string>

namespace undercroft::control {

class Server {
public:
    static constexpr std::size_t most_clients = 32;

    // Makes the socket; the destructor removes it. Loop and tenants outlive it. Errors: "control PATH:
    // reason".
    static Result<std::unique_ptr<Server>> open(const std::string& path, EventLoop& loop,
                                                std::span<const std::unique_ptr<Tenant>> tenants);
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server();

    void has_room(const Tenant& tenant);  // for input
    void ended(
        const Tenant& tenant);  // those at its console, or waiting for this, get the rest and are let go

private:
    struct Bells {
        Doorbell heard;  // a console printed something
        Alarm retry;     // a client took no more
    };

    Server(std::string path, Fd listener, EventLoop& loop, std::span<const std::unique_ptr<Tenant>> tenants,
           Bells bells);
    void accept();
    void read(Connection& connection);
    void write_all();
    void drop(Connection& connection);

    std::string path_;
    Fd listener_;
    EventLoop& loop_;
    std::span<const std::unique_ptr<Tenant>> tenants_;
    Bells bells_;
    std::list<std::unique_ptr<Connection>> connections_;  // the oldest first
};

}  // namespace undercroft::control
