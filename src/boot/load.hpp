// SPDX-License-Identifier: Apache-2.0
// The load plan: which bytes go where in guest memory, and how the boot processor starts.
//
// Linux/x86 64-bit boot protocol (Documentation/arch/x86/boot.rst): the kernel's ELF is entered at startup_64
// in long mode, interrupts off, with an identity map, a flat GDT and the zero page at RSI. No guest
// decompressor and no 16- or 32-bit code runs, and nothing relocates the kernel: it lies where its program
// headers say.
//
// Memory when the guest starts: the structures of `Layout` below 640 KiB, in RAM that the guest may reuse
// once it has read them; ACPI tables in [0xe0000, 0x100000), typed as ACPI in the e820 map; the kernel from 1
// MiB up; the initrd, page-aligned, at the top of low RAM, below the kernel's initrd_addr_max.

#pragma once

#include "base/result.hpp"
#include "boot/acpi.hpp"
#include "boot/boot_params.hpp"
#include "boot/buffer.hpp"
#include "boot/kernel.hpp"

#include <string>
#include <vector>

namespace undercroft::boot {

// Where the small structures go. All but `acpi` below 0xa0000, nothing overlapping; page-aligned where it
// says so.
struct Layout {
    static constexpr std::uint64_t page_tables_size = 6 * 4096;
    static constexpr std::uint64_t gdt_size = 4 * 8;

    GuestPhysical gdt;
    GuestPhysical boot_params;  // a page
    GuestPhysical page_tables;  // page-aligned, page_tables_size bytes
    GuestPhysical
        stack_top;  // 16-byte aligned; the protocol asks for no stack, early code of other kernels may
    MemoryRange command_line;  // room for it with its terminating zero
    MemoryRange acpi;          // page-aligned, within [0xe0000, 0x100000); the RSDP comes first
};

struct Inputs {
    Kernel kernel;
    std::vector<std::byte> initrd;  // empty: none
    std::string command_line;
    std::vector<MemoryRange>
        ram;  // ascending, page-aligned; the first begins at zero. All of it reads as zero
    AcpiConfig acpi;
    Layout layout;
};

// Bytes to copy into guest memory.
struct Chunk {
    GuestPhysical address;
    ByteSpan bytes;
};

// How the boot processor starts: long mode (CR0.PE and PG, CR4.PAE, EFER.LME and LMA), RFLAGS 2, the rest
// zero.
struct EntryState {
    static constexpr std::uint16_t code_selector = 0x10;  // flat, 64-bit, execute and read
    static constexpr std::uint16_t data_selector = 0x18;  // flat, read and write: DS, ES, SS
    static constexpr std::uint16_t gdt_limit = Layout::gdt_size - 1;

    GuestPhysical rip;
    GuestPhysical rsi;  // the zero page
    GuestPhysical rsp;
    GuestPhysical gdt;  // its descriptors have the accessed bit set
    GuestPhysical cr3;  // identity map of the first 4 GiB in 2 MiB pages, supervisor, writable
};

// Owns what its chunks refer to; drop it once they are copied. Chunks are disjoint. What they leave out is
// zero.
struct Image {
    std::vector<Chunk> chunks;
    EntryState entry;
    MemoryRange kernel;  // with its bss
    MemoryRange initrd;  // size zero: none

    std::vector<std::vector<std::byte>> structures;
    Kernel kernel_bytes;
    std::vector<std::byte> initrd_bytes;

    Image() = default;
    Image(Image&&) = default;
    Image& operator=(Image&&) = default;
};

// Errors, each naming what it is about: "memory too small: kernel needs … MiB", "kernel asks to be loaded
// below 1 MiB", "initrd larger than memory: …", "command line is too long: …".
Result<Image> load(Inputs inputs);

}  // namespace undercroft::boot
