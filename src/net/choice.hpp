// SPDX-License-Identifier: Apache-2.0
// NetChoice: which network the user wants a machine to be connected to, as written on the command line, and
// opening it.

#pragma once

#include "base/result.hpp"
#include "net/switch.hpp"
#include "net/user_network.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace undercroft {

struct NetChoice {
    enum class Kind : std::uint8_t { User, Tap, Switch };

    Kind kind = Kind::User;
    std::string name;  // of the host's interface, or of the switch
    UserNetwork::Reach reach = UserNetwork::Reach::All;
    std::vector<PortForward> ports;  // of Kind::User
    std::optional<MacAddress> address;
};

// "user", "user,restricted", "tap:NAME" or "switch:NAME", and ",mac=52:54:00:12:34:56" behind it. Errors:
// "network 'text': reason".
Result<NetChoice> network_named(const std::string& text);

// Errors name the network or the port, and the reason.
Result<std::unique_ptr<NetBackend>> open_network(const NetChoice& choice, Switches& switches);

// The address of a machine's network device by default: always the same one for machines of this name, and
// locally administered.
MacAddress usual_address(const std::string& machine, unsigned device);

}  // namespace undercroft
