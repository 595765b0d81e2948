// SPDX-License-Identifier: Apache-2.0
// VsockConnection: a stream between a port of the guest's and a socket of the host's, with the flow control
// of virtio 1.2 section 5.10.6.3 towards the guest.
//
// The guest may send as much as we have room for; what the host's socket does not take at once waits in that
// room. It gets from us what it has room for. Each side may end its half of the stream, or both.

#pragma once

#include "base/buffers.hpp"
#include "base/fd.hpp"
#include "vsock/backlog.hpp"
#include "vsock/packet.hpp"

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace undercroft {

class VsockConnection {
public:
    // What the guest may have on its way to the host's socket.
    static constexpr std::uint32_t room = 256u << 10;

    enum class Begun : std::uint8_t { ByHost, ByGuest };

    VsockConnection(VsockPorts ports, Fd socket, Begun by);

    const VsockPorts& ports() const { return ports_; }

    // A packet of the guest's on this connection, with its data. Breaks it off if it may not be.
    void take(const VsockHeader& header, Buffers& data);
    // What room the guest has, by a packet of its.
    void take_credit(const VsockHeader& header);

    // There is something to tell the guest, or to try to.
    bool has_packet() const;
    // Makes the next packet: data goes to `payload`. Its header lacks the addresses. Nothing: there was none
    // after all.
    std::optional<VsockHeader> next(const Buffers& payload);

    // Nobody will say anything on it any more: it may go.
    bool is_over() const { return over_; }
    // What the host's socket is still to get, if it is, when it goes.
    struct Rest {
        Fd socket;
        VsockBacklog bytes;
    };
    std::optional<Rest> take_rest();

    // What to wait for on socket(), zero for nothing at all; and what came of it.
    short events() const;
    int socket() const { return socket_.get(); }
    void handle(short events);

private:
    enum class State : std::uint8_t { Asked, Open };

    void opened();
    void shut_down(std::uint32_t how);
    void receive(Buffers& data);
    void note(VsockBacklog::Sent sent);
    void flush();
    void tell_credit();
    std::optional<VsockHeader> read(const Buffers& payload);
    void end_of_host(std::uint32_t how);
    void close_if_done();
    void break_off();
    void want(VsockOperation operation) { wanted_ |= bit(operation); }
    bool wants(VsockOperation operation) const { return (wanted_ & bit(operation)) != 0; }
    static std::uint32_t bit(VsockOperation operation) { return 1u << static_cast<unsigned>(operation); }
    bool reads() const;       // from the host
    bool host_takes() const;  // what the guest sends
    std::uint32_t guest_room() const;
    VsockHeader header(VsockOperation operation);

    VsockPorts ports_;
    Fd socket_;  // none when the host's side has gone
    State state_;
    bool over_ = false;
    std::uint32_t wanted_ = 0;  // a bit for each operation that the guest has to be told of

    // To the host. Counters wrap.
    VsockBacklog waiting_;
    std::uint32_t received_ = 0;        // bytes from the guest
    std::uint32_t forwarded_ = 0;       // of them, those that we have no more
    std::uint32_t told_forwarded_ = 0;  // of them, those that the guest knows of
    std::uint32_t guest_ended_ = 0;     // VsockHeader::NoSend and so on

    // To the guest.
    bool readable_ = false;         // the host's socket may have something
    std::uint32_t guest_size_ = 0;  // of its room
    std::uint32_t guest_forwarded_ = 0;
    std::uint32_t sent_ = 0;
    bool asked_for_credit_ = false;
    std::uint32_t host_ended_ = 0;
};

}  // namespace undercroft
