// SPDX-License-Identifier: Apache-2.0
// Stream sockets that have a path (unix(7)). All of them are non-blocking and closed by exec. Errors do
// not name the path.

#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"

#include <sys/types.h>

#include <string>

namespace undercroft {

// A backlog that is full is as good as nobody: an error, since it does not wait.
Result<Fd> connect_to_socket(const std::string& path);

// Makes the socket's file, with `mode` as far as the umask lets it; a path that exists is refused. Whoever
// listens removes it.
Result<Fd> listen_at_socket(const std::string& path, mode_t mode = 0777);

// A socket's file that was left behind: nobody listens there.
bool is_abandoned_socket(const std::string& path);

}  // namespace undercroft
