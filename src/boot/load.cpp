// SPDX-License-Identifier: Apache-2.0
#include "boot/load.hpp"

#include "base/check.hpp"
#include "x86/paging.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

namespace undercroft::boot {
namespace {

using Bytes = std::vector<std::byte>;

constexpr GuestPhysical low_structures_end{0xa0000};
constexpr GuestPhysical kernel_lowest{0x100000};

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}
constexpr std::uint64_t round_down(std::uint64_t value, std::uint64_t unit) { return value / unit * unit; }
constexpr std::uint64_t mebibytes(std::uint64_t bytes) { return round_up(bytes, 1u << 20) >> 20; }

template <class T>
Bytes bytes_of(const T& value) {
    const auto bytes = std::as_bytes(std::span{&value, 1});
    return {bytes.begin(), bytes.end()};
}

Bytes make_gdt() {
    constexpr std::uint64_t flat_code64 = 0x00af9b000000ffff;  // P S, execute read accessed, L, limit 4 GiB
    constexpr std::uint64_t flat_data = 0x00cf93000000ffff;    // P S, read write accessed, B, limit 4 GiB
    std::array<std::uint64_t, Layout::gdt_size / 8> gdt{};
    gdt[EntryState::code_selector / 8] = flat_code64;
    gdt[EntryState::data_selector / 8] = flat_data;
    return bytes_of(gdt);
}

// PML4, PDPT and four page directories. 2 MiB pages, since 1 GiB pages are for CPUID to promise.
Bytes make_page_tables(GuestPhysical base) {
    constexpr std::size_t entries = 512;
    constexpr std::size_t directories = 4;
    constexpr std::uint64_t table = PageEntry::P | PageEntry::RW;
    constexpr std::uint64_t large_page = table | PageEntry::PS;
    std::array<std::array<std::uint64_t, entries>, 2 + directories> tables{};
    static_assert(sizeof tables == Layout::page_tables_size);
    tables[0][0] = (base.value() + page_size) | table;
    for (std::size_t i = 0; i < directories; ++i) tables[1][i] = (base.value() + (2 + i) * page_size) | table;
    for (std::size_t i = 0; i < directories * entries; ++i)
        tables[2 + i / entries][i % entries] = i << 21 | large_page;
    return bytes_of(tables);
}

void check_layout(const Layout& layout) {
    CHECK(layout.page_tables.page_offset() == 0 && layout.boot_params.page_offset() == 0);
    CHECK(layout.acpi.base.page_offset() == 0 && layout.acpi.end().page_offset() == 0);
    CHECK(layout.stack_top.value() % 16 == 0 && layout.stack_top <= low_structures_end);
    std::array low{
        MemoryRange{layout.gdt, Layout::gdt_size},
        MemoryRange{layout.boot_params, sizeof(BootParams)},
        MemoryRange{layout.page_tables, Layout::page_tables_size},
        layout.command_line,
    };
    std::ranges::sort(low, {}, &MemoryRange::base);
    for (std::size_t i = 0; i < low.size(); ++i)
        CHECK(low[i].end() <= (i + 1 < low.size() ? low[i + 1].base : low_structures_end), "layout overlaps");
}

const MemoryRange* range_of(const std::vector<MemoryRange>& ram, MemoryRange wanted) {
    const auto found = std::ranges::find_if(ram, [&](const MemoryRange& range) {
        return wanted.base >= range.base && wanted.end() <= range.end();
    });
    return found == ram.end() ? nullptr : &*found;
}

// A new machine's memory is zero, so zeros at a segment's end (a vmlinux ships its bss) need not be copied:
// that would only make frames of them.
ByteSpan without_trailing_zeros(ByteSpan bytes) {
    constexpr std::size_t step = 4096;
    static constexpr std::array<std::byte, step> zeros{};
    while (bytes.size() >= step && std::memcmp(bytes.data() + bytes.size() - step, zeros.data(), step) == 0)
        bytes = bytes.first(bytes.size() - step);
    return bytes;
}

Result<void> place_kernel(Image& image, const std::vector<MemoryRange>& ram) {
    const Elf& elf = image.kernel_bytes.elf;
    if (elf.begin() < kernel_lowest) return Error{"kernel asks to be loaded below 1 MiB"};
    for (const ElfSegment& segment : elf.segments) {
        if (range_of(ram, {segment.address, segment.memory_size}) == nullptr)
            return Error{fmt::format("memory too small: kernel needs {} MiB", mebibytes(elf.end().value()))};
        const ByteSpan bytes = without_trailing_zeros(segment.bytes);
        if (!bytes.empty()) image.chunks.push_back({segment.address, bytes});
    }
    image.kernel = {elf.begin(), elf.end() - elf.begin()};
    return {};
}

// Above the kernel's end, which includes its bss. The header's init_size is larger: it has room for unpacking
// in place, which we do not do.
Result<void> place_initrd(Image& image, const std::vector<MemoryRange>& ram) {
    const std::uint64_t size = image.initrd_bytes.size();
    if (size == 0) return {};
    const SetupHeader& header = image.kernel_bytes.header;
    const std::uint64_t lowest = round_up(image.kernel.end().value(), page_size);
    const MemoryRange* low_ram = range_of(ram, {image.kernel.base, image.kernel.size});
    const std::uint64_t ram_end = low_ram == nullptr ? lowest : low_ram->end().value();
    const std::uint64_t end = std::min(ram_end, std::uint64_t{header.initrd_addr_max} + 1);
    const std::uint64_t available = end > lowest ? round_down(end - lowest, page_size) : 0;
    if (size > available)
        return Error{fmt::format("initrd larger than memory: it has {} MiB, {} MiB are free above the kernel",
                                 mebibytes(size), available >> 20)};
    image.initrd = {GuestPhysical{round_down(end - size, page_size)}, size};
    image.chunks.push_back({image.initrd.base, image.initrd_bytes});
    return {};
}

void place_structure(Image& image, GuestPhysical address, Bytes bytes) {
    image.structures.push_back(std::move(bytes));
    image.chunks.push_back({address, image.structures.back()});
}

Result<void> place_structures(Image& image, const Inputs& inputs) {
    const Layout& layout = inputs.layout;
    check_layout(layout);
    const auto params = make_boot_params({
        .header = image.kernel_bytes.header,
        .command_line = layout.command_line.base,
        .command_line_size = inputs.command_line.size(),
        .initrd = image.initrd,
        .rsdp = layout.acpi.base,
        .e820 = make_e820(inputs.ram, layout.acpi),
    });
    if (!params) return params.error();
    if (inputs.command_line.find('\0') != std::string::npos)
        return Error{"command line has a zero byte in it"};
    if (inputs.command_line.size() >= layout.command_line.size)
        return Error{fmt::format("command line is too long: {} bytes, there is room for {}",
                                 inputs.command_line.size(), layout.command_line.size - 1)};
    Bytes acpi = make_acpi_tables(inputs.acpi, layout.acpi.base);
    CHECK(acpi.size() <= layout.acpi.size, "ACPI tables do not fit");

    const auto command_line =
        std::as_bytes(std::span{inputs.command_line.c_str(), inputs.command_line.size() + 1});
    place_structure(image, layout.gdt, make_gdt());
    place_structure(image, layout.boot_params, bytes_of(*params));
    place_structure(image, layout.page_tables, make_page_tables(layout.page_tables));
    place_structure(image, layout.command_line.base, {command_line.begin(), command_line.end()});
    place_structure(image, layout.acpi.base, std::move(acpi));
    return {};
}

}  // namespace

Result<Image> load(Inputs inputs) {
    Image image;
    image.kernel_bytes = std::move(inputs.kernel);
    image.initrd_bytes = std::move(inputs.initrd);
    if (auto placed = place_kernel(image, inputs.ram); !placed) return placed.error();
    if (auto placed = place_initrd(image, inputs.ram); !placed) return placed.error();
    if (auto placed = place_structures(image, inputs); !placed) return placed.error();

    image.entry = {
        .rip = image.kernel_bytes.elf.entry,
        .rsi = inputs.layout.boot_params,
        .rsp = inputs.layout.stack_top,
        .gdt = inputs.layout.gdt,
        .cr3 = inputs.layout.page_tables,
    };
    return image;
}

}  // namespace undercroft::boot
