// SPDX-License-Identifier: Apache-2.0
// A vmlinux from anywhere, planned into a machine's memory: what the plan promises holds for any file.
//
// Input: MiB of RAM, pages of initrd, length of the command line (a byte each); then the file.
#include "boot/elf.hpp"

#include "boot/load.hpp"
#include "input.hpp"

#include <algorithm>
#include <string>
#include <vector>

using namespace undercroft;

namespace {

boot::Inputs machine(fuzz::Input& input) {
    boot::Inputs inputs;
    std::uint64_t mebibytes = 1 + input.take<std::uint8_t>();
    inputs.ram = {{GuestPhysical{0}, mebibytes << 20}};
    inputs.initrd.resize(input.below(64) * 4096 + 5);
    inputs.command_line = std::string(input.take<std::uint8_t>() * std::size_t{32}, 'x');
    inputs.acpi.local_apic = GuestPhysical{0xfee00000};
    inputs.acpi.io_apic = GuestPhysical{0xfec00000};
    inputs.layout = {
        .gdt = GuestPhysical{0x6000},
        .boot_params = GuestPhysical{0x7000},
        .page_tables = GuestPhysical{0x9000},
        .stack_top = GuestPhysical{0x9000},
        .command_line = {GuestPhysical{0x20000}, 0x1000},
        .acpi = {GuestPhysical{0xe0000}, 0x20000},
    };
    return inputs;
}

void check_segments(const boot::Elf& elf) {
    bool holds_entry = false;
    GuestPhysical end{0};
    for (const boot::ElfSegment& segment : elf.segments) {
        CHECK(segment.address >= end && segment.memory_size >= segment.bytes.size());
        end = segment.end();
        holds_entry = holds_entry || (elf.entry >= segment.address && elf.entry < end);
    }
    CHECK(holds_entry);
}

void check_plan(boot::Image& image, std::uint64_t ram_size) {
    std::ranges::sort(image.chunks, {}, &boot::Chunk::address);
    GuestPhysical end{0};
    for (const boot::Chunk& chunk : image.chunks) {
        CHECK(chunk.address >= end, "chunks overlap");
        end = chunk.address + chunk.bytes.size();
    }
    CHECK(end <= GuestPhysical{ram_size}, "a chunk lies outside of RAM");
    CHECK(image.entry.rip >= image.kernel.base && image.entry.rip < image.kernel.end());
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input{data, size};
    boot::Inputs inputs = machine(input);
    if (!boot::looks_like_elf(input.rest())) return 0;  // the other target's
    auto kernel = boot::read_kernel(input.rest());
    if (!kernel) {
        CHECK(!kernel.error().message.empty());
        return 0;
    }
    check_segments(kernel->elf);
    std::uint64_t ram_size = inputs.ram[0].size;
    inputs.kernel = *std::move(kernel);
    auto image = boot::load(std::move(inputs));
    if (image)
        check_plan(*image, ram_size);
    else
        CHECK(!image.error().message.empty());
    return 0;
}
