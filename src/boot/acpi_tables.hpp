// SPDX-License-Identifier: Apache-2.0
// Layouts of the ACPI tables that we make. Source: ACPI 6.4 section 5.2; field names follow its tables.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace undercroft::boot {

struct [[gnu::packed]] AcpiHeader {  // table 5.4
    std::array<char, 4> signature{};
    std::uint32_t length = 0;
    std::uint8_t revision = 0;
    std::uint8_t checksum = 0;  // makes the sum of all bytes of the table zero
    std::array<char, 6> oem_id{};
    std::array<char, 8> oem_table_id{};
    std::uint32_t oem_revision = 0;
    std::array<char, 4> creator_id{};
    std::uint32_t creator_revision = 0;
};
static_assert(sizeof(AcpiHeader) == 36);
static_assert(offsetof(AcpiHeader, checksum) == 9);

struct [[gnu::packed]] AcpiRsdp {  // table 5.3
    std::array<char, 8> signature{'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
    std::uint8_t checksum = 0;  // of the first 20 bytes
    std::array<char, 6> oem_id{};
    std::uint8_t revision = 2;
    std::uint32_t rsdt_address = 0;
    std::uint32_t length = 36;
    std::uint64_t xsdt_address = 0;
    std::uint8_t extended_checksum = 0;  // of all
    std::array<std::uint8_t, 3> reserved{};
};
static_assert(sizeof(AcpiRsdp) == 36);
static_assert(offsetof(AcpiRsdp, extended_checksum) == 32);

struct [[gnu::packed]] AcpiAddress {  // "generic address structure", table 5.1
    enum class Space : std::uint8_t { SystemMemory = 0, SystemIo = 1 };
    enum class AccessSize : std::uint8_t { Undefined = 0, Byte = 1 };

    Space space = Space::SystemMemory;
    std::uint8_t bit_width = 0;
    std::uint8_t bit_offset = 0;
    AccessSize access_size = AccessSize::Undefined;
    std::uint64_t address = 0;

    static constexpr AcpiAddress byte_port(std::uint16_t port) {
        return {Space::SystemIo, 8, 0, AccessSize::Byte, port};
    }
};
static_assert(sizeof(AcpiAddress) == 12);

struct [[gnu::packed]] AcpiFadt {  // table 5.9
    // IAPC_BOOT_ARCH, table 5.10. Clear: no LEGACY_DEVICES, no 8042; "CMOS RTC not present" is bit 5.
    static constexpr std::uint16_t VGA_NOT_PRESENT = 1u << 2;
    static constexpr std::uint16_t CMOS_RTC_NOT_PRESENT = 1u << 5;
    // Flags, table 5.11.
    static constexpr std::uint32_t WBINVD = 1u << 0;
    static constexpr std::uint32_t PROC_C1 = 1u << 2;
    static constexpr std::uint32_t PWR_BUTTON = 1u << 4;  // one: no fixed-feature button
    static constexpr std::uint32_t SLP_BUTTON = 1u << 5;  // likewise
    static constexpr std::uint32_t RESET_REG_SUP = 1u << 10;
    static constexpr std::uint32_t HW_REDUCED_ACPI = 1u << 20;

    AcpiHeader header;
    std::array<std::uint8_t, 109 - 36> fixed_hardware{};  // ignored when hardware-reduced
    std::uint16_t iapc_boot_arch = 0;
    std::uint8_t reserved = 0;
    std::uint32_t flags = 0;
    AcpiAddress reset_reg;
    std::uint8_t reset_value = 0;
    std::uint16_t arm_boot_arch = 0;
    std::uint8_t minor_version = 0;
    std::uint64_t x_firmware_ctrl = 0;
    std::uint64_t x_dsdt = 0;
    std::array<std::uint8_t, 8 * sizeof(AcpiAddress)> x_fixed_hardware{};  // ignored likewise
    AcpiAddress sleep_control_reg;
    AcpiAddress sleep_status_reg;
    std::array<char, 8> hypervisor_vendor_identity{};
};
static_assert(sizeof(AcpiFadt) == 276, "revision 6");
static_assert(offsetof(AcpiFadt, iapc_boot_arch) == 109);
static_assert(offsetof(AcpiFadt, flags) == 112);
static_assert(offsetof(AcpiFadt, x_dsdt) == 140);
static_assert(offsetof(AcpiFadt, sleep_control_reg) == 244);

struct [[gnu::packed]] AcpiMadt {  // table 5.19
    AcpiHeader header;
    std::uint32_t local_apic_address = 0;
    std::uint32_t flags = 0;  // PCAT_COMPAT clear: there is no PIC
};
static_assert(sizeof(AcpiMadt) == 44);

struct [[gnu::packed]] AcpiMadtLocalApic {  // table 5.22
    static constexpr std::uint32_t ENABLED = 1u << 0;

    std::uint8_t type = 0;
    std::uint8_t length = 8;
    std::uint8_t processor_uid = 0;
    std::uint8_t apic_id = 0;
    std::uint32_t flags = ENABLED;
};
static_assert(sizeof(AcpiMadtLocalApic) == 8);

struct [[gnu::packed]] AcpiMadtIoApic {  // table 5.24
    std::uint8_t type = 1;
    std::uint8_t length = 12;
    std::uint8_t io_apic_id = 0;
    std::uint8_t reserved = 0;
    std::uint32_t address = 0;
    std::uint32_t gsi_base = 0;
};
static_assert(sizeof(AcpiMadtIoApic) == 12);

}  // namespace undercroft::boot
