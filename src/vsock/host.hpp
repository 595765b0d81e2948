// SPDX-License-Identifier: Apache-2.0
// VsockHost: the host, as a guest's socket device sees it, behind Unix sockets, by Firecracker's convention:
//
// * Who connects to PATH and writes "CONNECT port\n" is connected to that port of the guest's. Once the guest
//   has accepted, "OK n\n" comes back, and then the stream begins; n is the port that the guest sees. When it
//   refuses, the connection ends.
// * When the guest connects to port N of the host (CID 2), it is connected to whoever listens at PATH_N, and
//   refused if nobody does.
//
// All of a guest's packets are hostile: what the specification does not know is answered by a reset of the
// connection, and there are bounds on how many there may be.
//
// Thread-safe.

#pragma once

#include "base/buffers.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"
#include "vsock/connection.hpp"
#include "vsock/packet.hpp"

#include <poll.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace undercroft {

struct VsockChoice {
    std::string path;
    std::uint32_t cid = vsock_first_guest_cid;  // the guest's
};

// "PATH", and ",cid=N" behind it. Errors: "vsock 'text': reason".
Result<VsockChoice> vsock_named(const std::string& text);

class VsockHost {
public:
    static constexpr std::size_t most_connections = 512;

    // Listens at the path, where it replaces a socket that was left behind. Errors: "vsock 'path': reason".
    static Result<std::unique_ptr<VsockHost>> open(const VsockChoice& choice);
    VsockHost(const VsockHost&) = delete;
    VsockHost& operator=(const VsockHost&) = delete;
    ~VsockHost();

    const std::string& path() const { return choice_.path; }
    std::uint32_t guest_cid() const { return choice_.cid; }

    // The guest has a driver from here on, or has none: all connections end. What it has sent before still
    // gets to the host's programs.
    void start();
    void reset();
    // Waits, until then at most, for them to take that. When the machine has ended.
    void finish(std::chrono::steady_clock::time_point until);

    // A packet of the guest's, and its data.
    void take(const VsockHeader& header, Buffers& data);
    // There is something for the guest, or may be.
    bool has_packet();
    // Makes the next packet in `room`, and returns its size; zero: there was none. Not if there is no room
    // for more than a header.
    std::size_t put(Buffers& room);

    // What to wait for; and what came of it. `guest_has_room`: it takes packets.
    void add_polls(std::vector<pollfd>& polls, bool guest_has_room);
    void handle(std::span<const pollfd> polls);

private:
    // Somebody who has connected, and says where to.
    struct Caller {
        Fd socket;
        std::string line;
    };
    static constexpr std::size_t most_callers = 64;
    static constexpr std::size_t most_leaving = 512;
    static constexpr std::size_t most_resets = 256;
    static constexpr std::uint32_t first_port = 1u << 30;  // of those that callers get

    explicit VsockHost(VsockChoice choice) : choice_{std::move(choice)} {}

    void accept_callers();
    // False: it is not waited for any more.
    bool hear(Caller& caller);
    void connect_caller(Caller& caller, std::uint32_t port);
    void connect_guest(VsockPorts ports, const VsockHeader& header);
    using Connections = std::map<VsockPorts, VsockConnection>;
    Connections::iterator end(Connections::iterator connection);
    static bool is_done(VsockConnection::Rest& rest);
    void refuse(const VsockHeader& header);
    std::optional<VsockHeader> next(const Buffers& payload);

    VsockChoice choice_;
    Fd listener_;

    std::mutex mutex_;  // of what follows; nothing else is taken with it
    bool running_ = false;
    Connections connections_;
    std::deque<VsockConnection::Rest> leaving_;  // of connections that have ended
    VsockPorts turn_;                            // who was served last
    std::deque<VsockHeader> refused_;            // resets of what is no connection
    std::uint32_t last_port_ = first_port - 1;
    std::vector<Caller> callers_;

    // Of the last add_polls(), in its order.
    bool polled_listener_ = false;
    std::size_t polled_callers_ = 0;
    std::size_t polled_leaving_ = 0;
    std::vector<VsockPorts> polled_;
};

}  // namespace undercroft
