// SPDX-License-Identifier: Apache-2.0
// VsockBacklog: bytes of a guest's that the host's program has not taken yet. They outlive the connection:
// who writes, closes and leaves may rely on it that what was written arrives.

#pragma once

#include "base/buffers.hpp"

#include <cstddef>
#include <vector>

namespace undercroft {

class VsockBacklog {
public:
    bool empty() const { return bytes_.empty(); }
    void add(const Buffers& data);
    void clear();

    struct Sent {
        std::size_t bytes = 0;
        bool refused = false;  // nobody takes any of it any more
    };
    // As much as the socket takes without waiting; it is gone from here.
    Sent send_to(int socket);

private:
    std::vector<std::byte> bytes_;
    std::size_t sent_ = 0;  // of them, from the front
};

// sendmsg() of the pieces, without waiting.
VsockBacklog::Sent send_now(int socket, const Buffers& data);

}  // namespace undercroft
