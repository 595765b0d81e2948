// SPDX-License-Identifier: Apache-2.0
// Lines on the serial port.

#pragma once

#include "machine.hpp"

namespace softtlb {

void print(char character);
void print(const char* text);
void print(u64 value);  // decimal
struct Hex {
    u64 value;
};
void print(Hex number);

template <class... Parts>
void print_line(Parts... parts) {
    (print(parts), ...);
    print('\n');
}

// A line `PASS what` or `FAIL what`, which the tests count.
void verdict(bool holds, const char* what);

[[noreturn]] void power_off();
// Says so, and powers off.
[[noreturn]] void panic(const char* why, u64 detail);

}  // namespace softtlb
