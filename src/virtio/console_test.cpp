// SPDX-License-Identifier: Apache-2.0
// The console device as its driver sees it: registers, queues in memory, and host's ends of the test's.
#include "virtio/console.hpp"

#include "virtio/test_driver.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace undercroft::test {
namespace {

using Control = VirtioConsole::Control;
using Feature = VirtioConsole::Feature;

struct TestPort final : ConsolePort {
    std::string_view name() const override { return called; }
    Input input() override {
        if (!to_guest.empty()) return Input::Bytes;
        return at_end ? Input::End : Input::Nothing;
    }
    std::size_t read(std::span<std::byte> room) override {
        std::size_t count = std::min(room.size(), to_guest.size());
        std::copy_n(std::as_bytes(std::span{to_guest}).begin(), count, room.begin());
        to_guest.erase(0, count);
        return count;
    }
    Output output() override { return state; }
    void write(std::span<const std::byte> bytes) override {
        from_guest.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    void on_change(std::function<void()> to_wake) override { wake = std::move(to_wake); }

    std::string called, to_guest, from_guest;
    bool at_end = false;
    Output state = Output::Room;
    std::function<void()> wake;
};

// Each queue in pages of its own: TestMemory's rings, moved.
struct ConsoleTest : testing::Test {
    static constexpr unsigned input_0 = 0, output_0 = 1, control_in = 2, control_out = 3, input_1 = 4,
                              output_1 = 5;
    static constexpr std::uint64_t data = 0x20000;  // behind all rings

    TestMemory memory;
    TestPort first, second;
    std::array<ConsolePort*, 2> ends{&first, &second};
    std::mutex lock;
    bool line = false;
    unsigned asked = 0;
    std::optional<VirtioConsole> console;
    std::optional<MmioTransport> transport;
    std::array<std::uint16_t, 6> offered{};

    void SetUp() override {
        console.emplace(ends, memory.device(), lock);
        console->on_work([this] { ++asked; });
        transport.emplace(
            *console, memory.device(), [this](bool level) { line = level; }, "console");
    }

    static std::uint64_t ring(unsigned queue) { return 0x4000 + queue * 0x1000u; }
    static std::uint64_t used(unsigned queue) { return ring(queue) + 0x800; }

    void start(std::uint64_t features) {
        offered = {};
        start_driver(*transport, features, 8, 0);  // on rings that are not used
        std::lock_guard held{lock};
        test::write(*transport, Reg::Status, 0);
        using Status = MmioTransport::Status;
        constexpr std::uint32_t steps = Status::ACKNOWLEDGE | Status::DRIVER;
        test::write(*transport, Reg::Status, steps);
        test::write(*transport, Reg::DriverFeaturesSel, 0);
        test::write(*transport, Reg::DriverFeatures, static_cast<std::uint32_t>(features));
        test::write(*transport, Reg::DriverFeaturesSel, 1);
        test::write(*transport, Reg::DriverFeatures, 1);
        test::write(*transport, Reg::Status, steps | Status::FEATURES_OK);
        for (unsigned queue = 0; queue < 6; ++queue) {
            memory.put(ring(queue) + 0x402, std::uint16_t{0});
            memory.put(used(queue) + 2, std::uint16_t{0});
            test::write(*transport, Reg::QueueSel, queue);
            test::write(*transport, Reg::QueueNum, 8);
            test::write(*transport, Reg::QueueDescLow, static_cast<std::uint32_t>(ring(queue)));
            test::write(*transport, Reg::QueueDriverLow, static_cast<std::uint32_t>(ring(queue) + 0x400));
            test::write(*transport, Reg::QueueDeviceLow, static_cast<std::uint32_t>(used(queue)));
            test::write(*transport, Reg::QueueReady, 1);
        }
        test::write(*transport, Reg::Status, steps | Status::FEATURES_OK | Status::DRIVER_OK);
    }
    // A request of one piece.
    void offer(unsigned queue, const Descriptor& piece) {
        std::uint16_t index = offered[queue]++;
        memory.describe(index % 8, piece, ring(queue));
        memory.put(ring(queue) + 0x404 + 2ull * (index % 8), static_cast<std::uint16_t>(index % 8));
        memory.put(ring(queue) + 0x402, offered[queue]);
    }
    void serve() { console->serve(); }

