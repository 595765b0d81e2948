// SPDX-License-Identifier: Apache-2.0
// VirtioConsole: ports between the guest's programs and the host (virtio 1.2 section 5.3): with the feature
// MULTIPORT as many as there are host's ends, which the guest sees as /dev/vportDpN; without it the first
// one. None of them is a console for its kernel. Left out: sizes, emergency writes.
//
// The thread that calls serve() copies what the guest writes and what the host has for it under the lock of
// the machine's devices, by turns for each port, so that none holds up another. Where a port has no room, the
// guest's requests stay in its queue.

#pragma once

#include "virtio/console_port.hpp"
#include "virtio/device.hpp"

#include <array>
#include <deque>
#include <functional>
#include <mutex>
#include <string_view>
#include <vector>

namespace undercroft {

class VirtioConsole final : public VirtioDevice {
public:
    struct Feature {
        static constexpr std::uint64_t MultiPort = 1ull << 1;
    };
    struct Control {  // struct virtio_console_control
        std::uint32_t id = 0;
        std::uint16_t event = 0;
        std::uint16_t value = 0;
    };
    static_assert(sizeof(Control) == 8, "virtio 1.2 section 5.3.6.2");
    enum Event : std::uint16_t {
        DEVICE_READY = 0,
        PORT_ADD = 1,
        PORT_READY = 3,
        PORT_OPEN = 6,
        PORT_NAME = 7
    };

    static constexpr std::size_t most_output = 1u << 20;  // bytes in one request
    // Those of the driver that are not answered yet: who asks for more than he reads is not answered.
    static constexpr std::size_t most_messages = 256;

    // `lock` is that of the machine's devices. All of them outlive the device. One port at least.
    VirtioConsole(std::span<ConsolePort* const> ports, const DmaMemory& memory, std::mutex& lock);

    // Who makes a thread of the device's own call serve().
    void on_work(const std::function<void()>& ask);
    void serve();

    VirtioDeviceId id() const override { return VirtioDeviceId::Console; }
    std::uint64_t features() const override { return Feature::MultiPort; }
    unsigned queue_count() const override { return static_cast<unsigned>(2 * (ports_.size() + 1)); }
    std::uint8_t config(std::uint64_t offset) const override;
    void start(std::uint64_t agreed_features, std::span<Queue> queues, VirtioTransport& transport) override;
    void notify(unsigned) override { ask_(); }
    void reset() override;

private:
    struct Port {
        ConsolePort* host = nullptr;
        bool ready = false;   // the driver knows it
        bool open = false;    // in the guest
        bool ended = false;   // its input
        bool closed = false;  // on the host, as the driver was told or will be when it is ready
    };
    struct Message {
        Control control;
        std::string_view name;  // of PORT_NAME
    };

    bool serve_once();
    // Under the lock. True: there was something.
    bool hear_driver();
    bool tell_driver();
    bool take_output(unsigned number);
    bool give_input(unsigned number);

    bool pop(Queue& queue);
    void push(Queue& queue, std::uint32_t written);
    bool take_from(unsigned queue);  // to `output_`
    void break_down(const char* why);
    void hear(const Control& message);
    void tell(std::uint32_t id, Event event, std::uint16_t value, std::string_view name = {});
    void look_at_the_end_of(unsigned number);

    std::vector<Port> ports_;
    const DmaMemory& memory_;
    std::mutex& lock_;
    std::function<void()> ask_ = [] {};

    // Under `lock_`.
    std::span<Queue> queues_;  // none unless it runs
    VirtioTransport* transport_ = nullptr;
    bool several_ = false;  // agreed on
    std::deque<Message> to_driver_;

    // Of the thread.
    Chain chain_;
    std::vector<std::byte> output_;
    std::array<std::byte, 4096> input_{};
};

}  // namespace undercroft
