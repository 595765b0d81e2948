// SPDX-License-Identifier: Apache-2.0
// Every address, port and interrupt number that a guest can see, in one place. docs/machine.md explains them.
//
// Memory: low RAM from 0, devices in the hole below 4 GiB, the rest of RAM from 4 GiB up.

#pragma once

#include "boot/load.hpp"
#include "device/acpi_power.hpp"
#include "device/io_apic.hpp"
#include "device/local_apic.hpp"
#include "device/port61.hpp"
#include "device/post_port.hpp"
#include "device/rtc.hpp"
#include "device/serial.hpp"
#include "memory/guest_memory.hpp"
#include "mmu/rendezvous.hpp"
#include "x86/address.hpp"
#include "x86/paging.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace undercroft::layout {

struct Range {
    std::uint64_t first = 0;
    std::uint64_t length = 0;

    constexpr std::uint64_t end() const { return first + length; }
};

template <std::size_t N>
constexpr bool disjoint(const std::array<Range, N>& ranges) {
    for (std::size_t i = 0; i < N; ++i) {
        for (std::size_t j = i + 1; j < N; ++j) {
            if (ranges[i].first < ranges[j].end() && ranges[j].first < ranges[i].end()) return false;
        }
    }
    return true;
}

// --- memory -----------------------------------------------------------------------------------------------
inline constexpr std::uint64_t low_ram_limit = 0xd000'0000;
inline constexpr std::uint64_t high_ram_start = 0x1'0000'0000;

inline constexpr unsigned virtio_slot_count = 16;
inline constexpr unsigned most_channels = 16;  // all of them are of one device
inline constexpr std::uint64_t virtio_slot_size = 0x1000;
inline constexpr Range virtio_slots{0xd000'0000, virtio_slot_count* virtio_slot_size};
constexpr Range virtio_slot(unsigned slot) {
    return {virtio_slots.first + slot * virtio_slot_size, virtio_slot_size};
}
inline constexpr Range io_apic{0xfec0'0000, IoApic::length};
inline constexpr Range local_apic{0xfee0'0000, LocalApic::length};

static_assert(disjoint(std::array{Range{0, low_ram_limit}, virtio_slots, io_apic, local_apic,
                                  Range{high_ram_start, 1ull << 36}}));
static_assert(local_apic.first == 0xfee0'0000, "where IA32_APIC_BASE points after reset");

// How much memory a guest may have. Below, no kernel of ours starts; above, a typing error is likelier.
inline constexpr std::uint64_t min_memory = std::uint64_t{32} << 20;
inline constexpr std::uint64_t max_memory = std::uint64_t{64} << 30;
static_assert(high_ram_start + max_memory <= 1ull << physical_address_bits);

// vCPUs of a machine; their local APICs' identifiers are their numbers.
inline constexpr unsigned max_processors = Rendezvous::most_members;

inline std::vector<MemoryRegion> ram_regions(std::uint64_t memory) {
    std::vector<MemoryRegion> regions{{GuestPhysical{0}, std::min(memory, low_ram_limit)}};
    if (memory > low_ram_limit) regions.push_back({GuestPhysical{high_ram_start}, memory - low_ram_limit});
    return regions;
}

// --- what lies in low memory when the guest starts --------------------------------------------------------
inline constexpr boot::Layout boot_structures{
    .gdt = GuestPhysical{0x6000},
    .boot_params = GuestPhysical{0x7000},
    .page_tables = GuestPhysical{0x9000},
    .stack_top = GuestPhysical{0x9000},
    .command_line = {GuestPhysical{0x2'0000}, 0x1000},
    .acpi = {GuestPhysical{0xe'0000}, 0x2'0000},
};
static_assert(disjoint(std::array{
    Range{boot_structures.gdt.value(), boot::Layout::gdt_size},
    Range{boot_structures.boot_params.value(), page_size},
    Range{boot_structures.stack_top.value() - page_size, page_size},
    Range{boot_structures.page_tables.value(), boot::Layout::page_tables_size},
    Range{boot_structures.command_line.base.value(), boot_structures.command_line.size},
    Range{boot_structures.acpi.base.value(), boot_structures.acpi.size},
}));

// --- ports ------------------------------------------------------------------------------------------------
inline constexpr Range port61{0x61, Port61::length};
inline constexpr Range rtc{0x70, Rtc::length};
inline constexpr Range post{0x80, PostPort::length};
inline constexpr Range com1{0x3f8, Serial::length};
inline constexpr Range acpi_power{0x600, AcpiPower::length};
static_assert(disjoint(std::array{port61, rtc, post, com1, acpi_power}));
static_assert(AcpiPower::soft_off_type == boot::acpi_s5_sleep_type, "the DSDT tells the guest what to write");

// --- global system interrupts: pins of the I/O APIC -------------------------------------------------------
inline constexpr unsigned com1_gsi = 4;
inline constexpr unsigned power_button_gsi = 5;
inline constexpr unsigned virtio_first_gsi = 8;
static_assert(virtio_first_gsi + virtio_slot_count <= IoApic::pin_count && com1_gsi < virtio_first_gsi &&
              power_button_gsi < virtio_first_gsi && power_button_gsi != com1_gsi);

// No local APIC has this identifier.
inline constexpr std::uint8_t io_apic_id = 0xf0;
static_assert(max_processors <= io_apic_id);

// What the ACPI tables say of all this; the first so many virtio slots are in use. The serial port's
// interrupt is an edge, as on the ISA bus, and the power button's, which is pressed and let go at once.
boot::AcpiConfig acpi_config(unsigned cpu_count, unsigned virtio_devices = 0);

}  // namespace undercroft::layout
