// SPDX-License-Identifier: Apache-2.0
// A guest-filled TLB behind the MMU: what is allowed to whom, and that nothing older than it survives
// anywhere.

#include "mmu/mmu.hpp"
#include "mmu/test_machine.hpp"
#include "x86/software_tlb.hpp"

#include <gtest/gtest.h>

namespace undercroft::test {
namespace {

using namespace software_tlb;
using enum Access;
constexpr AccessMode User = AccessMode::User, Supervisor = AccessMode::Supervisor;
constexpr std::uint64_t page = 0x0000123456789000;
constexpr std::uint64_t frame = 5 * MiB;

struct SoftwareTlb : testing::Test {
    TestMachine machine;

    SoftwareTlb() {
        machine.state.software_tlb = true;
        machine.mmu.begin_software_tlb();
        for (std::uint64_t n = 0; n < 256; n++)
            machine.byte(frame + n * 4096) = std::byte{1};  // frames of their own
    }
    void write(std::uint64_t high, std::uint64_t low) { machine.mmu.write_tlb_entry(high, low); }
    void expect_fault(std::uint64_t address, Access access, AccessMode mode, std::uint32_t error) {
        EXPECT_FALSE(machine.translate(address, access, mode));
        EXPECT_EQ(machine.trap.vector, Vector::PF);
        EXPECT_EQ(machine.trap.error_code, error);
        EXPECT_EQ(machine.trap.address, address);
    }
    void expect_at(std::uint64_t address, Access access, AccessMode mode, std::uint64_t physical) {
        ASSERT_TRUE(machine.translate(address, access, mode)) << machine.trap.error_code;
        EXPECT_EQ(machine.out.physical.value(), physical);
    }
};

TEST_F(SoftwareTlb, GuestTablesAreNeverWalked) {
    machine.map(page, frame);  // in x86 tables under CR3
    expect_fault(page, Read, User, PageFault::U);
    write(page, (frame + 0x1000) | EntryLo::User);
    expect_at(page + 5, Read, User, frame + 0x1005);
    EXPECT_EQ(machine.mmu.statistics().walks, 0u);
}

TEST_F(SoftwareTlb, MissesSayWhatAndWhose) {
    machine.state.asid = 0x47;
    machine.mmu.set_tlb_address_space(0x47);
    expect_fault(page, Read, Supervisor, 0x470000);
    expect_fault(page, Write, User, 0x470000 | PageFault::U | PageFault::W);
    expect_fault(page, Execute, User, 0x470000 | PageFault::U | PageFault::I);
}

TEST_F(SoftwareTlb, RightsAreTheEntrys) {
    write(page, frame | EntryLo::User);
    expect_at(page, Read, User, frame);
    expect_fault(page, Write, User, PageFault::P | PageFault::W | PageFault::U);
    expect_fault(page, Execute, User, PageFault::P | PageFault::I | PageFault::U);
    write(page, frame | EntryLo::User | EntryLo::Write | EntryLo::Execute);
    expect_at(page, Write, User, frame);
    expect_at(page, Execute, User, frame);
    write(page, frame | EntryLo::Write);
    expect_fault(page, Read, User, PageFault::P | PageFault::U);
    expect_at(page, Write, Supervisor, frame);
}

TEST_F(SoftwareTlb, WindowIsAllOfMemoryForTheKernelAlone) {
    expect_at(window + frame + 7, Write, Supervisor, frame + 7);
    expect_at(window + frame, Execute, Supervisor, frame);
    expect_at(window + window_size - 1, Read, Supervisor, window_size - 1);
    expect_fault(window + frame, Read, User, PageFault::P | PageFault::U);
    expect_fault(window + frame, Execute, User, PageFault::P | PageFault::I | PageFault::U);
    expect_fault(window + window_size, Read, Supervisor, 0);
    EXPECT_FALSE(machine.translate(window - 1, Read, Supervisor));
    EXPECT_EQ(machine.trap.vector, Vector::GP) << "not canonical";
}

TEST_F(SoftwareTlb, AddressSpacesAreApartAndGlobalEntriesInAll) {
    auto enter = [&](std::uint8_t asid) {
        machine.state.asid = asid;
        machine.mmu.set_tlb_address_space(asid);
    };
    write(page | 1, frame | EntryLo::User);
    write(page | 2, (frame + 0x1000) | EntryLo::User);
    write((page + 0x1000) | 1, (frame + 0x2000) | EntryLo::User | EntryLo::Global);
    for (int number : {1, 2, 1, 2}) {
        auto asid = static_cast<std::uint8_t>(number);
        enter(asid);
        expect_at(page, Read, User, frame + (asid - 1u) * 0x1000);
        expect_at(page + 0x1000, Read, User, frame + 0x2000);
    }
    machine.mmu.flush_tlb_address_space(2);
    expect_fault(page, Read, User, 0x20000 | PageFault::U);
    expect_at(page + 0x1000, Read, User, frame + 0x2000);
    enter(1);
    expect_at(page, Read, User, frame);
    machine.mmu.flush_tlb();
    expect_fault(page, Read, User, 0x10000 | PageFault::U);
    expect_fault(page + 0x1000, Read, User, 0x10000 | PageFault::U);
}

TEST_F(SoftwareTlb, PageFlushes) {
    auto fill = [&] {
        write(page, frame | EntryLo::User);
        expect_at(page, Read, User, frame);
    };
    fill();
    machine.mmu.flush_tlb_entry(page | 1);
    expect_at(page, Read, User, frame);
    machine.mmu.flush_tlb_entry(page);
    expect_fault(page, Read, User, PageFault::U);
    fill();
    machine.mmu.flush_page(GuestVirtual{page + 0x123});  // INVLPG
    expect_fault(page, Read, User, PageFault::U);
}

// The software TLB has room for more than 64 entries, and would still know the first page.
TEST_F(SoftwareTlb, DisplacedEntriesAreNowhere) {
    machine.mmu.use_second_level(false);
    for (std::uint64_t n = 0; n < GuestFilledTlb::first_level_entries + 1; n++) {
        write(page + n * 4096, (frame + n * 4096) | EntryLo::User);
        expect_at(page + n * 4096, Read, User, frame + n * 4096);
        ASSERT_NE(machine.probe(page + n * 4096, 1, Read, User), nullptr);
    }
    EXPECT_EQ(machine.probe(page, 1, Read, User), nullptr);
    expect_fault(page, Read, User, PageFault::U);
    expect_at(page + 4096, Read, User, frame + 4096);
}

TEST_F(SoftwareTlb, FramesBeyondRamAreDevices) {
    write(page, 0xfee00000 | EntryLo::Write);
    expect_at(page + 0x20, Read, Supervisor, 0xfee00020);
    EXPECT_EQ(machine.out.host, nullptr);
    write(page, EntryLo::Page | EntryLo::Write);
    expect_at(page, Write, Supervisor, EntryLo::Page);
    EXPECT_EQ(machine.out.host, nullptr);
}

}  // namespace
}  // namespace undercroft::test
