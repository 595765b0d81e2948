// SPDX-License-Identifier: Apache-2.0
// The host's side of conversations with guests, over blocking sockets.

#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>
#include <thread>

namespace undercroft {

inline void send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) return;
        bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
}

// Appends what comes until `enough` says so, or the end.
template <class Enough>
void receive_until(int fd, std::string& bytes, Enough enough) {
    std::string buffer(65536, '\0');
    while (!enough()) {
        ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
        if (got <= 0) return;
        bytes.append(buffer.data(), static_cast<std::size_t>(got));
    }
}

// Sends all of it while it receives until the end.
inline std::string converse(int fd, std::string_view bytes) {
    std::thread sender{[fd, bytes] {
        send_all(fd, bytes);
        shutdown(fd, SHUT_WR);
    }};
    std::string answer;
    receive_until(fd, answer, [] { return false; });
    sender.join();
    return answer;
}

}  // namespace undercroft
