// SPDX-License-Identifier: Apache-2.0
// A fault while a double fault is delivered: the processor shuts down, and the machine resets.

#include "runtime/run.hpp"

using namespace micro;

void micro_main() {
    check("before the triple fault", true);
    lidt({0, 0});
    asm volatile("ud2");
}
