// SPDX-License-Identifier: Apache-2.0
#include "console.hpp"

namespace softtlb {
namespace {

constexpr u16 com1 = 0x3f8;
constexpr u16 line_status = com1 + 5;
constexpr u8 transmitter_empty = 0x20;
constexpr u16 sleep_control = 0x600;  // ACPI's; docs/machine.md
constexpr u8 sleep_now_s5 = 0x20 | 5 << 2;

void print_digits(u64 value, unsigned base) {
    if (value >= base) print_digits(value / base, base);
    print("0123456789abcdef"[value % base]);
}

}  // namespace

void print(char character) {
    while ((in8(line_status) & transmitter_empty) == 0) {
    }
    out8(com1, static_cast<u8>(character));
}

void print(const char* text) {
    for (; *text != 0; text++) print(*text);
}

void print(u64 value) { print_digits(value, 10); }

void print(Hex number) {
    print("0x");
    print_digits(number.value, 16);
}

void verdict(bool holds, const char* what) { print_line(holds ? "PASS " : "FAIL ", what); }

void power_off() {
    out8(sleep_control, sleep_now_s5);
    for (;;) asm volatile("hlt");
}

void panic(const char* why, u64 detail) {
    print_line("FAIL panic: ", why, " ", Hex{detail});
    power_off();
}

}  // namespace softtlb
