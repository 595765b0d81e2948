// SPDX-License-Identifier: Apache-2.0
#include "serial.hpp"

#include "base/check.hpp"

#include <algorithm>

namespace undercroft {
namespace {

enum class Register : std::uint8_t { Data, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

namespace IER {
constexpr std::uint8_t ERBFI = 1 << 0;  // received data available
constexpr std::uint8_t ETBEI = 1 << 1;  // transmitter holding register empty
constexpr std::uint8_t ELSI = 1 << 2;   // receiver line status
constexpr std::uint8_t EDSSI = 1 << 3;  // modem status
constexpr std::uint8_t Implemented = 0x0f;
}  // namespace IER

namespace IIR {
constexpr std::uint8_t ModemStatus = 0x00;
constexpr std::uint8_t None = 0x01;
constexpr std::uint8_t TransmitterEmpty = 0x02;
constexpr std::uint8_t DataAvailable = 0x04;
constexpr std::uint8_t LineStatus = 0x06;
constexpr std::uint8_t CharacterTimeout = 0x0c;
constexpr std::uint8_t FifosEnabled = 0xc0;
}  // namespace IIR

namespace FCR {
constexpr std::uint8_t Enable = 1 << 0;
constexpr std::uint8_t ResetReceiver = 1 << 1;
constexpr std::uint8_t Kept = 0xc9;  // the reset bits clear themselves
}  // namespace FCR

namespace LCR {
constexpr std::uint8_t DLAB = 1 << 7;
}  // namespace LCR

namespace MCR {
constexpr std::uint8_t DTR = 1 << 0;
constexpr std::uint8_t RTS = 1 << 1;
constexpr std::uint8_t OUT1 = 1 << 2;
constexpr std::uint8_t OUT2 = 1 << 3;
constexpr std::uint8_t Loop = 1 << 4;
constexpr std::uint8_t Implemented = 0x1f;
}  // namespace MCR

namespace LSR {
constexpr std::uint8_t DR = 1 << 0;
constexpr std::uint8_t OE = 1 << 1;
constexpr std::uint8_t THRE = 1 << 5;
constexpr std::uint8_t TEMT = 1 << 6;
}  // namespace LSR

namespace MSR {
constexpr std::uint8_t TERI = 1 << 2;
constexpr std::uint8_t CTS = 1 << 4;
constexpr std::uint8_t DSR = 1 << 5;
constexpr std::uint8_t RI = 1 << 6;
constexpr std::uint8_t DCD = 1 << 7;
}  // namespace MSR

}  // namespace

void Serial::Fifo::push(std::uint8_t byte) {
    CHECK(count_ < fifo_size);
    bytes_[(head_ + count_) % fifo_size] = byte;
    ++count_;
}

std::uint8_t Serial::Fifo::pop() {
    CHECK(count_ > 0);
    std::uint8_t byte = bytes_[head_];
    head_ = static_cast<std::uint8_t>((head_ + 1) % fifo_size);
    --count_;
    return byte;
}

bool Serial::looping() const { return (state_.mcr & MCR::Loop) != 0; }
bool Serial::connected() const { return !looping() && ((state_.mcr & MCR::RTS) != 0 || !state_.mcr_written); }
bool Serial::fifos_enabled() const { return (state_.fcr & FCR::Enable) != 0; }

std::size_t Serial::readable() const {
    if (looping()) return state_.looped.count();
    return connected() ? state_.received.count() : 0;
}

std::size_t Serial::trigger_level() const {
    constexpr std::array<std::uint8_t, 4> levels{1, 4, 8, 14};
    return fifos_enabled() ? levels[state_.fcr >> 6] : 1;
}

std::uint8_t Serial::modem_lines() const {
    if (!looping()) return MSR::CTS | MSR::DSR | MSR::DCD;  // the peer is always there
    unsigned lines = 0;
    if ((state_.mcr & MCR::RTS) != 0) lines |= MSR::CTS;
    if ((state_.mcr & MCR::DTR) != 0) lines |= MSR::DSR;
    if ((state_.mcr & MCR::OUT1) != 0) lines |= MSR::RI;
    if ((state_.mcr & MCR::OUT2) != 0) lines |= MSR::DCD;
    return static_cast<std::uint8_t>(lines);
}

std::uint8_t Serial::cause() const {
    if ((state_.ier & IER::ELSI) != 0 && state_.line_errors != 0) return IIR::LineStatus;
    if ((state_.ier & IER::ERBFI) != 0 && readable() > 0) {
        return readable() >= trigger_level() ? IIR::DataAvailable : IIR::CharacterTimeout;
    }
    if ((state_.ier & IER::ETBEI) != 0 && state_.transmitter_emptied) return IIR::TransmitterEmpty;
    if ((state_.ier & IER::EDSSI) != 0 && state_.modem_changes != 0) return IIR::ModemStatus;
    return IIR::None;
}

void Serial::update() {
    bool gate = (state_.mcr & MCR::OUT2) != 0 && !looping();
    bool level = gate && cause() != IIR::None;
    if (level != state_.interrupt) {
        state_.interrupt = level;
        outputs_.interrupt(level);
    }
    // Only an empty FIFO asks for more: one call to the host for up to sixteen bytes.
    if (state_.room_wanted && connected() && state_.received.count() == 0) {
        state_.room_wanted = false;
        outputs_.room();
    }
}

std::size_t Serial::receive(std::span<const std::byte> input) {
    std::size_t held = state_.received.count();
    std::size_t room = connected() && held < capacity() ? capacity() - held : 0;
    std::size_t taken = std::min(room, input.size());
    for (std::size_t i = 0; i < taken; ++i) state_.received.push(static_cast<std::uint8_t>(input[i]));
    if (taken < input.size()) state_.room_wanted = true;
    update();
    return taken;
}

void Serial::reset() {
    State fresh;
    fresh.interrupt = state_.interrupt;
    fresh.room_wanted = state_.room_wanted;
    fresh.received = state_.received;
    state_ = fresh;
    update();
}

std::uint8_t Serial::read_byte(std::uint64_t offset) {
    bool dlab = (state_.lcr & LCR::DLAB) != 0;
    switch (static_cast<Register>(offset % length)) {
        case Register::Data: return dlab ? state_.divisor_low : read_receiver();
        case Register::IER: return dlab ? state_.divisor_high : state_.ier;
        case Register::IIR_FCR: return read_identification();
        case Register::LCR: return state_.lcr;
        case Register::MCR: return state_.mcr;
        case Register::LSR: return read_line_status();
        case Register::MSR: return read_modem_status();
        case Register::SCR: return state_.scratch;
    }
    return 0xff;
}

std::uint8_t Serial::read_receiver() {
    if (readable() == 0) return 0;
    std::uint8_t byte = looping() ? state_.looped.pop() : state_.received.pop();
    update();
    return byte;
}

std::uint8_t Serial::read_identification() {
    std::uint8_t found = cause();
    if (found == IIR::TransmitterEmpty) {
        state_.transmitter_emptied = false;
        update();
    }
    return static_cast<std::uint8_t>(found | (fifos_enabled() ? IIR::FifosEnabled : 0));
}

std::uint8_t Serial::read_line_status() {
    unsigned status = LSR::THRE | LSR::TEMT | state_.line_errors;
    if (readable() > 0) status |= LSR::DR;
    if (state_.line_errors != 0) {
        state_.line_errors = 0;
        update();
    }
    return static_cast<std::uint8_t>(status);
}

std::uint8_t Serial::read_modem_status() {
    unsigned status = unsigned{modem_lines()} | state_.modem_changes;
    if (state_.modem_changes != 0) {
        state_.modem_changes = 0;
        update();
    }
    return static_cast<std::uint8_t>(status);
}

void Serial::write_byte(std::uint64_t offset, std::uint8_t value) {
    auto which = static_cast<Register>(offset % length);
    if ((state_.lcr & LCR::DLAB) != 0 && (which == Register::Data || which == Register::IER)) {
        (which == Register::Data ? state_.divisor_low : state_.divisor_high) = value;
        return;
    }
    switch (which) {
        case Register::Data: write_transmitter(value); break;
        case Register::IER: write_interrupt_enable(value); break;
        case Register::IIR_FCR: write_fifo_control(value); break;
        case Register::LCR: state_.lcr = value; break;
        case Register::MCR: write_modem_control(value); break;
        case Register::LSR:
        case Register::MSR: break;  // factory tests
        case Register::SCR: state_.scratch = value; break;
    }
}

void Serial::write_transmitter(std::uint8_t byte) {
    // The interrupt line falls and rises again, so that an edge-triggered pin sees each emptying.
    if (state_.transmitter_emptied) {
        state_.transmitter_emptied = false;
        update();
    }
    if (!looping()) {
        std::byte out{byte};
        outputs_.transmit({&out, 1});
    } else if (state_.looped.count() < capacity()) {
        state_.looped.push(byte);
    } else {
        state_.line_errors = LSR::OE;  // the shift register is overwritten, the FIFO keeps what it has
    }
    state_.transmitter_emptied = true;
    update();
}

void Serial::write_interrupt_enable(std::uint8_t value) {
    std::uint8_t enabled = value & IER::Implemented;
    // Enabling the interrupt while the transmitter is empty raises it: Linux tests for that (UART_BUG_THRE).
    if (((enabled ^ state_.ier) & IER::ETBEI) != 0) state_.transmitter_emptied = (enabled & IER::ETBEI) != 0;
    state_.ier = enabled;
    update();
}

void Serial::write_fifo_control(std::uint8_t value) {
    bool toggled = ((value ^ state_.fcr) & FCR::Enable) != 0;
    // The other bits are only programmed while bit 0 is written as one.
    state_.fcr = (value & FCR::Enable) != 0 ? value & FCR::Kept : 0;
    if (toggled || (value & FCR::ResetReceiver) != 0) state_.looped.clear();
    update();
}

void Serial::write_modem_control(std::uint8_t value) {
    std::uint8_t before = modem_lines();
    bool was_looping = looping();
    state_.mcr = value & MCR::Implemented;
    state_.mcr_written = true;
    if (was_looping && !looping()) state_.looped.clear();
    std::uint8_t after = modem_lines();
    unsigned changed = (before ^ after) >> 4 & ~unsigned{MSR::TERI};
    if ((before & ~after & MSR::RI) != 0) changed |= MSR::TERI;  // only RI's trailing edge counts
    state_.modem_changes = static_cast<std::uint8_t>(state_.modem_changes | changed);
    update();
}

}  // namespace undercroft
