// SPDX-License-Identifier: Apache-2.0
#include "boot/acpi.hpp"

#include "base/check.hpp"
#include "boot/acpi_tables.hpp"

#include <fmt/core.h>

#include <cstring>
#include <limits>
#include <numeric>
#include <span>
#include <string_view>

namespace undercroft::boot {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::array oem_id{'U', 'N', 'D', 'R', 'C', 'R'};
constexpr std::array oem_table_id{'U', 'N', 'D', 'R', 'C', 'R', 'F', 'T'};
constexpr std::array creator_id{'U', 'N', 'D', 'R'};
constexpr std::size_t table_alignment = 16;

template <class T>
void append(Bytes& to, const T& value) {
    const auto bytes = std::as_bytes(std::span{&value, 1});
    to.insert(to.end(), bytes.begin(), bytes.end());
}

// What must be added to make the sum zero.
std::uint8_t checksum(std::span<const std::byte> bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), std::uint8_t{0}, [](std::uint8_t sum, std::byte byte) {
        return static_cast<std::uint8_t>(sum - std::to_integer<std::uint8_t>(byte));
    });
}

AcpiHeader header(std::string_view signature, std::uint8_t revision) {
    AcpiHeader made;
    std::memcpy(made.signature.data(), signature.data(), made.signature.size());
    made.revision = revision;
    made.oem_id = oem_id;
    made.oem_table_id = oem_table_id;
    made.oem_revision = 1;
    made.creator_id = creator_id;
    made.creator_revision = 1;
    return made;
}

// Fills in the length and the checksum.
Bytes finish(Bytes table) {
    const auto length = static_cast<std::uint32_t>(table.size());
    std::memcpy(table.data() + offsetof(AcpiHeader, length), &length, sizeof length);
    table[offsetof(AcpiHeader, checksum)] = std::byte{0};
    table[offsetof(AcpiHeader, checksum)] = std::byte{checksum(table)};
    return table;
}

aml::Code serial_device(const AcpiConfig::Serial& serial, std::size_t index) {
    constexpr std::uint8_t register_count = 8;
    return aml::device(
        fmt::format("COM{}", index + 1),
        {aml::name("_HID", aml::eisa_id("PNP0501")), aml::name("_UID", aml::integer(index)),
         aml::name("_CRS",
                   aml::resources({aml::io_ports(serial.port, register_count),
                                   aml::interrupt(serial.interrupt.gsi, serial.interrupt.trigger)}))});
}

// Without an interrupt: Linux then takes it for a clock without alarm, and needs no legacy IRQ 8.
aml::Code rtc_device(std::uint16_t port) {
    return aml::device("RTC", {aml::name("_HID", aml::eisa_id("PNP0B00")),
                               aml::name("_CRS", aml::resources({aml::io_ports(port, 2)}))});
}

// The button, and the device whose interrupt says that it was pressed.
std::vector<aml::Code> power_button(const AcpiConfig::Interrupt& interrupt) {
    constexpr std::uint64_t pressed = 0x80;  // section 4.8.3.1.2
    return {aml::device("PWRB", {aml::name("_HID", aml::eisa_id("PNP0C0C"))}),
            aml::device(
                "GED", {aml::name("_HID", aml::string("ACPI0013")),
                        aml::name("_CRS", aml::resources({aml::interrupt(interrupt.gsi, interrupt.trigger)})),
                        aml::method("_EVT", 1, {aml::notify("\\_SB.PWRB", pressed)})})};
}

aml::Code virtio_device(const AcpiConfig::VirtioSlot& slot, std::size_t index) {
    CHECK(slot.base.value() + slot.size <= std::numeric_limits<std::uint32_t>::max());
    const auto base = static_cast<std::uint32_t>(slot.base.value());
    return aml::device(
        fmt::format("VR{:02X}", index),
        {aml::name("_HID", aml::string("LNRO0005")), aml::name("_UID", aml::integer(index)),
         aml::name("_CRS", aml::resources({aml::memory_window(base, slot.size),
                                           aml::interrupt(slot.interrupt.gsi, slot.interrupt.trigger)}))});
}

aml::Code processors(unsigned count) {
    std::vector<aml::Code> terms{aml::name("_HID", aml::string("ACPI0010"))};  // processor container
    for (unsigned id = 0; id < count; ++id)
        terms.push_back(aml::device(fmt::format("C{:03X}", id), {aml::name("_HID", aml::string("ACPI0007")),
                                                                 aml::name("_UID", aml::integer(id))}));
    return aml::device("CPUS", terms);
}

