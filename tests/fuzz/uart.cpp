// SPDX-License-Identifier: Apache-2.0
// The 16550A under any accesses and input: no byte of either direction is lost, added or changed, and the
// interrupt line is what IIR and MCR say (PC16550D data sheet, sections 8.6 and 8.7).
//
// Input: a sequence of operations, each a byte (bits 2..0 the register, bit 3 write, bits 7..4 above 13: host
// input) and an operand.
#include "device/serial.hpp"
#include "input.hpp"

#include <vector>

using namespace undercroft;

namespace {

class Line {
public:
    void run(fuzz::Input& input) {
        while (!input.empty()) {
            auto operation = input.take<std::uint8_t>();
            if (operation >> 4 >= 14)
                receive(input);
            else if ((operation & 8) != 0)
                write(operation & 7, input.take<std::uint8_t>());
            else
                read(operation & 7, 1u << (operation >> 4 & 3));
            check();
        }
    }

private:
    enum Place : std::uint64_t { Data, Ier, Iir, Lcr, Mcr, Lsr, Msr, Scratch };

    bool dlab() const { return (serial_.state().lcr & 0x80) != 0; }
    bool looping() const { return (serial_.state().mcr & 0x10) != 0; }

    void receive(fuzz::Input& input) {
        std::vector<std::byte> bytes(1 + input.below(40));
        for (std::byte& byte : bytes) byte = std::byte{next_typed_++};
        std::size_t taken = serial_.receive(bytes);
        CHECK(taken <= bytes.size());
        next_typed_ = static_cast<std::uint8_t>(next_typed_ - (bytes.size() - taken));
    }

    // Bytes arrive in order, each once. (Wider reads are several of one byte.)
    void read(std::uint64_t place, unsigned size) {
        bool input_register = place == Data && !dlab() && !looping();
        std::size_t held = serial_.state().received.count();
        // The bus lets no access leave the device.
        std::uint64_t value = serial_.read(place, input_register || place + size > Serial::length ? 1 : size);
        if (input_register && serial_.state().received.count() < held)
            CHECK(static_cast<std::uint8_t>(value) == next_read_++, "input out of order");
        else
            CHECK(serial_.state().received.count() == held, "a read took input that it did not show");
    }

    void write(std::uint64_t place, std::uint8_t value) {
        std::size_t sent = transmitted_;
        bool transmits = place == Data && !dlab() && !looping();
        last_written_ = value;
        serial_.write(place, 1, value);
        CHECK(transmitted_ == sent + (transmits ? 1 : 0), "output lost or made up");
    }

    void transmit(std::span<const std::byte> bytes) {
        for (std::byte byte : bytes) CHECK(static_cast<std::uint8_t>(byte) == last_written_);
        transmitted_ += bytes.size();
    }

    // The line shows what a copy of the device says in IIR; reading it may have effects.
    void check() const {
        Serial copy{{}};
        copy.restore(serial_.state());
        bool pending = (copy.read(Iir, 1) & 1) == 0;
        bool gate = (serial_.state().mcr & 0x18) == 0x08;
        CHECK(level_ == (pending && gate), "the interrupt line is not what IIR says");
        CHECK(serial_.state().received.count() <= Serial::fifo_size);
    }

    bool level_ = false;
    std::uint8_t last_written_ = 0;
    std::size_t transmitted_ = 0;
    std::uint8_t next_typed_ = 0;
    std::uint8_t next_read_ = 0;
    Serial serial_{{.transmit = [this](std::span<const std::byte> bytes) { transmit(bytes); },
                    .interrupt = [this](bool level) { level_ = level; }}};
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input{data, size};
    Line{}.run(input);
    return 0;
}
