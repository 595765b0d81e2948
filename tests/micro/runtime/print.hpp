// SPDX-License-Identifier: Apache-2.0
// Lines on the serial port: what a micro-guest says, and the verdicts that the harness counts.
//
// A verdict is one line: `PASS name`, `FAIL name got 0x… want 0x…` or `SKIP name` (the processor lacks it).

#pragma once

#include "runtime/cpu.hpp"

namespace micro {

void print(const char* text);
void print(u64 value);  // as 0x…

template <class... Parts>
void print_line(Parts... parts) {
    (print(parts), ...);
    print("\n");
}

void check(const char* name, bool holds);
void check_equal(const char* name, u64 got, u64 want);
void skip(const char* name);

// Many cases under one name: one PASS line, or a FAIL line for each of the first few that differ. `a` and `b`
// say which case it was.
class Tally {
public:
    explicit Tally(const char* name) : name_{name} {}
    ~Tally();
    Tally(const Tally&) = delete;
    Tally& operator=(const Tally&) = delete;

    void expect(u64 got, u64 want, u64 a = 0, u64 b = 0);

private:
    const char* name_;
    u32 cases_ = 0;
    u32 failures_ = 0;
};

}  // namespace micro
