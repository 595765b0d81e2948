// SPDX-License-Identifier: Apache-2.0
#include "device/serial.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace undercroft {
namespace {

enum : std::uint64_t { Data, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

class SerialTest : public testing::Test {
protected:
    std::uint64_t in(std::uint64_t reg) { return device().read(reg, 1); }
    void out(std::uint64_t reg, std::uint64_t value) { device().write(reg, 1, value); }
    Device& device() { return serial_; }
    std::size_t type(std::string_view text) { return serial_.receive(std::as_bytes(std::span{text})); }
    void open() {
        out(MCR, 0x0b), out(FCR, 0x81), out(IER, 0x05);
    }  // as Linux does when the terminal is opened

    std::string output_;
    bool line_ = false;
    unsigned edges_ = 0;
    unsigned rooms_ = 0;
    Serial serial_{{.transmit =
                        [this](std::span<const std::byte> bytes) {
                            for (std::byte b : bytes) output_.push_back(static_cast<char>(b));
                        },
                    .interrupt =
                        [this](bool level) {
                            line_ = level;
                            edges_ += level;
                        },
                    .room = [this] { ++rooms_; }}};
};

TEST_F(SerialTest, TransmitsAtOnceAndIsEmptyAgain) {
    for (char c : std::string_view{"hello"}) {
        EXPECT_EQ(in(LSR)&0x60, 0x60u);
        out(Data, static_cast<std::uint8_t>(c));
    }
    EXPECT_EQ(output_, "hello");
    EXPECT_FALSE(line_);
}

// The steps of autoconfig() in Linux's drivers/tty/serial/8250/8250_port.c.
TEST_F(SerialTest, IsRecognisedAsA16550A) {
    out(IER, 0);
    EXPECT_EQ(in(IER)&0x0f, 0u);
    out(IER, 0x0f);
    EXPECT_EQ(in(IER)&0x0f, 0x0fu);
    out(IER, 0xff);
    EXPECT_EQ(in(IER), 0x0fu);
    out(IER, 0);
    out(MCR, 0x1a);
    EXPECT_EQ(in(MSR)&0xf0, 0x90u);
    out(MCR, 0);
    out(FCR, 1);
    EXPECT_EQ(in(IIR) >> 6, 3u);
    out(LCR, 0x80);
    EXPECT_NE(in(IIR), 0u);  // no EFR
    out(FCR, 0x21);
    EXPECT_EQ(in(IIR)&0xe0, 0xc0u);  // no 64-byte FIFO
    out(LCR, 0xbf);
    EXPECT_NE(in(IIR), 0u);
    out(LCR, 0);
    out(SCR, 0x5a);
    EXPECT_EQ(in(SCR), 0x5au);
}

TEST_F(SerialTest, LoopbackShowsTheSizeOfTheFifo) {
    out(FCR, 0x07);
    out(MCR, 0x10);
    for (unsigned i = 0; i < 256; ++i) out(Data, i);
    unsigned count = 0;
    EXPECT_EQ(in(LSR)&0x03, 0x03u);  // data, overrun
    EXPECT_EQ(in(LSR)&0x02, 0x00u);
    while ((in(LSR)&1) != 0) EXPECT_EQ(in(Data), count++);
    EXPECT_EQ(count, 16u);
    EXPECT_EQ(output_, "");
}

TEST_F(SerialTest, DivisorLatchHidesDataAndIer) {
    out(LCR, 0x83);
    out(Data, 1);
    out(IER, 2);
    EXPECT_EQ(in(Data), 1u);
    EXPECT_EQ(in(IER), 2u);
    out(LCR, 0x03);
    EXPECT_EQ(in(IER), 0u);
    EXPECT_EQ(output_, "");
}

TEST_F(SerialTest, EnablingTheTransmitterInterruptRaisesIt) {
    out(MCR, 0x08);
    out(IER, 2);
    EXPECT_TRUE(line_);
    EXPECT_EQ(in(IIR)&0x0f, 2u);
    EXPECT_FALSE(line_);
    EXPECT_EQ(in(IIR)&0x0f, 1u);
    out(IER, 0);
    out(IER, 2);
    EXPECT_EQ(in(IIR)&0x0f, 2u);
    out(Data, 'x');
    EXPECT_TRUE(line_);
    unsigned before = edges_;
    out(Data, 'y');  // an edge for each emptying
    EXPECT_EQ(edges_, before + 1);
    out(IER, 0);
    EXPECT_FALSE(line_);
}

TEST_F(SerialTest, Out2GatesTheInterruptLine) {
    out(MCR, 0x03);
    out(IER, 2);
    EXPECT_FALSE(line_);
    out(MCR, 0x0b);
    EXPECT_TRUE(line_);
    out(MCR, 0x1b);
    EXPECT_FALSE(line_);
}

TEST_F(SerialTest, InputRaisesTimeoutOrDataAvailable) {
    open();  // trigger level 8
    EXPECT_EQ(type("abc"), 3u);
    EXPECT_TRUE(line_);
    EXPECT_EQ(in(IIR), 0xccu);
    EXPECT_EQ(type("defgh"), 5u);
    EXPECT_EQ(in(IIR), 0xc4u);
    for (char c : std::string_view{"abcdefgh"}) {
        EXPECT_TRUE(line_);
        EXPECT_EQ(in(LSR)&1, 1u);
        EXPECT_EQ(in(Data), static_cast<std::uint8_t>(c));
    }
    EXPECT_FALSE(line_);
    EXPECT_EQ(in(LSR)&1, 0u);
    EXPECT_EQ(in(IIR), 0xc1u);
}

TEST_F(SerialTest, PrioritiesAreErrorsDataTransmitterModem) {
    out(MCR, 0x18);
    in(MSR);
    out(IER, 0x0f);
    out(MCR, 0x18 | 0x02);  // CTS changes
    out(Data, 'a');
    out(Data, 'b');  // no FIFO: overrun
    EXPECT_EQ(in(IIR), 0x06u);
    in(LSR);
    EXPECT_EQ(in(IIR), 0x04u);
    in(Data);
    EXPECT_EQ(in(IIR), 0x02u);
    EXPECT_EQ(in(IIR), 0x00u);
    EXPECT_EQ(in(MSR)&0x0f, 0x01u);
    EXPECT_EQ(in(IIR), 0x01u);
}

TEST_F(SerialTest, RingIndicatorCountsItsTrailingEdgeOnly) {
    out(MCR, 0x10);
    in(MSR);
    out(MCR, 0x14);
    EXPECT_EQ(in(MSR), 0x40u);
    out(MCR, 0x10);
    EXPECT_EQ(in(MSR), 0x04u);
    EXPECT_EQ(in(MSR), 0x00u);
    out(MCR, 0);
    EXPECT_EQ(in(MSR), 0xbbu);  // the peer is back
    EXPECT_EQ(in(MSR), 0xb0u);
}

TEST_F(SerialTest, AFloodLosesNothing) {
    open();
    std::string flood;
    for (unsigned i = 0; i < 100'000; ++i) flood.push_back(static_cast<char>(i * 7 / 3));
    std::string got;
    std::size_t sent = type(flood);
    EXPECT_EQ(sent, 16u);
    while (got.size() < flood.size()) {
        ASSERT_TRUE(line_);
        unsigned asked = rooms_;
        while ((in(LSR)&1) != 0) got.push_back(static_cast<char>(in(Data)));
        if (sent < flood.size()) {
            ASSERT_EQ(rooms_, asked + 1);
            sent += type(std::string_view{flood}.substr(sent));
        }
    }
    EXPECT_EQ(got, flood);
    EXPECT_EQ(rooms_, (flood.size() - 1) / 16);
}

TEST_F(SerialTest, InputWaitsWhileTheDriverProbes) {
    EXPECT_EQ(type("echo hi"), 1u);  // FIFOs off: one byte
    out(MCR, 0);
    EXPECT_EQ(type("cho hi"), 0u);
    out(FCR, 0x07);
    EXPECT_EQ(in(LSR)&1, 0u);
    EXPECT_EQ(in(Data), 0u);
    out(MCR, 0x10);
    EXPECT_EQ(type("cho hi"), 0u);
    out(Data, 'z');
    EXPECT_EQ(in(Data), 'z');
    EXPECT_EQ(rooms_, 0u);
    open();
    EXPECT_EQ(in(Data), 'e');
    EXPECT_EQ(rooms_, 1u);
    EXPECT_EQ(type("cho hi"), 6u);
    EXPECT_EQ(in(Data), 'c');
    out(MCR, 0x09);  // RTS falls: flow control
    EXPECT_EQ(in(LSR)&1, 0u);
    EXPECT_FALSE(line_);
    out(MCR, 0x0b);
    EXPECT_TRUE(line_);
    EXPECT_EQ(in(Data), 'h');
}

TEST_F(SerialTest, PollingGuestsNeedNotTouchTheModemControl) {
    EXPECT_EQ(type("q"), 1u);
    EXPECT_EQ(in(LSR)&1, 1u);
    EXPECT_EQ(in(Data), 'q');
}

TEST_F(SerialTest, ResetLowersTheLine) {
    open();
    type("abc");
    EXPECT_TRUE(line_);
    serial_.reset();
    EXPECT_FALSE(line_);
    EXPECT_EQ(in(IER), 0u);
    EXPECT_EQ(in(MCR), 0u);
}

}  // namespace
}  // namespace undercroft
