// SPDX-License-Identifier: Apache-2.0
// Any access to any device is safe: random ones, with a fixed seed. Worth most in the debug preset
// (sanitizers).
#include "device/acpi_power.hpp"
#include "device/bus.hpp"
#include "device/interrupt_routing.hpp"
#include "device/io_apic.hpp"
#include "device/local_apic.hpp"
#include "device/port61.hpp"
#include "device/post_port.hpp"
#include "device/rtc.hpp"
#include "device/serial.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>

namespace undercroft {
namespace {

struct Board {
    Board() {
        ports.attach(0x61, Port61::length, "port61", port61);
        ports.attach(0x70, Rtc::length, "rtc", rtc);
        ports.attach(0x80, PostPort::length, "post", post);
        ports.attach(0x3f8, Serial::length, "serial", serial);
        ports.attach(0x600, AcpiPower::length, "power", power);
        memory.attach(0xfec00000, IoApic::length, "ioapic", io_apic);
        memory.attach(0xfee00000, LocalApic::length, "apic", apic);
    }

    FakeClock clock{2'445'406'000};
    LocalApic apic{0,
                   ProcessorRole::Bootstrap,
                   clock,
                   {.send = [this](const Ipi& ipi) { carry(ipi); },
                    .end_of_interrupt = [this](std::uint8_t vector) { io_apic.end_of_interrupt(vector); }}};
    IoApic io_apic{[this](const InterruptMessage& message) { carry(message); }};
    Serial serial{{.interrupt = [this](bool level) { io_apic.set_level(4, level); }}};
    Rtc rtc{clock};
    AcpiPower power{{}};
    Port61 port61;
    PostPort post;
    Bus ports, memory;

    template <class Message>
    void carry(const Message& message) {
        std::array<LocalApic*, 1> apics{&apic};
        route(apics, message, [](LocalApic& target) { target.accept(0x33, TriggerMode::Level); });
    }
};

// Addresses near the devices, values that are often small or all ones.
struct Chance {
    std::mt19937_64 engine{20240229};

    std::uint64_t below(std::uint64_t limit) { return engine() % limit; }
    unsigned size() { return 1u << below(4); }
    std::uint64_t value() {
        switch (below(4)) {
            case 0: return below(256);
            case 1: return ~std::uint64_t{0} >> below(64);
            case 2: return std::uint64_t{1} << below(64) | below(256);
            default: return engine();
        }
    }
    std::uint64_t port() {
        constexpr std::array<std::uint64_t, 5> near{0x60, 0x6e, 0x7f, 0x3f4, 0x5fe};
        return near[below(near.size())] + below(16);
    }
    std::uint64_t address() {
        std::uint64_t offset = below(2) == 0 ? below(0x110) * 16 : below(0x1010);
        return (below(3) == 0 ? 0xfec00000 : 0xfee00000) + offset;
    }
    std::uint32_t msr() {
        constexpr std::array<std::uint32_t, 3> others{0x1b, 0x6e0, 0x800};
        return below(4) == 0 ? others[below(3)] : static_cast<std::uint32_t>(0x7f0 + below(0x120));
    }
};

void act(Board& board, Chance& chance) {
    constexpr std::array<std::byte, 40> typed{};
    switch (chance.below(10)) {
        case 0: board.ports.read(chance.port(), chance.size()); break;
        case 1: board.ports.write(chance.port(), chance.size(), chance.value()); break;
        case 2: board.memory.read(chance.address(), chance.size()); break;
        case 3: board.memory.write(chance.address(), chance.size(), chance.value()); break;
        case 4: board.apic.read_msr(chance.msr()); break;
        case 5: board.apic.write_msr(chance.msr(), chance.value()); break;
        case 6: board.io_apic.set_level(static_cast<unsigned>(chance.below(30)), chance.below(2) == 0); break;
        case 7: board.serial.receive(std::span{typed}.first(chance.below(40))); break;
        case 8:
            board.clock.advance(chance.below(1u << chance.below(31)));
            board.apic.run_timer();
            break;
        default:
            if (board.apic.has_deliverable()) {
                EXPECT_GE(board.apic.acknowledge().value(), 16);
            } else {
                EXPECT_EQ(board.apic.acknowledge(), std::nullopt);
            }
    }
    auto deadline = board.apic.next_deadline_ticks();
    if (chance.below(64) == 0 && deadline && *deadline > board.clock.ticks()) {
        board.clock.advance((*deadline - board.clock.ticks()) % (1ull << 40));
        board.apic.run_timer();
    }
}

TEST(DeviceFuzz, AnyAccessIsSafe) {
    Chance chance;
    for (unsigned machine = 0; machine < 100; ++machine) {
        Board board;
        for (unsigned i = 0; i < 5'000; ++i) act(board, chance);
    }
}

}  // namespace
}  // namespace undercroft