Bytes make_dsdt(const AcpiConfig& config) {
    std::vector<aml::Code> devices{processors(config.cpu_count)};
    CHECK(config.serial.size() <= 9 && config.virtio.size() <= 0x100);
    for (std::size_t i = 0; i < config.serial.size(); ++i)
        devices.push_back(serial_device(config.serial[i], i));
    if (config.rtc_port) devices.push_back(rtc_device(*config.rtc_port));
    if (config.power_button) {
        for (aml::Code& device : power_button(*config.power_button)) devices.push_back(std::move(device));
    }
    for (std::size_t i = 0; i < config.virtio.size(); ++i)
        devices.push_back(virtio_device(config.virtio[i], i));

    const aml::Code sleep = aml::integer(acpi_s5_sleep_type);
    const aml::Code code = aml::join({
        aml::name("\\_S5", aml::package({sleep, sleep, aml::integer(0), aml::integer(0)})),
        aml::scope("\\_SB", devices),
    });
    Bytes table;
    append(table, header("DSDT", 2));  // 2: integers have 64 bits
    const auto bytes = std::as_bytes(std::span{code});
    table.insert(table.end(), bytes.begin(), bytes.end());
    return finish(std::move(table));
}

Bytes make_fadt(const AcpiConfig& config, GuestPhysical dsdt) {
    AcpiFadt fadt;
    fadt.header = header("FACP", 6);
    fadt.minor_version = 4;
    fadt.iapc_boot_arch = AcpiFadt::VGA_NOT_PRESENT;
    if (!config.rtc_port) fadt.iapc_boot_arch |= AcpiFadt::CMOS_RTC_NOT_PRESENT;
    fadt.flags = AcpiFadt::WBINVD | AcpiFadt::PROC_C1 | AcpiFadt::PWR_BUTTON | AcpiFadt::SLP_BUTTON |
                 AcpiFadt::RESET_REG_SUP | AcpiFadt::HW_REDUCED_ACPI;
    fadt.reset_reg = AcpiAddress::byte_port(config.reset_port);
    fadt.reset_value = config.reset_value;
    fadt.sleep_control_reg = AcpiAddress::byte_port(config.sleep_control_port);
    fadt.sleep_status_reg = AcpiAddress::byte_port(config.sleep_status_port);
    fadt.x_dsdt = dsdt.value();
    fadt.hypervisor_vendor_identity = oem_table_id;
    Bytes table;
    append(table, fadt);
    return finish(std::move(table));
}

Bytes make_madt(const AcpiConfig& config) {
    constexpr unsigned max_cpu_count = 255;  // 8-bit ids; 0xff is the broadcast
    CHECK(config.cpu_count >= 1 && config.cpu_count <= max_cpu_count);
    AcpiMadt madt;
    madt.header = header("APIC", 5);
    madt.local_apic_address = static_cast<std::uint32_t>(config.local_apic.value());
    Bytes table;
    append(table, madt);
    for (unsigned id = 0; id < config.cpu_count; ++id) {
        AcpiMadtLocalApic local_apic;
        local_apic.processor_uid = static_cast<std::uint8_t>(id);
        local_apic.apic_id = static_cast<std::uint8_t>(id);
        append(table, local_apic);
    }
    AcpiMadtIoApic io_apic;
    io_apic.io_apic_id = config.io_apic_id;
    io_apic.address = static_cast<std::uint32_t>(config.io_apic.value());
    append(table, io_apic);
    return finish(std::move(table));
}

Bytes make_xsdt(std::initializer_list<GuestPhysical> tables) {
    Bytes table;
    append(table, header("XSDT", 1));
    for (const GuestPhysical address : tables) append(table, address.value());
    return finish(std::move(table));
}

AcpiRsdp make_rsdp(GuestPhysical xsdt) {
    AcpiRsdp rsdp;
    rsdp.oem_id = oem_id;
    rsdp.xsdt_address = xsdt.value();
    const auto bytes = std::as_bytes(std::span{&rsdp, 1});
    rsdp.checksum = checksum(bytes.first(20));
    rsdp.extended_checksum = checksum(bytes);
    return rsdp;
}

}  // namespace

std::vector<std::byte> make_acpi_tables(const AcpiConfig& config, GuestPhysical base) {
    CHECK(base.value() % table_alignment == 0);
    Bytes all(sizeof(AcpiRsdp));
    auto place = [&](const Bytes& table) {
        all.resize((all.size() + table_alignment - 1) / table_alignment * table_alignment);
        const GuestPhysical address = base + all.size();
        all.insert(all.end(), table.begin(), table.end());
        return address;
    };
    const GuestPhysical dsdt = place(make_dsdt(config));
    const GuestPhysical fadt = place(make_fadt(config, dsdt));
    const GuestPhysical madt = place(make_madt(config));
    const GuestPhysical xsdt = place(make_xsdt({fadt, madt}));
    const AcpiRsdp rsdp = make_rsdp(xsdt);
    std::memcpy(all.data(), &rsdp, sizeof rsdp);
    return all;
}

}  // namespace undercroft::boot