    std::uint16_t given_back(unsigned queue) { return memory.get<std::uint16_t>(used(queue) + 2); }
    std::uint32_t written(unsigned queue, unsigned at) {
        return memory.get<std::uint32_t>(used(queue) + 8 + 8 * (at % 8));
    }
    bool needs_reset() {
        return (read(*transport, Reg::Status) & MmioTransport::Status::DEVICE_NEEDS_RESET) != 0;
    }

    void say(const Control& message) {
        memory.put(data, message);
        offer(control_out, {data, sizeof message});
        serve();
    }
    // What the device says next, into a buffer of so many bytes.
    Control hear(std::uint32_t room = 100) {
        std::uint64_t at = data + 0x1000;
        memory.put(at, Control{.id = 99, .event = 99, .value = 99});
        unsigned count = given_back(control_in);
        offer(control_in, {at, room, flag::write});
        serve();
        EXPECT_EQ(given_back(control_in), count + 1);
        return memory.get<Control>(at);
    }
    // As Linux's driver does.
    void open_ports() {
        start(Feature::MultiPort);
        say({.event = VirtioConsole::DEVICE_READY, .value = 1});
        for (unsigned n = 0; n < 2; ++n) EXPECT_EQ(hear().event, VirtioConsole::PORT_ADD);
        for (unsigned n = 0; n < 2; ++n) {
            say({.id = n, .event = VirtioConsole::PORT_READY, .value = 1});
            EXPECT_EQ(hear().event, VirtioConsole::PORT_OPEN);
            say({.id = n, .event = VirtioConsole::PORT_OPEN, .value = 1});
        }
    }
    void write(unsigned queue, std::string_view text) {
        for (std::size_t n = 0; n < text.size(); ++n) memory.put(data + n, text[n]);
        offer(queue, {data, static_cast<std::uint32_t>(text.size())});
        serve();
    }
};

TEST_F(ConsoleTest, Configuration) {
    EXPECT_EQ(transport->read(0x008, 4), 3u);
    EXPECT_EQ(transport->read(0x100, 4), 0u);
    EXPECT_EQ(transport->read(0x104, 4), 2u) << "ports";
    EXPECT_EQ(transport->read(0x108, 8), 0u);
    EXPECT_EQ(console->queue_count(), 6u);
}

TEST_F(ConsoleTest, TellsOfItsPortsInTurn) {
    second.called = "a name";
    start(Feature::MultiPort);
    say({.event = VirtioConsole::DEVICE_READY, .value = 1});
    for (std::uint32_t n = 0; n < 2; ++n) {
        Control message = hear();
        EXPECT_EQ(message.id, n);
        EXPECT_EQ(message.event, VirtioConsole::PORT_ADD);
    }
    say({.id = 1, .event = VirtioConsole::PORT_READY, .value = 1});
    Control message = hear();
    EXPECT_EQ(message.id, 1u);
    EXPECT_EQ(message.event, VirtioConsole::PORT_NAME);
    EXPECT_EQ(written(control_in, 2), sizeof message + 6);
    EXPECT_EQ(memory.get<char>(data + 0x1000 + sizeof message + 2), 'n');
    message = hear();
    EXPECT_EQ(message.event, VirtioConsole::PORT_OPEN);
    EXPECT_EQ(message.value, 1);
    EXPECT_TRUE(line);
}

TEST_F(ConsoleTest, PortsAreApart) {
    open_ports();
    write(output_0, "one");
    write(output_1, "two");
    EXPECT_EQ(first.from_guest, "one");
    EXPECT_EQ(second.from_guest, "two");
    EXPECT_EQ(given_back(output_1), 1);
    EXPECT_EQ(written(output_1, 0), 0u);
    second.to_guest = "three";
    offer(input_0, {data, 100, flag::write});
    offer(input_1, {data + 100, 3, flag::write});
    serve();
    EXPECT_EQ(given_back(input_0), 0);
    EXPECT_EQ(written(input_1, 0), 3u);
    EXPECT_EQ(memory.get<char>(data + 102), 'r');
    EXPECT_EQ(second.to_guest, "ee") << "until there is room";
}

TEST_F(ConsoleTest, NothingComesBeforeTheGuestHasOpenedAPort) {
    start(Feature::MultiPort);
    first.to_guest = "early";
    offer(input_0, {data, 100, flag::write});
    serve();
    EXPECT_EQ(given_back(input_0), 0);
    say({.id = 0, .event = VirtioConsole::PORT_OPEN, .value = 1});
    EXPECT_EQ(given_back(input_0), 1);
}

TEST_F(ConsoleTest, OutputWaitsWhileThereIsNoRoom) {
    open_ports();
    first.state = ConsolePort::Output::Full;
    write(output_0, "later");
    EXPECT_EQ(given_back(output_0), 0);
    write(output_1, "now");
    EXPECT_EQ(second.from_guest, "now") << "the others go on";
    first.state = ConsolePort::Output::Room;
    asked = 0;
    first.wake();
    EXPECT_EQ(asked, 1u);
    memory.put(data, 'L');
    serve();
    EXPECT_EQ(first.from_guest.size(), 5u);
}

TEST_F(ConsoleTest, TheHostClosesAPort) {
    open_ports();
    first.to_guest = "last words";
    first.at_end = true;
    offer(input_0, {data + 0x2000, 100, flag::write});
    serve();
    EXPECT_EQ(written(input_0, 0), 10u);
    Control message = hear();
    EXPECT_EQ(message.id, 0u);
    EXPECT_EQ(message.event, VirtioConsole::PORT_OPEN);
    EXPECT_EQ(message.value, 0);
    second.state = ConsolePort::Output::Closed;
    write(output_1, "to nobody");
    EXPECT_EQ(given_back(output_1), 1) << "or the guest would wait for ever";
    EXPECT_EQ(second.from_guest, "");
    message = hear();
    EXPECT_EQ(message.id, 1u);
    EXPECT_EQ(message.value, 0);
}

TEST_F(ConsoleTest, APortWhoseOtherEndComesAndGoes) {
    first.state = ConsolePort::Output::Closed;
    start(Feature::MultiPort);
    say({.event = VirtioConsole::DEVICE_READY, .value = 1});
    for (unsigned n = 0; n < 2; ++n) EXPECT_EQ(hear().event, VirtioConsole::PORT_ADD);
    say({.id = 0, .event = VirtioConsole::PORT_READY, .value = 1});
    // That it is closed need not be said.
    for (bool there : {true, false, true}) {
        first.state = there ? ConsolePort::Output::Room : ConsolePort::Output::Closed;
        Control message = hear();
        EXPECT_EQ(message.event, VirtioConsole::PORT_OPEN);
        EXPECT_EQ(message.value, there ? 1 : 0);
        write(output_0, there ? "+" : "-");
    }
    EXPECT_EQ(first.from_guest, "++");
}

TEST_F(ConsoleTest, ADriverThatKnowsOnePortHasTheFirst) {
    start(0);
    write(output_0, "hello");
    EXPECT_EQ(first.from_guest, "hello");
    first.to_guest = "you";
    offer(input_0, {data, 100, flag::write});
    serve();
    EXPECT_EQ(written(input_0, 0), 3u);
    say({.event = VirtioConsole::DEVICE_READY, .value = 1});
    write(output_1, "what");
    EXPECT_EQ(given_back(control_out), 0);
    EXPECT_EQ(given_back(output_1), 0);
}

TEST_F(ConsoleTest, MessagesThatMakeNoSenseAreIgnored) {
    start(Feature::MultiPort);
    memory.put(data, Control{.event = VirtioConsole::DEVICE_READY, .value = 1});
    offer(control_out, {data, sizeof(Control) - 1});
    serve();
    for (std::uint16_t event = 0; event < 300; ++event) {
        say({.id = 2, .event = event, .value = 1'000});
        say({.id = 0xffffffff, .event = event, .value = 0});
    }
    EXPECT_FALSE(needs_reset());
    offer(control_in, {data, 100, flag::write});
    serve();
    EXPECT_EQ(given_back(control_in), 0) << "there is nothing to be said";
}

TEST_F(ConsoleTest, AGuestThatAsksAndDoesNotListenIsNotAnsweredForEver) {
    start(Feature::MultiPort);
    constexpr unsigned times = VirtioConsole::most_messages;  // each asks for two
    for (unsigned n = 0; n < times; ++n) say({.event = VirtioConsole::DEVICE_READY, .value = 1});
    for (unsigned n = 0; n < VirtioConsole::most_messages; ++n)
        EXPECT_EQ(hear().event, VirtioConsole::PORT_ADD);
    unsigned count = given_back(control_in);
    offer(control_in, {data, 100, flag::write});
    serve();
    EXPECT_EQ(given_back(control_in), count);
}

TEST_F(ConsoleTest, AMessageIsCutToItsBuffer) {
    start(Feature::MultiPort);
    say({.event = VirtioConsole::DEVICE_READY, .value = 1});
    Control message = hear(4);
    EXPECT_EQ(message.id, 0u);
    EXPECT_EQ(message.event, 99);
    EXPECT_EQ(written(control_in, 0), 4u);
}

TEST_F(ConsoleTest, HostileRequestsBreakTheDevice) {
    struct Case {
        unsigned queue;
        Descriptor piece;
        const char* why;
    };
    first.to_guest = "input";
    for (const Case& each :
         {Case{output_0, {1ull << 45, 100}, "outside memory"}, Case{output_0, {data, 0}, "without a length"},
          Case{output_0, {data, 100, flag::next, 200}, "a descriptor beyond the table"},
          Case{control_out, {TestMemory::size - 4, 8}, "half outside memory"},
          Case{input_0, {data, 100}, "input into what is only to be read"}}) {
        open_ports();
        offer(each.queue, each.piece);
        serve();
        EXPECT_TRUE(needs_reset()) << each.why;
        write(output_1, "more");
        EXPECT_EQ(given_back(output_1), 0) << "nothing happens any more";
    }
    open_ports();
    EXPECT_FALSE(needs_reset());
    EXPECT_EQ(first.to_guest, "input");
    write(output_0, "works again");
    EXPECT_EQ(first.from_guest, "works again");
}

// Seven pieces of 160 KiB, which lie in the same place.
TEST_F(ConsoleTest, OutputOfTooManyBytesAtOnceBreaksTheDevice) {
    open_ports();
    for (std::uint16_t n = 0; n < 7; ++n)
        memory.describe(
            n,
            {0x10000, 160u << 10, n < 6 ? flag::next : std::uint16_t{0}, static_cast<std::uint16_t>(n + 1)},
            ring(output_0));
    memory.put(ring(output_0) + 0x404, std::uint16_t{0});
    memory.put(ring(output_0) + 0x402, std::uint16_t{1});
    serve();
    EXPECT_TRUE(needs_reset());
    EXPECT_EQ(first.from_guest, "");
}

TEST_F(ConsoleTest, AResetForgetsWhatTheGuestHadOpened) {
    open_ports();
    start(Feature::MultiPort);
    first.to_guest = "x";
    offer(input_0, {data, 100, flag::write});
    serve();
    EXPECT_EQ(given_back(input_0), 0);
}

}  // namespace
}  // namespace undercroft::test
