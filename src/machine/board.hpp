// SPDX-License-Identifier: Apache-2.0
// Board: a machine's devices, their wiring and the one lock around them.
//
// Devices are not thread-safe. Everything here but lock() is called with the lock held (it is the outermost
// lock: the console's locks are taken after it), by the vCPUs' threads and by the event loop's. What a device
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
#include <memory>
#include <mutex>
#include <vector>

namespace undercroft {

class Board {
public:
    struct Outputs {
        std::function<void(unsigned processor, std::uint32_t bits)> attention;  // see cpu/vcpu.hpp
        std::function<void(unsigned processor)> timer_changed;
        std::function<void(unsigned processor)> nmi;
        std::function<void(unsigned processor)> init;  // never the boot processor
        std::function<void(unsigned processor, std::uint8_t vector)> start_up;
        std::function<void()> power_off;
        std::function<void()> reset;
        Bus::Report unclaimed_port;
        Bus::Report unclaimed_memory;
    };

    Board(const Clock& clock, ConsoleOutput& console_output, ConsoleInput& console_input, Outputs outputs,
          unsigned processors = 1);
    Board(const Board&) = delete;
    Board& operator=(const Board&) = delete;

    std::mutex& lock() { return lock_; }

    // Accesses by a processor. Each sees its own local APIC at layout::local_apic.
    std::uint64_t read_port(unsigned processor, std::uint16_t port, unsigned size);
    void write_port(unsigned processor, std::uint16_t port, unsigned size, std::uint64_t value);
    std::uint64_t read_memory(unsigned processor, std::uint64_t address, unsigned size);
    void write_memory(unsigned processor, std::uint64_t address, unsigned size, std::uint64_t value);
    // Who does the access that a report of something unclaimed comes from.
    unsigned accessor() const { return accessor_; }

    LocalApic& local_apic(unsigned processor) { return *local_apics_[processor]; }

    // A device of its own in a slot of layout::virtio_slots, before the guest runs; and its interrupt's line.
    void attach_virtio(unsigned slot, Device& device);
    void set_virtio_line(unsigned slot, bool asserted);

    // The guest's ACPI hears of it, if it listens.
    void press_power_button();

    // Passes waiting input on to the serial port, as far as it has room.
    void feed_serial();

private:
    // At one address, the local APIC of whoever accesses it.
    class LocalApicPage final : public Device {
    public:
        explicit LocalApicPage(Board& board) : board_{board} {}
        std::uint64_t read(std::uint64_t offset, unsigned size) override;
        void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

    private:
        Board& board_;
    };

    std::unique_ptr<LocalApic> make_local_apic(unsigned processor, const Clock& clock);
    void deliver(const InterruptMessage& message, LocalApic& target);

    std::mutex lock_;
    ConsoleInput& console_input_;
    Outputs outputs_;
    Bus ports_;
    Bus memory_;
    std::vector<std::unique_ptr<LocalApic>> local_apics_;  // by processor, which is the APIC's ID, too
    std::vector<LocalApic*> targets_;                      // the same, as routing wants them
    unsigned accessor_ = 0;
    LocalApicPage local_apic_page_{*this};
    IoApic io_apic_;
    Serial serial_;
    AcpiPower power_;
    Rtc rtc_;
    Port61 port61_;
    PostPort post_;
};

}  // namespace undercroft
