// SPDX-License-Identifier: Apache-2.0
#include "virtio/net.hpp"

#include <array>
#include <cstddef>

namespace undercroft {
namespace {

// struct virtio_net_config, up to what our features make valid.
struct Config {
    MacAddress mac{};
    std::uint16_t status = 1;  // VIRTIO_NET_S_LINK_UP
    std::uint16_t max_virtqueue_pairs = 1;
    std::uint16_t mtu = 0;
};
static_assert(sizeof(Config) == 12 && offsetof(Config, mtu) == 10, "virtio 1.2 section 5.1.4");

constexpr std::size_t most_at_once = 64;

// OffloadHeader::gso_type.
constexpr std::uint8_t gso_none = 0, gso_tcp4 = 1, gso_tcp6 = 4;

}  // namespace

VirtioNet::VirtioNet(NetBackend& backend, const MacAddress& address, const DmaMemory& memory,
                     std::mutex& lock)
    : backend_{backend}, address_{address}, receiver_{memory, lock}, server_{memory, lock, most_at_once} {
    backend_.attach(&receiver_);
}

void VirtioNet::on_work(std::function<void()> ask) {
    receiver_.on_work(ask);
    server_.on_work(std::move(ask));
}

std::uint64_t VirtioNet::features() const {
    Offloads offloads = backend_.offloads();
    std::uint64_t all = Feature::Mac | Feature::Status | Feature::Mtu | Feature::MergeBuffers;
    if (offloads.checksum) all |= Feature::Checksum | Feature::GuestChecksum;
    if (offloads.segments)
        all |= Feature::HostTso4 | Feature::HostTso6 | Feature::GuestTso4 | Feature::GuestTso6;
    return all;
}

std::uint8_t VirtioNet::config(std::uint64_t offset) const {
    Config config{.mac = address_, .mtu = static_cast<std::uint16_t>(backend_.mtu())};
    return config_byte(config, offset);
}

void VirtioNet::start(std::uint64_t agreed_features, std::span<Queue> queues, VirtioTransport& transport) {
    agreed_ = agreed_features;
    auto has = [agreed_features](std::uint64_t all) { return (agreed_features & all) == all; };
    NetAgreement agreed{.checksum = has(Feature::GuestChecksum), .merge = has(Feature::MergeBuffers)};
    bool segments = has(Feature::GuestChecksum | Feature::GuestTso4 | Feature::GuestTso6);
    backend_.set_receive_offloads({.checksum = agreed.checksum, .segments = segments});
    receiver_.start(queues[receive_queue], agreed, transport);
    server_.start(queues.subspan(transmit_queue, 1), transport);
}

void VirtioNet::reset() {
    receiver_.reset();
    server_.reset();
}

bool VirtioNet::serve() {
    receiver_.take_waiting();
    receiver_.settle();
    if (!server_.fetch()) return false;
    for (QueueServer::Request& request : server_.at_hand()) request.fault = transmit(request.chain);
    backend_.sent();
    server_.give_back();
    return true;
}

const char* VirtioNet::transmit(Chain& request) {
    Frame frame;
    if (request.readable.take_front(std::as_writable_bytes(std::span{&frame.offload, 1})) !=
        sizeof frame.offload)
        return "a frame without its header";
    frame.pieces = request.readable.pieces();
    frame.size = request.readable.size();
    if (may_pass(frame.offload, frame.size)) backend_.send(frame);
    return nullptr;
}

// What was not agreed on, or makes no sense, is dropped.
bool VirtioNet::may_pass(const OffloadHeader& offload, std::size_t size) const {
    if (size < Frame::shortest || size > Frame::longest) return false;
    bool checksum = offload.flags == OffloadHeader::NeedsChecksum;
    if (offload.flags != 0 && !checksum) return false;
    if (checksum && ((agreed_ & Feature::Checksum) == 0 ||
                     std::size_t{offload.csum_start} + offload.csum_offset + 2 > size))
        return false;
    switch (offload.gso_type) {
        case gso_none: return true;
        case gso_tcp4: return checksum && (agreed_ & Feature::HostTso4) != 0;
        case gso_tcp6: return checksum && (agreed_ & Feature::HostTso6) != 0;
        default: return false;
    }
}

}  // namespace undercroft
