// SPDX-License-Identifier: Apache-2.0
// A virtio console of two ports under anything a guest can do (virtio_guest.hpp).
#include "virtio/console.hpp"
#include "virtio_guest.hpp"

#include <algorithm>
#include <array>

using namespace undercroft;

namespace {

// A host's end that has bytes, room, or an end as the input says.
class FuzzPort final : public ConsolePort {
public:
    std::string_view name() const override { return "fuzz"; }
    Input input() override {
        if (bytes > 0) return Input::Bytes;
        return at_end ? Input::End : Input::Nothing;
    }
    std::size_t read(std::span<std::byte> room) override {
        CHECK(bytes > 0 && !room.empty());
        std::size_t count = std::min(room.size(), bytes);
        std::ranges::fill(room.first(count), std::byte{0x5a});
        bytes -= count;
        return count;
    }
    Output output() override { return state; }
    void write(std::span<const std::byte> taken) override {
        CHECK(state == Output::Room && !taken.empty() && taken.size() <= VirtioConsole::most_output);
    }
    void on_change(std::function<void()>) override {}

    std::size_t bytes = 0;
    bool at_end = false;
    Output state = Output::Room;
};

class Guest final : public fuzz::VirtioGuest {
public:
    Guest() { connect(console_); }

private:
    void serve() override { console_.serve(); }

    void event(fuzz::Input& input) override {
        FuzzPort& port = ports_[input.below(2)];
        port.bytes = input.take<std::uint16_t>();
        port.at_end = input.below(4) == 0;
        port.state = static_cast<ConsolePort::Output>(input.below(3));
    }

    // A control message, output, or room for what the device has to say.
    void request(fuzz::Input& input) override {
        unsigned to = queue(input);
        std::uint64_t data = free_memory + input.take<std::uint16_t>() % 0x8000u;
        if (to % 2 == 0) return offer(to, {{data, 1u + input.take<std::uint16_t>() % 0x2000u, 2, 0}});
        put(data, VirtioConsole::Control{.id = static_cast<std::uint32_t>(input.below(3)),
                                         .event = static_cast<std::uint16_t>(input.below(8)),
                                         .value = static_cast<std::uint16_t>(input.below(2))});
        offer(to, {{data, 8u + static_cast<std::uint32_t>(input.below(2)) * 4096u, 0, 0}});
    }

    std::array<FuzzPort, 2> ports_;
    std::array<ConsolePort*, 2> ends_{&ports_[0], &ports_[1]};
    VirtioConsole console_{ends_, dma_, lock_};
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::run_guest<Guest>(data, size);
}
