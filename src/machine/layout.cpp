// SPDX-License-Identifier: Apache-2.0
#include "layout.hpp"

namespace undercroft::layout {

boot::AcpiConfig acpi_config(unsigned cpu_count, unsigned virtio_devices) {
    boot::AcpiConfig config;
    config.cpu_count = cpu_count;
    config.local_apic = GuestPhysical{local_apic.first};
    config.io_apic = GuestPhysical{io_apic.first};
    config.io_apic_id = io_apic_id;
    config.sleep_control_port = static_cast<std::uint16_t>(acpi_power.first + AcpiPower::sleep_control);
    config.sleep_status_port = static_cast<std::uint16_t>(acpi_power.first + AcpiPower::sleep_status);
    config.reset_port = static_cast<std::uint16_t>(acpi_power.first + AcpiPower::reset_register);
    config.reset_value = AcpiPower::reset_value;
    config.rtc_port = static_cast<std::uint16_t>(rtc.first);
    config.serial.push_back({.port = static_cast<std::uint16_t>(com1.first),
                             .interrupt = {.gsi = com1_gsi, .trigger = boot::aml::Trigger::Edge}});
    config.power_button = {.gsi = power_button_gsi, .trigger = boot::aml::Trigger::Edge};
    for (unsigned slot = 0; slot < virtio_devices; ++slot) {
        Range registers = virtio_slot(slot);
        config.virtio.push_back(
            {.base = GuestPhysical{registers.first},
             .size = static_cast<std::uint32_t>(registers.length),
             .interrupt = {.gsi = virtio_first_gsi + slot, .trigger = boot::aml::Trigger::Level}});
    }
    return config;
}

}  // namespace undercroft::layout
