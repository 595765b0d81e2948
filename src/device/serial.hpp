// SPDX-License-Identifier: Apache-2.0
// Serial: a 16550A UART (National Semiconductor PC16550D data sheet, section 8), eight byte registers.
//
// Transmission takes no time: a byte written goes to the sink, and the transmitter is empty again at once.
// Reception takes no time either: what is in the FIFO below the trigger level raises the time-out interrupt
// immediately. On a PC, OUT2 gates the interrupt line, and so does loopback.
//
// Input is flow-controlled, so that none is lost. The peer sends only while the guest asks for it: RTS is
// raised (or MCR was never written, for guests that merely poll) and the UART is not in loopback. Host bytes
// that the guest has not read when RTS falls, loopback begins or a FIFO is reset count as not sent yet. Linux
// raises RTS when the terminal is opened, after the driver's probing, which would have thrown them away.
//
// Left out: baud rates (the divisor is only stored), parity and framing errors, break, DMA modes.

#pragma once

#include "bus.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace undercroft {

class Serial final : public ByteDevice {
public:
    static constexpr std::uint64_t length = 8;
    static constexpr std::size_t fifo_size = 16;

    struct Outputs {
        // The guest's output; must take all of it.
        std::function<void(std::span<const std::byte>)> transmit = [](std::span<const std::byte>) {};
        // The interrupt line, on every change.
        std::function<void(bool level)> interrupt = [](bool) {};
        // After receive() took less than it was offered: there is room again. May call receive(), but a
        // caller that refills at once makes an interrupt handler that never ends; from an I/O thread is
        // better: it gives the guest time to move the bytes out of its own buffers.
        std::function<void()> room = [] {};
    };

    class Fifo {
    public:
        std::size_t count() const { return count_; }
        void push(std::uint8_t byte);  // CHECK: not full
        std::uint8_t pop();            // CHECK: not empty
        void clear() { count_ = 0; }

    private:
        std::array<std::uint8_t, fifo_size> bytes_{};
        std::uint8_t head_ = 0;
        std::uint8_t count_ = 0;
    };

    struct State {
        std::uint8_t ier = 0;
        std::uint8_t fcr = 0;
        std::uint8_t lcr = 0;
        std::uint8_t mcr = 0;
        std::uint8_t scratch = 0;
        std::uint8_t divisor_low = 12;
        std::uint8_t divisor_high = 0;
        std::uint8_t line_errors = 0;    // bits of LSR that reading it clears
        std::uint8_t modem_changes = 0;  // bits of MSR that reading it clears
        bool mcr_written = false;
        bool transmitter_emptied = false;  // the THRE interrupt's cause: cleared by reading IIR
        bool interrupt = false;            // the level that Outputs::interrupt last heard
        bool room_wanted = false;          // receive() had to refuse something
        Fifo received;                     // from the host
        Fifo looped;                       // from the transmitter, in loopback
    };

    explicit Serial(Outputs outputs) : outputs_{std::move(outputs)} {}

    // Offers input. Returns how many of the bytes were taken, from the front.
    std::size_t receive(std::span<const std::byte> input);

    void reset();
    const State& state() const { return state_; }
    void restore(const State& state) { state_ = state; }

private:
    std::uint8_t read_byte(std::uint64_t offset) override;
    void write_byte(std::uint64_t offset, std::uint8_t value) override;

    std::uint8_t read_receiver();
    std::uint8_t read_identification();
    std::uint8_t read_line_status();
    std::uint8_t read_modem_status();
    void write_transmitter(std::uint8_t byte);
    void write_interrupt_enable(std::uint8_t value);
    void write_fifo_control(std::uint8_t value);
    void write_modem_control(std::uint8_t value);

    bool looping() const;
    bool connected() const;  // may the peer send?
    bool fifos_enabled() const;
    std::size_t capacity() const { return fifos_enabled() ? fifo_size : 1; }
    std::size_t readable() const;
    std::size_t trigger_level() const;
    std::uint8_t modem_lines() const;
    std::uint8_t cause() const;  // the highest-priority interrupt, as IIR[3:0] shows it
    void update();               // after every change: the interrupt line, and whether there is room

    Outputs outputs_;
    State state_;
};

}  // namespace undercroft
