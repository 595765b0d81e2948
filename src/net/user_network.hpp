// SPDX-License-Identifier: Apache-2.0
// UserNetwork: a network of the guest's own behind the host's sockets (libslirp): no rights are needed, and
// the guest reaches what this process could reach. Addresses as QEMU's user networking has them:
//
//     10.0.2.0/24   10.0.2.2 the gateway, which is the host itself; 10.0.2.3 name service, passed on to the
//                   host's; DHCP hands out 10.0.2.15
//     fec0::/64     the same for IPv6, by router advertisements
//
// Ports of the host's can be passed on to the guest's.

#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"
#include "net/backend.hpp"

#include <netinet/in.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace undercroft {

// A port of the host's whose connections, or datagrams, go to a port of the guest's.
struct PortForward {
    bool udp = false;
    in_addr host_address{};  // of the host's; in network order
    std::uint16_t host_port = 0;
    std::uint16_t guest_port = 0;
    bool operator==(const PortForward& other) const;
};

// "[tcp:|udp:][HOST-ADDRESS:]HOST-PORT:GUEST-PORT"; without an address it is 127.0.0.1. Errors: "port 'text':
// reason".
Result<PortForward> port_forward_named(const std::string& text);

class UserNetwork {
public:
    enum class Reach : std::uint8_t {
        All,
        Restricted,  // nothing but forwarded ports, and no name service
    };
    // Errors: "port 8080:80: Address already in use".
    static Result<std::unique_ptr<NetBackend>> open(Reach reach, const std::vector<PortForward>& ports);
};

}  // namespace undercroft
