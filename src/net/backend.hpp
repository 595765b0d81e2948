// SPDX-License-Identifier: Apache-2.0
// NetBackend: what a network device is connected to (user_network.hpp, switch.hpp, tap.hpp), and NetPort, the
// device's side, where frames for the guest go.

#pragma once

#include "net/frame.hpp"

#include <poll.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace undercroft {

class NetPort {
public:
    // A frame for the guest, which is dropped if the guest takes none. Any thread that is not a vCPU's and
    // holds no lock of a machine's devices. Never waits for the guest.
    virtual void receive(const Frame& frame) = 0;
    // That was all for now: the guest shall look.
    virtual void received() = 0;

protected:
    ~NetPort() = default;
};

// What a network takes from a guest, and may hand to one, unfinished.
struct Offloads {
    bool checksum = false;  // frames whose checksum is still to be completed (OffloadHeader::NeedsChecksum)
    bool segments = false;  // TCP over IPv4 and IPv6 that is still to be cut into segments
};

class NetBackend {
public:
    NetBackend() = default;
    NetBackend(const NetBackend&) = delete;
    NetBackend& operator=(const NetBackend&) = delete;
    virtual ~NetBackend() = default;

    virtual const std::string& name() const = 0;
    virtual Offloads offloads() const = 0;
    // The largest packet, without its Ethernet header, that stations shall send.
    virtual unsigned mtu() const = 0;
    // Where frames for the guest go from now on; null: nowhere, and no call of the last port's goes on.
    // Before the device's thread runs and after it has ended.
    virtual void attach(NetPort* port) = 0;

    // The driver has agreed on receiving these. With the lock of the machine's devices.
    virtual void set_receive_offloads(Offloads) {}

    // What follows is of the device's thread. A frame from the guest, of a size between Frame's bounds, with
    // nothing unfinished but what the driver and offloads() agree on.
    virtual void send(const Frame& frame) = 0;
    virtual void sent() {}  // that was all for now
    // What that thread waits for besides the guest: adds files, and makes the time-out shorter (poll(2)).
    virtual void add_polls(std::vector<pollfd>&, int& /*timeout_ms*/) {}
    virtual void handle(std::span<const pollfd> /*what it added*/) {}
};

// A network that a machine is connected to.
struct NetConnection {
    std::unique_ptr<NetBackend> backend;
    MacAddress address{};
};

}  // namespace undercroft
