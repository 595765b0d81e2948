// SPDX-License-Identifier: Apache-2.0
// Switch: connects machines of this process with each other. It learns which station is behind which port
// from the frames that come from there, as Ethernet switches do (IEEE 802.1D section 7.8), and hands a frame
// to all other ports when it does not know. A frame goes from the sender's memory to the receiver's, in the
// sender's thread, with no copy between. What the receiver has no room for is dropped in the end.

#pragma once

#include "net/backend.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace undercroft {

class Switch {
public:
    explicit Switch(std::string name) : name_{std::move(name)} {}

    // A port for a machine, which keeps the switch alive.
    static std::unique_ptr<NetBackend> connect(std::shared_ptr<Switch> to);

private:
    class Port;

    // A frame from a station behind `port`: the port behind which `to` is, as far as is known.
    Port* learn_and_find(std::uint64_t from, Port& port, std::uint64_t to);

    static constexpr std::size_t most_stations = 4096;

    std::string name_;
    std::shared_mutex ports_lock_;  // shared by senders; outside of those of receivers
    std::vector<Port*> ports_;      // that have a machine
    std::mutex stations_lock_;      // innermost
    std::unordered_map<std::uint64_t, Port*> stations_;
};

// The switches of a process, by name.
class Switches {
public:
    std::shared_ptr<Switch> named(const std::string& name);

private:
    std::map<std::string, std::shared_ptr<Switch>> switches_;
};

}  // namespace undercroft
