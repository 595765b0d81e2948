// SPDX-License-Identifier: Apache-2.0
// The ACPI tables of a hardware-reduced board: RSDP, XSDT, FADT, MADT and DSDT.
//
// Source: ACPI 6.4 sections 5.2 (tables), 4.1 (hardware-reduced), 4.8.3.7 (sleep and reset registers). There
// is no FACS (optional without the fixed hardware), no PIC, PIT, HPET, PM timer, i8042 or VGA.

#pragma once

#include "boot/aml.hpp"
#include "x86/address.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace undercroft::boot {

// What a write of SLP_EN to the sleep control register carries when the guest powers off.
inline constexpr std::uint8_t acpi_s5_sleep_type = 5;

struct AcpiConfig {
    struct Interrupt {
        std::uint32_t gsi = 0;
        aml::Trigger trigger = aml::Trigger::Edge;
    };
    struct Serial {  // a 16550A, PNP0501; named COM1, COM2, … in order
        std::uint16_t port = 0;
        Interrupt interrupt;
    };
    struct VirtioSlot {  // a virtio-mmio transport, LNRO0005; below 4 GiB
        GuestPhysical base;
        std::uint32_t size = 0;
        Interrupt interrupt;
    };

    unsigned cpu_count = 1;  // local APIC ids 0, 1, …; at most 255
    GuestPhysical local_apic;
    GuestPhysical io_apic;  // its pin 0 is GSI 0
    std::uint8_t io_apic_id = 0;
    std::uint16_t sleep_control_port = 0;
    std::uint16_t sleep_status_port = 0;
    std::uint16_t reset_port = 0;
    std::uint8_t reset_value = 0;           // what the guest writes to reset_port
    std::optional<std::uint16_t> rtc_port;  // index register of a CMOS RTC without an interrupt (PNP0B00)
    std::optional<Interrupt> power_button;  // by a Generic Event Device (section 5.6.9)
    std::vector<Serial> serial;
    std::vector<VirtioSlot> virtio;
};

// All tables as one piece to be placed at `base`, which is 16-byte aligned; the RSDP comes first.
std::vector<std::byte> make_acpi_tables(const AcpiConfig& config, GuestPhysical base);

}  // namespace undercroft::boot
