// SPDX-License-Identifier: Apache-2.0
#include "machine/net_device.hpp"

#include <fmt/core.h>

#include <poll.h>

#include <span>
#include <utility>
#include <vector>

namespace undercroft {

NetDevice::NetDevice(unsigned slot, const NetConnection& network, Doorbell bell, const DmaMemory& memory,
                     Board& board)
    : backend_{*network.backend},
      bell_{std::move(bell)},
      net_{backend_, network.address, memory, board.lock()},
      transport_{net_, memory, [&board, slot](bool level) { board.set_virtio_line(slot, level); },
                 fmt::format("network '{}'", backend_.name())} {
    net_.on_work([this] { ask(); });
    board.attach_virtio(slot, transport_);
    thread_ = std::thread{[this] { run(); }};
}

// Other machines' threads may come by until the backend is told.
NetDevice::~NetDevice() {
    ending_ = true;
    bell_.ring();
    thread_.join();
    backend_.attach(nullptr);
}

void NetDevice::ask() {
    if (!asked_.exchange(true)) bell_.ring();
}

void NetDevice::run() {
    std::vector<pollfd> polls;
    while (!ending_) {
        asked_ = false;
        int timeout_ms = net_.serve() ? 0 : -1;
        polls.clear();
        polls.push_back({.fd = bell_.fd(), .events = POLLIN, .revents = 0});
        backend_.add_polls(polls, timeout_ms);
        if (poll(polls.data(), polls.size(), timeout_ms) < 0) continue;  // a signal
        if (polls[0].revents != 0) bell_.acknowledge();
        backend_.handle(std::span{polls}.subspan(1));
    }
}

}  // namespace undercroft
