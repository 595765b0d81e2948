// SPDX-License-Identifier: Apache-2.0
// Tap: a network interface of the host's (Linux's tun driver, Documentation/networking/tuntap.rst), which the
// host routes or bridges as it likes. Making one needs CAP_NET_ADMIN; one that was made for the user before
// (ip tuntap add mode tap user NAME) does not. The host's kernel does what drivers leave unfinished.

#pragma once

#include "base/result.hpp"
#include "net/backend.hpp"

#include <memory>
#include <string>

namespace undercroft {

// Errors: "network 'tap:NAME': reason".
Result<std::unique_ptr<NetBackend>> open_tap(const std::string& interface);

}  // namespace undercroft
