// SPDX-License-Identifier: Apache-2.0
#include "interruptions.hpp"

#include "runtime/apic.hpp"
#include "runtime/run.hpp"

namespace micro {

namespace {

constexpr u32 vector = 0x61;
volatile unsigned count = 0;

}  // namespace

bool start_interruptions() {
    set_handler(vector, [](Frame&) {
        count = count + 1;
        end_of_interrupt();
    });
    start_apic();
    apic_write(ApicRegister::DivideConfiguration, 0xb);
    apic_write(ApicRegister::LvtTimer, timer_periodic | vector);
    apic_write(ApicRegister::InitialCount, 20'000);
    return true;
}

unsigned interruptions() { return count; }

}  // namespace micro
