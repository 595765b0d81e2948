// SPDX-License-Identifier: Apache-2.0
#include "vsock/connection.hpp"

#include <fmt/core.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

namespace undercroft {
namespace {

bool would_wait() { return errno == EAGAIN || errno == EINTR; }

}  // namespace

VsockConnection::VsockConnection(VsockPorts ports, Fd socket, Begun by)
    : ports_{ports},
      socket_{std::move(socket)},
      state_{by == Begun::ByHost ? State::Asked : State::Open},
      readable_{by == Begun::ByGuest} {
    want(by == Begun::ByHost ? VsockOperation::Request : VsockOperation::Response);
}

void VsockConnection::take(const VsockHeader& header, Buffers& data) {
    if (over_ || wants(VsockOperation::Reset)) return;
    take_credit(header);
    switch (header.operation) {
        case VsockOperation::Response: return state_ == State::Asked ? opened() : break_off();
        case VsockOperation::Data: return state_ == State::Open ? receive(data) : break_off();
        case VsockOperation::Shutdown: return shut_down(header.flags & VsockHeader::Nothing);
        case VsockOperation::CreditUpdate: return;
        case VsockOperation::CreditRequest: return want(VsockOperation::CreditUpdate);
        case VsockOperation::Reset: over_ = true; return;
        case VsockOperation::Invalid:
        case VsockOperation::Request: break;
    }
    break_off();
}

void VsockConnection::take_credit(const VsockHeader& header) {
    guest_size_ = header.buffer_size;
    guest_forwarded_ = header.forwarded;
    asked_for_credit_ = false;
}

// Whoever asked on the host gets to know, by a line that a socket nobody has written to yet has room for.
void VsockConnection::opened() {
    state_ = State::Open;
    readable_ = true;
    std::string line = fmt::format("OK {}\n", ports_.host);
    if (send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT) !=
        static_cast<ssize_t>(line.size()))
        end_of_host(VsockHeader::Nothing);
}

void VsockConnection::break_off() {
    socket_.reset();
    waiting_.clear();
    wanted_ = bit(VsockOperation::Reset);
}

// --- to the host ------------------------------------------------------------------------------------------

void VsockConnection::receive(Buffers& data) {
    std::uint64_t held = received_ - forwarded_;
    if ((guest_ended_ & VsockHeader::NoSend) != 0 || held + data.size() > room) return break_off();
    received_ += static_cast<std::uint32_t>(data.size());
    if (host_takes() && waiting_.empty()) {
        VsockBacklog::Sent sent = send_now(socket_.get(), data);
        data.drop_front(sent.bytes);
        note(sent);
    }
    if (host_takes())
        waiting_.add(data);
    else
        forwarded_ = received_;
    tell_credit();
}

bool VsockConnection::host_takes() const { return socket_ && (host_ended_ & VsockHeader::NoReceive) == 0; }

void VsockConnection::note(VsockBacklog::Sent sent) {
    forwarded_ += static_cast<std::uint32_t>(sent.bytes);
    if (sent.refused) end_of_host(VsockHeader::NoReceive);
}

void VsockConnection::flush() {
    note(waiting_.send_to(socket_.get()));
    if (!host_takes()) return;
    tell_credit();
    if (waiting_.empty()) close_if_done();
}

std::optional<VsockConnection::Rest> VsockConnection::take_rest() {
    if (!host_takes() || waiting_.empty()) return std::nullopt;
    return Rest{std::move(socket_), std::exchange(waiting_, {})};
}

// Before the guest has to stop for want of it, but not for every packet.
void VsockConnection::tell_credit() {
    if (forwarded_ - told_forwarded_ >= room / 2) want(VsockOperation::CreditUpdate);
}

void VsockConnection::shut_down(std::uint32_t how) {
    guest_ended_ |= how;
    if (socket_ && (how & VsockHeader::NoReceive) != 0) shutdown(socket_.get(), SHUT_RD);
    if (waiting_.empty()) close_if_done();
}

// The guest's last byte has gone to the host.
void VsockConnection::close_if_done() {
    if (guest_ended_ == VsockHeader::Nothing) return break_off();
    if (socket_ && (guest_ended_ & VsockHeader::NoSend) != 0) shutdown(socket_.get(), SHUT_WR);
}

