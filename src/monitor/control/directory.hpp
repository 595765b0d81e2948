// SPDX-License-Identifier: Apache-2.0
// Where this user's control sockets are: PID.sock in $XDG_RUNTIME_DIR/undercroft, or, without that, in
// /tmp/undercroft-UID. The folder is the user's alone.

#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"

#include <string>
#include <vector>

namespace undercroft::control {

// The path for this process' socket; makes the folder. Errors: the folder cannot be made, or is somebody
// else's.
Result<std::string> own_socket();

// Those that are there, whoever listens or does not.
std::vector<std::string> all_sockets();

// A connection. Errors: "PATH: reason". A socket of the folder on which nobody listens any more is removed.
Result<Fd> connect_to(const std::string& path);

// A listening socket, of mode 0600. One left behind by a process that is gone is replaced; one on which
// somebody listens, and what is no socket, is not.
Result<Fd> listen_at(const std::string& path);

}  // namespace undercroft::control
