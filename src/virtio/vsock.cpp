// SPDX-License-Identifier: Apache-2.0
#include "virtio/vsock.hpp"

#include <utility>

namespace undercroft {
namespace {

// struct virtio_vsock_config.
struct Config {
    std::uint64_t guest_cid = 0;
};

}  // namespace

void VirtioVsock::on_work(std::function<void()> ask) {
    transmitter_.on_work(ask);
    receiver_.on_work(std::move(ask));
}

std::uint8_t VirtioVsock::config(std::uint64_t offset) const {
    return config_byte(Config{host_.guest_cid()}, offset);
}

void VirtioVsock::start(std::uint64_t, std::span<Queue> queues, VirtioTransport& transport) {
    host_.start();
    transmitter_.start(queues.subspan(transmit_queue, 1), transport);
    receiver_.start(queues.subspan(receive_queue, 1), transport);
}

void VirtioVsock::notify(unsigned queue) {
    if (queue == transmit_queue) transmitter_.notify();
    if (queue == receive_queue) receiver_.notify();
}

// The host's connections last: a request at hand may still make one.
void VirtioVsock::reset() {
    transmitter_.reset();
    receiver_.reset();
    host_.reset();
}

bool VirtioVsock::serve() {
    bool more = transmitter_.fetch();
    if (more) {
        for (QueueServer::Request& request : transmitter_.at_hand()) request.fault = transmit(request.chain);
        transmitter_.give_back();
    }
    guest_has_room_ = true;
    while (host_.has_packet()) {
        guest_has_room_ = receiver_.fetch();
        if (!guest_has_room_) break;
        std::size_t done = 0;
        for (QueueServer::Request& request : receiver_.at_hand()) {
            request.fault = receive(request);
            if (request.fault == nullptr && request.written == 0) break;
            ++done;
        }
        receiver_.give_back(done);
    }
    return more;
}

const char* VirtioVsock::transmit(Chain& request) {
    VsockHeader header;
    if (request.readable.take_front(std::as_writable_bytes(std::span{&header, 1})) != sizeof header)
        return "a socket packet without its header";
    host_.take(header, request.readable);
    return nullptr;
}

const char* VirtioVsock::receive(QueueServer::Request& request) {
    if (request.chain.writable.size() <= sizeof(VsockHeader)) return "a buffer without room for a packet";
    request.written = static_cast<std::uint32_t>(host_.put(request.chain.writable));
    return nullptr;
}

void VirtioVsock::add_polls(std::vector<pollfd>& polls, int& /*timeout_ms*/) {
    host_.add_polls(polls, guest_has_room_);
}

}  // namespace undercroft