// --- to the guest -----------------------------------------------------------------------------------------

std::uint32_t VsockConnection::guest_room() const {
    std::uint32_t on_the_way = sent_ - guest_forwarded_;
    return guest_size_ > on_the_way ? guest_size_ - on_the_way : 0;
}

bool VsockConnection::reads() const {
    return socket_ && state_ == State::Open && (guest_ended_ & VsockHeader::NoReceive) == 0 &&
           (host_ended_ & VsockHeader::NoSend) == 0;
}

bool VsockConnection::has_packet() const {
    if (over_) return false;
    return wanted_ != 0 || (reads() && readable_ && (guest_room() > 0 || !asked_for_credit_));
}

VsockHeader VsockConnection::header(VsockOperation operation) {
    wanted_ &= ~bit(operation);
    told_forwarded_ = forwarded_;
    return {.source_port = ports_.host,
            .destination_port = ports_.guest,
            .operation = operation,
            .buffer_size = room,
            .forwarded = forwarded_};
}

std::optional<VsockHeader> VsockConnection::next(const Buffers& payload) {
    for (auto first : {VsockOperation::Reset, VsockOperation::Request, VsockOperation::Response}) {
        if (!wants(first)) continue;
        if (first == VsockOperation::Reset) over_ = true;
        return header(first);
    }
    if (reads() && readable_ && guest_room() > 0) {
        if (auto data = read(payload)) return data;
    } else if (reads() && readable_ && !std::exchange(asked_for_credit_, true)) {
        return header(VsockOperation::CreditRequest);
    }
    if (wants(VsockOperation::Shutdown)) {
        VsockHeader packet = header(VsockOperation::Shutdown);
        packet.flags = host_ended_;
        return packet;
    }
    if (wants(VsockOperation::CreditUpdate)) return header(VsockOperation::CreditUpdate);
    return std::nullopt;
}

std::optional<VsockHeader> VsockConnection::read(const Buffers& payload) {
    std::array<iovec, 16> pieces;
    std::size_t count = 0;
    std::size_t size = 0;
    for (const iovec& piece : payload.pieces().first(std::min(pieces.size(), payload.pieces().size()))) {
        std::size_t length = std::min<std::size_t>(piece.iov_len, guest_room() - size);
        pieces[count++] = {piece.iov_base, length};
        size += length;
    }
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    ssize_t got = recvmsg(socket_.get(), &message, MSG_DONTWAIT);
    // What is less than there is room for was all.
    readable_ = got > 0 && static_cast<std::size_t>(got) == size;
    if (got > 0) {
        sent_ += static_cast<std::uint32_t>(got);
        VsockHeader packet = header(VsockOperation::Data);
        wanted_ &= ~bit(VsockOperation::CreditUpdate);
        packet.length = static_cast<std::uint32_t>(got);
        return packet;
    }
    if (got == 0) end_of_host(VsockHeader::NoSend);
    if (got < 0 && !would_wait()) end_of_host(VsockHeader::Nothing);
    return std::nullopt;
}

// The host will not do any of this any more.
void VsockConnection::end_of_host(std::uint32_t how) {
    host_ended_ |= how;
    want(VsockOperation::Shutdown);
    if (host_ended_ == VsockHeader::Nothing) socket_.reset();
    if (host_takes()) return;
    waiting_.clear();
    forwarded_ = received_;
    close_if_done();
}

// --- what the host's socket is waited for -----------------------------------------------------------------

// A socket whose other end has gone is always ready, so it is not waited for in vain.
short VsockConnection::events() const {
    int events = 0;
    if (reads() && !readable_ && guest_room() > 0) events |= POLLIN;
    if (socket_ && !waiting_.empty()) events |= POLLOUT;
    if (socket_ && host_ended_ == VsockHeader::NoSend) events |= POLLHUP;
    return static_cast<short>(events);
}

void VsockConnection::handle(short events) {
    if (!socket_ || events == 0) return;
    if ((events & (POLLHUP | POLLERR)) != 0 && (host_ended_ & VsockHeader::NoSend) != 0)
        return end_of_host(VsockHeader::Nothing);
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) readable_ = true;
    if ((events & (POLLOUT | POLLHUP | POLLERR)) != 0 && !waiting_.empty()) flush();
}

}  // namespace undercroft
