// SPDX-License-Identifier: Apache-2.0
#include "vsock/backlog.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <span>

namespace undercroft {
namespace {

VsockBacklog::Sent send_pieces(int socket, std::span<const iovec> pieces) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());
    message.msg_iovlen = pieces.size();
    ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return {.refused = errno != EAGAIN && errno != EINTR};
    return {.bytes = static_cast<std::size_t>(sent)};
}

}  // namespace

VsockBacklog::Sent send_now(int socket, const Buffers& data) { return send_pieces(socket, data.pieces()); }

void VsockBacklog::add(const Buffers& data) {
    for (const iovec& piece : data.pieces()) {
        const auto* bytes = static_cast<const std::byte*>(piece.iov_base);
        bytes_.insert(bytes_.end(), bytes, bytes + piece.iov_len);
    }
}

void VsockBacklog::clear() {
    bytes_.clear();
    sent_ = 0;
}

VsockBacklog::Sent VsockBacklog::send_to(int socket) {
    iovec rest{.iov_base = bytes_.data() + sent_, .iov_len = bytes_.size() - sent_};
    Sent sent = send_pieces(socket, std::span{&rest, 1});
    sent_ += sent.bytes;
    if (sent_ == bytes_.size()) clear();
    return sent;
}

}  // namespace undercroft
