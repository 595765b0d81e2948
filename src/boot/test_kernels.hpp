// SPDX-License-Identifier: Apache-2.0
// Small kernels for the tests of this folder: ELF files, compressed payloads, bzImages.

#pragma once

#include "boot/bzimage.hpp"

#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace undercroft::boot::test {

using Bytes = std::vector<std::byte>;

template <class T>
void append(Bytes& to, const T& value) {
    const auto bytes = std::as_bytes(std::span{&value, 1});
    to.insert(to.end(), bytes.begin(), bytes.end());
}

template <class T>
void store_at(Bytes& bytes, std::size_t offset, const T& value) {
    std::memcpy(bytes.data() + offset, &value, sizeof value);
}

// Compressible, and different everywhere.
inline Bytes text(std::size_t size) {
    Bytes bytes(size);
    std::uint32_t seed = 1;
    for (std::size_t i = 0; i < size; ++i) {
        if (i % 7 == 0) seed = seed * 1664525 + 1013904223;
        bytes[i] = static_cast<std::byte>(seed >> 24);
    }
    return bytes;
}

struct LoadSegment {
    std::uint64_t virtual_address;
    std::uint64_t physical_address;
    Bytes bytes;
    std::uint64_t memory_size;
};

inline Bytes elf(std::uint64_t entry, const std::vector<LoadSegment>& segments) {
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_entry = entry;
    header.e_phoff = sizeof header;
    header.e_ehsize = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = static_cast<Elf64_Half>(segments.size());
    Bytes file;
    append(file, header);
    std::uint64_t offset = sizeof header + segments.size() * sizeof(Elf64_Phdr);
    for (const LoadSegment& segment : segments) {
        append(file, Elf64_Phdr{.p_type = PT_LOAD,
                                .p_flags = PF_R | PF_W | PF_X,
                                .p_offset = offset,
                                .p_vaddr = segment.virtual_address,
                                .p_paddr = segment.physical_address,
                                .p_filesz = segment.bytes.size(),
                                .p_memsz = segment.memory_size,
                                .p_align = 4096});
        offset += segment.bytes.size();
    }
    for (const LoadSegment& segment : segments)
        file.insert(file.end(), segment.bytes.begin(), segment.bytes.end());
    return file;
}

// Text at 16 MiB, data with bss behind it: 3 MiB in all.
inline constexpr std::uint64_t vmlinux_begin = 0x1000000;
inline constexpr std::uint64_t vmlinux_end = 0x1300000;
inline Bytes vmlinux() {
    return elf(vmlinux_begin, {{0xffffffff81000000, vmlinux_begin, text(5000), 5000},
                               {0xffffffff81200000, 0x1200000, text(300), 0x100000}});
}

enum class Format { Xz, Lzma, Lz4, Zstd, Gzip };
inline constexpr Format formats[] = {Format::Xz, Format::Lzma, Format::Lz4, Format::Zstd, Format::Gzip};

inline Bytes compress_lzma(const Bytes& plain, bool xz) {
    lzma_stream stream = LZMA_STREAM_INIT;
    lzma_options_lzma options;
    lzma_lzma_preset(&options, 1);
    const lzma_ret initialised =
        xz ? lzma_easy_encoder(&stream, 1, LZMA_CHECK_CRC32) : lzma_alone_encoder(&stream, &options);
    CHECK(initialised == LZMA_OK);
    Bytes packed(plain.size() + 1024);
    stream.next_in = reinterpret_cast<const std::uint8_t*>(plain.data());
    stream.avail_in = plain.size();
    stream.next_out = reinterpret_cast<std::uint8_t*>(packed.data());
    stream.avail_out = packed.size();
    CHECK(lzma_code(&stream, LZMA_FINISH) == LZMA_STREAM_END);
    packed.resize(stream.total_out);
    lzma_end(&stream);
    return packed;
}

inline Bytes compress_lz4(const Bytes& plain) {
    constexpr std::size_t block_size = std::size_t{8} << 20;
    Bytes packed;
    append(packed, std::uint32_t{0x184c2102});
    for (std::size_t at = 0; at < plain.size(); at += block_size) {
        const auto size = static_cast<int>(std::min(block_size, plain.size() - at));
        Bytes block(static_cast<std::size_t>(LZ4_compressBound(size)));
        const int got =
            LZ4_compress_default(reinterpret_cast<const char*>(plain.data() + at),
                                 reinterpret_cast<char*>(block.data()), size, static_cast<int>(block.size()));
        append(packed, static_cast<std::uint32_t>(got));
        packed.insert(packed.end(), block.begin(), block.begin() + got);
    }
    return packed;
}

inline Bytes compress_gzip(const Bytes& plain) {
    z_stream stream{};
    CHECK(deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    Bytes packed(plain.size() + 1024);
    stream.next_in = const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(plain.data()));
    stream.avail_in = static_cast<uInt>(plain.size());
    stream.next_out = reinterpret_cast<std::uint8_t*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    packed.resize(stream.total_out);
    deflateEnd(&stream);
    return packed;
}

inline Bytes compress_zstd(const Bytes& plain) {
    Bytes packed(ZSTD_compressBound(plain.size()));
    packed.resize(ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), 3));
    return packed;
}

// As the kernel's build does it: the stream, and the size behind it unless the stream has it.
inline Bytes payload(Format format, const Bytes& plain) {
    if (format == Format::Gzip) return compress_gzip(plain);
    Bytes packed = format == Format::Lz4    ? compress_lz4(plain)
                   : format == Format::Zstd ? compress_zstd(plain)
                                            : compress_lzma(plain, format == Format::Xz);
    append(packed, static_cast<std::uint32_t>(plain.size()));
    return packed;
}

inline SetupHeader setup_header() {
    SetupHeader header;
    header.setup_sects = 1;
    header.boot_flag = SetupHeader::boot_flag_magic;
    header.jump = 0x6aeb;
    header.header = SetupHeader::header_magic;
    header.version = SetupHeader::version_2_15;
    header.loadflags = SetupHeader::LOADED_HIGH;
    header.initrd_addr_max = 0x7fffffff;
    header.xloadflags = SetupHeader::XLF_KERNEL_64;
    header.cmdline_size = 2047;
    header.payload_offset = 0x40;
    return header;
}

inline Bytes bzimage(SetupHeader header, const Bytes& packed) {
    header.payload_length = static_cast<std::uint32_t>(packed.size());
    Bytes file(std::size_t{512} * (header.setup_sects + 1u) + header.payload_offset);
    store_at(file, setup_header_offset, header);
    file.insert(file.end(), packed.begin(), packed.end());
    return file;
}

// The first `size` bytes in memory of exactly that size, so that AddressSanitizer sees a read beyond them.
inline Bytes prefix(const Bytes& bytes, std::size_t size) {
    return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)};
}

}  // namespace undercroft::boot::test
