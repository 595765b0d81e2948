// SPDX-License-Identifier: Apache-2.0
#include "boot/elf.hpp"

#include "boot/test_kernels.hpp"
#include "x86/paging.hpp"

#include <gtest/gtest.h>

namespace undercroft::boot {
namespace {

using namespace test;

std::string reason(const Bytes& file) {
    const auto parsed = parse_elf(file);
    return parsed ? "" : parsed.error().message;
}

TEST(ElfKernel, SegmentsAreWhereTheirPhysicalAddressesSay) {
    const Bytes file = vmlinux();
    const auto parsed = parse_elf(file);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->entry, GuestPhysical{vmlinux_begin});
    ASSERT_EQ(parsed->segments.size(), 2u);
    EXPECT_EQ(parsed->begin(), GuestPhysical{vmlinux_begin});
    EXPECT_EQ(parsed->end(), GuestPhysical{vmlinux_end});
    EXPECT_TRUE(std::ranges::equal(parsed->segments[0].bytes, text(5000)));
    EXPECT_EQ(parsed->segments[1].bytes.size(), 300u);
    EXPECT_EQ(parsed->segments[1].memory_size, 0x100000u);
}

TEST(ElfKernel, SegmentsComeOutAscending) {
    const Bytes file =
        elf(0x300000, {{0x300000, 0x300000, text(10), 10}, {0x200000, 0x200000, text(10), 10}});
    const auto parsed = parse_elf(file);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->begin(), GuestPhysical{0x200000});
}

TEST(ElfKernel, VirtualEntryIsTranslated) {
    const auto parsed =
        parse_elf(elf(0xffffffff81000123, {{0xffffffff81000000, 0x200000, text(0x1000), 0x1000}}));
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->entry, GuestPhysical{0x200123});
}

TEST(ElfKernel, EntryOutsideAllSegments) {
    EXPECT_EQ(reason(elf(0x200010, {{0x200000, 0x200000, text(16), 16}})),
              "entry point 0x200010 lies in no segment");
}

TEST(ElfKernel, EveryTruncationIsAnError) {
    const Bytes whole = vmlinux();
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const std::string why = reason(prefix(whole, size));
        EXPECT_TRUE(why.starts_with(size < SELFMAG ? "not an ELF file" : "truncated kernel: "))
            << size << why;
    }
}

TEST(ElfKernel, DamagedHeadersNeverReachBeyondTheFile) {
    const Bytes whole = vmlinux();
    for (std::size_t at = 0; at < sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr); ++at)
        for (unsigned value = 0; value < 256; ++value) {
            Bytes damaged = whole;
            damaged[at] = static_cast<std::byte>(value);
            const auto parsed = parse_elf(damaged);
            if (!parsed) continue;
            unsigned sum = 0;  // touch every byte that a loader would copy
            for (const ElfSegment& segment : parsed->segments) {
                EXPECT_LE(segment.bytes.size(), segment.memory_size);
                for (const std::byte byte : segment.bytes) sum += std::to_integer<unsigned>(byte);
            }
            EXPECT_GT(sum, 0u);
        }
}

TEST(ElfKernel, RefusesOtherKindsOfFile) {
    auto changed = [](std::size_t offset, auto value) {
        Bytes file = vmlinux();
        store_at(file, offset, value);
        return file;
    };
    EXPECT_EQ(reason(text(100)), "not an ELF file");
    EXPECT_EQ(reason(changed(EI_CLASS, std::uint8_t{ELFCLASS32})), "32-bit kernel");
    EXPECT_EQ(reason(changed(EI_DATA, std::uint8_t{ELFDATA2MSB})), "kernel is not for x86-64");
    EXPECT_EQ(reason(changed(offsetof(Elf64_Ehdr, e_machine), std::uint16_t{EM_AARCH64})),
              "kernel is not for x86-64");
    EXPECT_EQ(reason(changed(offsetof(Elf64_Ehdr, e_type), std::uint16_t{ET_DYN})),
              "ELF file is not an executable at fixed addresses, as a kernel is");
    EXPECT_EQ(reason(changed(offsetof(Elf64_Ehdr, e_phnum), std::uint16_t{0})),
              "ELF file has no program headers");
    EXPECT_EQ(reason(changed(offsetof(Elf64_Ehdr, e_phentsize), std::uint16_t{32})),
              "ELF program headers have an unknown size");
}

TEST(ElfKernel, RefusesAbsurdSegments) {
    EXPECT_EQ(reason(elf(0x200000, {{0x200000, 0x200000, text(16), 8}})),
              "ELF segment has more bytes than memory");
    EXPECT_EQ(
        reason(elf(0x200000, {{0x200000, 0x200000, text(16), 0x2000}, {0x201000, 0x201000, text(16), 16}})),
        "ELF segments overlap at 0x201000");
    EXPECT_EQ(reason(elf(0x200000, {{0x200000, 0x200000, text(16), ~0ull}})),
              "ELF segment of 0xffffffffffffffff bytes at 0x200000 is beyond the physical address space");
    EXPECT_EQ(reason(elf(0x200000, {{0x200000, ~0ull - 8, text(16), 16}})),
              "ELF segment of 0x10 bytes at 0xfffffffffffffff7 is beyond the physical address space");
    EXPECT_EQ(reason(elf(0x200000, {{0x200000, 0x200000, {}, 0}})), "ELF file has nothing to load");
    EXPECT_EQ(reason(elf(0, std::vector<LoadSegment>(65, {0, 0, {}, 1}))), "ELF file has too many segments");
}

}  // namespace
}  // namespace undercroft::boot
