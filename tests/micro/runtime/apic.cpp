// SPDX-License-Identifier: Apache-2.0

#include "runtime/apic.hpp"

namespace micro {

namespace {

constexpr u64 io_apic_address = 0xfec00000;

volatile u32& io_apic_word(u64 offset) { return *reinterpret_cast<volatile u32*>(io_apic_address + offset); }

}  // namespace

void start_apic() {
    apic_write(ApicRegister::Spurious, 0x1ff);
    for (const ApicRegister lvt :
         {ApicRegister::LvtTimer, ApicRegister::LvtLint0, ApicRegister::LvtLint1, ApicRegister::LvtError})
        apic_write(lvt, lvt_masked);
    apic_write(ApicRegister::TaskPriority, 0);
}

void send_self(u32 vector, u32 mode) {
    if (in_x2apic_mode())
        return wrmsr(x2apic_msr(ApicRegister::InterruptCommand),
                     u64{apic_id()} << 32 | 1u << 14 | mode | vector);
    apic_write(ApicRegister::InterruptCommandHigh, apic_id() << 24);
    apic_write(ApicRegister::InterruptCommand, 1u << 14 | mode | vector);
}

u32 io_apic_read(u32 index) {
    io_apic_word(0) = index;
    return io_apic_word(0x10);
}

void io_apic_write(u32 index, u32 value) {
    io_apic_word(0) = index;
    io_apic_word(0x10) = value;
}

}  // namespace micro
