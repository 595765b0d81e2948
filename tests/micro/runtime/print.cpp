// SPDX-License-Identifier: Apache-2.0
// Serial output by polling (16550A at 0x3f8) and verdict lines.

#include "runtime/print.hpp"

namespace micro {

namespace {

constexpr u16 serial_port = 0x3f8;
constexpr u8 transmitter_empty = 0x20;  // LSR.THRE

void put(char c) {
    for (int i = 0; i < 100000 && !(in8(serial_port + 5) & transmitter_empty); ++i) pause();
    out8(serial_port, static_cast<u8>(c));
}

}  // namespace

void print(const char* text) {
    for (; *text; ++text) put(*text);
}

void print(u64 value) {
    print("0x");
    int shift = 60;
    while (shift > 0 && (value >> shift) == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) put("0123456789abcdef"[value >> shift & 15]);
}

void check(const char* name, bool holds) { print_line(holds ? "PASS " : "FAIL ", name); }

void check_equal(const char* name, u64 got, u64 want) {
    if (got == want)
        print_line("PASS ", name);
    else
        print_line("FAIL ", name, " got ", got, " want ", want);
}

void skip(const char* name) { print_line("SKIP ", name); }

void Tally::expect(u64 got, u64 want, u64 a, u64 b) {
    ++cases_;
    if (got == want) return;
    if (++failures_ <= 8) print_line("FAIL ", name_, " got ", got, " want ", want, " case ", a, " ", b);
}

Tally::~Tally() {
    if (failures_ == 0)
        print_line("PASS ", name_, " (", u64{cases_}, " cases)");
    else
        print_line("FAIL ", name_, ": ", u64{failures_}, " of ", u64{cases_}, " cases");
}

}  // namespace micro
