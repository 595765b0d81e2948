// SPDX-License-Identifier: Apache-2.0
#include "boot/elf.hpp"

#include "x86/paging.hpp"

#include <elf.h>
#include <fmt/core.h>

#include <algorithm>
#include <optional>

namespace undercroft::boot {
namespace {

constexpr std::size_t max_segments = 64;
constexpr std::uint64_t physical_end = std::uint64_t{1} << physical_address_bits;

Result<Elf64_Ehdr> parse_header(ByteSpan file) {
    if (!looks_like_elf(file)) return Error{"not an ELF file"};
    if (file.size() <= EI_DATA) return Error{"truncated kernel: the ELF header is incomplete"};
    if (load_at<std::uint8_t>(file, EI_CLASS) == ELFCLASS32) return Error{"32-bit kernel"};
    if (load_at<std::uint8_t>(file, EI_CLASS) != ELFCLASS64)
        return Error{"ELF class is neither 32 nor 64 bits"};
    if (load_at<std::uint8_t>(file, EI_DATA) != ELFDATA2LSB) return Error{"kernel is not for x86-64"};
    if (file.size() < sizeof(Elf64_Ehdr)) return Error{"truncated kernel: the ELF header is incomplete"};

    const auto header = load_at<Elf64_Ehdr>(file, 0);
    if (header.e_machine != EM_X86_64) return Error{"kernel is not for x86-64"};
    if (header.e_type != ET_EXEC)
        return Error{"ELF file is not an executable at fixed addresses, as a kernel is"};
    if (header.e_phnum == 0) return Error{"ELF file has no program headers"};
    if (header.e_phentsize != sizeof(Elf64_Phdr)) return Error{"ELF program headers have an unknown size"};
    if (!lies_within(header.e_phoff, std::uint64_t{header.e_phnum} * sizeof(Elf64_Phdr), file.size()))
        return Error{"truncated kernel: the ELF program headers are incomplete"};
    return header;
}

Result<ElfSegment> parse_segment(ByteSpan file, const Elf64_Phdr& header) {
    if (header.p_filesz > header.p_memsz) return Error{"ELF segment has more bytes than memory"};
    if (!lies_within(header.p_offset, header.p_filesz, file.size()))
        return Error{fmt::format("truncated kernel: a segment of {} bytes at byte {}, the file has {}",
                                 header.p_filesz, header.p_offset, file.size())};
    if (!lies_within(header.p_paddr, header.p_memsz, physical_end))
        return Error{fmt::format("ELF segment of {:#x} bytes at {:#x} is beyond the physical address space",
                                 header.p_memsz, header.p_paddr)};
    return ElfSegment{GuestPhysical{header.p_paddr}, file.subspan(header.p_offset, header.p_filesz),
                      header.p_memsz};
}

// A vmlinux gives its entry as a physical address; other kernels give a virtual one.
std::optional<GuestPhysical> physical_entry(std::uint64_t entry, const std::vector<Elf64_Phdr>& loads) {
    for (const Elf64_Phdr& load : loads)
        if (entry - load.p_paddr < load.p_memsz) return GuestPhysical{entry};
    for (const Elf64_Phdr& load : loads)
        if (entry - load.p_vaddr < load.p_memsz) return GuestPhysical{entry - load.p_vaddr + load.p_paddr};
    return std::nullopt;
}

Result<std::vector<Elf64_Phdr>> loadable(ByteSpan file, const Elf64_Ehdr& header) {
    std::vector<Elf64_Phdr> loads;
    for (std::size_t i = 0; i < header.e_phnum; ++i) {
        const auto program = load_at<Elf64_Phdr>(file, header.e_phoff + i * sizeof(Elf64_Phdr));
        if (program.p_type == PT_LOAD && program.p_memsz != 0) loads.push_back(program);
    }
    if (loads.empty()) return Error{"ELF file has nothing to load"};
    if (loads.size() > max_segments) return Error{"ELF file has too many segments"};
    std::ranges::sort(loads, {}, &Elf64_Phdr::p_paddr);
    return loads;
}

}  // namespace

bool looks_like_elf(ByteSpan file) {
    return file.size() >= SELFMAG && std::memcmp(file.data(), ELFMAG, SELFMAG) == 0;
}

Result<Elf> parse_elf(ByteSpan file) {
    const auto header = parse_header(file);
    if (!header) return header.error();
    const auto loads = loadable(file, *header);
    if (!loads) return loads.error();

    Elf elf;
    for (const Elf64_Phdr& load : *loads) {
        auto segment = parse_segment(file, load);
        if (!segment) return segment.error();
        if (!elf.segments.empty() && segment->address < elf.end())
            return Error{fmt::format("ELF segments overlap at {:#x}", segment->address.value())};
        elf.segments.push_back(*segment);
    }
    const auto entry = physical_entry(header->e_entry, *loads);
    if (!entry) return Error{fmt::format("entry point {:#x} lies in no segment", header->e_entry)};
    elf.entry = *entry;
    return elf;
}

}  // namespace undercroft::boot
