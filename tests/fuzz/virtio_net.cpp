// SPDX-License-Identifier: Apache-2.0
// A virtio network device under anything a guest can do (virtio_guest.hpp), between a network that takes
// every frame apart and one that sends it frames of all sizes.
#include "net/checksum.hpp"
#include "virtio/net.hpp"
#include "virtio_guest.hpp"

#include <string>
#include <vector>

using namespace undercroft;

namespace {

class FuzzNetwork final : public NetBackend {
public:
    const std::string& name() const override { return name_; }
    Offloads offloads() const override { return {.checksum = true, .segments = true}; }
    unsigned mtu() const override { return 1500; }
    void attach(NetPort* to) override { port = to; }
    void send(const Frame& frame) override {
        CHECK(frame.size >= Frame::shortest && frame.size <= Frame::longest);
        bytes_.resize(frame.size);
        CHECK(frame.copy_front(bytes_) == frame.size, "a frame is as long as its pieces");
        OffloadHeader offload = frame.offload;
        if ((offload.flags & OffloadHeader::NeedsChecksum) != 0) complete_checksum(bytes_, offload);
    }

    NetPort* port = nullptr;

private:
    std::string name_ = "fuzz";
    std::vector<std::byte> bytes_;
};

class Guest final : public fuzz::VirtioGuest {
public:
    Guest() { connect(net_); }

private:
    void serve() override {
        while (net_.serve()) {
        }
    }

    // A frame of any length, with or without something unfinished, in one or two pieces.
    void event(fuzz::Input& input) override {
        std::size_t size = Frame::shortest + input.take<std::uint16_t>() % 5000u;
        std::vector<std::byte> bytes(size, std::byte{0x5a});
        std::array pieces{iovec{bytes.data(), size / 3}, iovec{bytes.data() + size / 3, size - size / 3}};
        Frame frame{.offload = {}, .pieces = pieces, .size = size};
        if (input.below(2) != 0)
            frame.offload = {.flags = OffloadHeader::NeedsChecksum, .csum_start = 2, .csum_offset = 10};
        network_.port->receive(frame);
        if (input.below(2) != 0) network_.port->received();
    }

    // A header of any contents and a frame; or a buffer to receive into.
    void request(fuzz::Input& input) override {
        std::uint64_t data = free_memory + 0x1000 + input.take<std::uint16_t>() % 0x8000u;
        auto length = 1u + input.take<std::uint16_t>() % 0x3000u;
        if (input.below(2) == 0) return offer(0, {{data, length, 2, 0}});
        OffloadHeader header{.flags = static_cast<std::uint8_t>(input.below(4)),
                             .gso_type = static_cast<std::uint8_t>(input.below(6)),
                             .csum_start = input.take<std::uint16_t>(),
                             .csum_offset = input.take<std::uint8_t>()};
        put(free_memory, header);
        offer(1, {{free_memory, 12, 1, 1}, {data, length, 0, 0}});
    }

    FuzzNetwork network_;
    VirtioNet net_{network_, {0x52, 0x55, 0, 0, 0, 1}, dma_, lock_};
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::run_guest<Guest>(data, size);
}
