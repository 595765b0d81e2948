// SPDX-License-Identifier: Apache-2.0
// Board: a machine's devices, their wiring and the one lock around them.
//
// Devices are not thread-safe. Everything here but lock() is called with the lock held (it is the outermost
// lock: the console's locks are taken after it), by the vCPU's thread and by the event loop's. What a device
// does to the processor is a call of Outputs, also under the lock.

#pragma once

#include "base/clock.hpp"
#include "device/acpi_power.hpp"
#include "device/bus.hpp"
#include "device/io_apic.hpp"
#include "device/local_apic.hpp"
#include "device/port61.hpp"
#include "device/post_port.hpp"
#include "device/rtc.hpp"
#include "device/serial.hpp"
#include "machine/console_input.hpp"
#include "machine/console_output.hpp"

#include <cstdint>
#include <functional>
#include <mutex>

namespace undercroft {

class Board {
public:
    struct Outputs {
        std::function<void(std::uint32_t bits)> attention;  // see cpu/vcpu.hpp
        std::function<void()> timer_changed;
        std::function<void()> power_off;
        std::function<void()> reset;
        Bus::Report unclaimed_port;
        Bus::Report unclaimed_memory;
    };

    Board(const Clock& clock, ConsoleOutput& console_output, ConsoleInput& console_input, Outputs outputs);
    Board(const Board&) = delete;
    Board& operator=(const Board&) = delete;

    std::mutex& lock() { return lock_; }

    Bus& ports() { return ports_; }
    Bus& memory() { return memory_; }
    LocalApic& local_apic() { return local_apic_; }

    // Passes waiting input on to the serial port, as far as it has room.
    void feed_serial();

private:
    void deliver(const InterruptMessage& message, LocalApic& target);

    std::mutex lock_;
    ConsoleInput& console_input_;
    Outputs outputs_;
    Bus ports_;
    Bus memory_;
    LocalApic local_apic_;
    IoApic io_apic_;
    Serial serial_;
    AcpiPower power_;
    Rtc rtc_;
    Port61 port61_;
    PostPort post_;
};

}  // namespace undercroft
