// SPDX-License-Identifier: Apache-2.0
// translate(): what it answers, and what it leaves in the software TLB for translated code.

#include "mmu/mmu.hpp"

#include "mmu/test_machine.hpp"

#include <gtest/gtest.h>

namespace undercroft::test {
namespace {

using enum Access;
constexpr AccessMode User = AccessMode::User, Supervisor = AccessMode::Supervisor,
                     Ac = AccessMode::SupervisorAc;
constexpr std::uint64_t user = 0x00007f1234567000;
constexpr std::uint64_t kernel = 0xffffffff81000000;
constexpr std::uint64_t frame = 5 * MiB;

TEST(Mmu, StartsWithATlbThatNeverHits) {
    TestMachine machine;
    for (std::uint64_t page = 0; page < 3000; page++)
        for (AccessMode mode : all_modes) ASSERT_EQ(machine.probe(page << 12, 1, Read, mode), nullptr);
}

// never_tag belongs to the neighbouring index: nothing that selects the entry is within a page of it.
TEST(Tlb, NeverTagNeverHits) {
    for (unsigned index = 0; index < Tlb::entry_count; index++) {
        std::uint64_t tag = Tlb::never_tag(index);
        ASSERT_NE(Tlb::index_of(tag), index);
        for (std::uint64_t high : {0ull, 1ull, 0x7fffffull, 0xffffffffc0000000ull >> 22}) {
            std::uint64_t first = high << 22 | std::uint64_t{index} << 12;
            ASSERT_GT(first - tag, 4095u);
            ASSERT_GT(first + 4095 - tag, 4095u);
        }
    }
}

TEST(Mmu, TranslatesAndFills) {
    TestMachine machine;
    machine.map(user, frame);
    ASSERT_TRUE(machine.translate(user + 0x123, Write, User));
    EXPECT_EQ(machine.out.physical.value(), frame + 0x123);
    EXPECT_EQ(machine.out.host, &machine.byte(frame + 0x123));
    EXPECT_FALSE(machine.out.holds_code);
    EXPECT_FALSE(machine.out.global);
    EXPECT_EQ(machine.probe(user + 0x123, 8, Read, User), &machine.byte(frame + 0x123));
    EXPECT_EQ(machine.probe(user + 0x123, 8, Write, User), &machine.byte(frame + 0x123));
    EXPECT_EQ(machine.probe(user + 0x123, 8, Read, Ac), nullptr) << "each mode has its own array";
    EXPECT_EQ(machine.tlb->physical(User, user), frame >> 12);
}

TEST(Mmu, HoldsNoPageWithoutAFrame) {
    TestMachine machine;
    machine.entry(user, 0) = frame | P | RW | US | D;
    machine.state.cr4 &= ~CR4::SMEP;
    for (unsigned n = 1; n < ReadCounts::enough; ++n) {
        ASSERT_TRUE(machine.translate(user + 8, Read, User));
        EXPECT_EQ(machine.out.host, machine.memory->readable(GuestPhysical{frame + 8}));
        EXPECT_EQ(machine.probe(user + 8, 8, Read, User), nullptr);
        EXPECT_EQ(machine.memory->own_page(frame >> 12), nullptr);
    }
    ASSERT_TRUE(machine.translate(user, Execute, User));
    EXPECT_EQ(machine.memory->own_page(frame >> 12), nullptr);
    // Read often it gets one.
    ASSERT_TRUE(machine.translate(user + 8, Read, User));
    ASSERT_NE(machine.memory->own_page(frame >> 12), nullptr);
    EXPECT_EQ(machine.probe(user + 8, 8, Read, User), &machine.byte(frame + 8));
}

TEST(Mmu, PagesThatAreReadInTurnGetFramesToo) {
    ReadCounts counts;
    unsigned frames = 0;
    for (unsigned n = 0; n < 2 * ReadCounts::too_many_in_turn; ++n) {
        for (std::uint64_t pfn : {3u, 3u + 1024u}) frames += counts.are_enough(pfn) ? 1 : 0;
    }
    EXPECT_GE(frames, 2u);
    EXPECT_LE(frames, 4u);
}

TEST(Mmu, SeesAWriteThroughAnotherAddress) {
    TestMachine machine;
    machine.entry(user, 0) = frame | P | RW | US | D;
    machine.entry(kernel, 0) = frame | P | RW | D;
    std::uint64_t value = 1;
    ASSERT_TRUE(machine.mmu.read(GuestVirtual{user}, &value, 8, User, machine.trap));
    EXPECT_EQ(value, 0u);
    value = 5;
    ASSERT_TRUE(machine.mmu.write(GuestVirtual{kernel}, &value, 8, Supervisor, machine.trap));
    value = 1;
    ASSERT_TRUE(machine.mmu.read(GuestVirtual{user}, &value, 8, User, machine.trap));
    EXPECT_EQ(value, 5u);
    EXPECT_EQ(machine.probe(user, 8, Read, User), &machine.byte(frame));
}

TEST(Mmu, ClearsPagesWithoutAFrame) {
    TestMachine machine;
    Mmu::Cleared cleared{};
    machine.entry(user, 0) = frame | P | RW | US;
    ASSERT_TRUE(machine.mmu.clear_page(GuestVirtual{user}, User, cleared, machine.trap));
    EXPECT_EQ(cleared, Mmu::Cleared::Yes);
    EXPECT_EQ(machine.entry(user, 0) & (A | D), A | D) << "as a write";
    EXPECT_EQ(machine.memory->entry(frame >> 12).state(), PageState::Zero);
    // One that has a frame is to be written.
    machine.byte(frame) = std::byte{1};
    ASSERT_TRUE(machine.mmu.clear_page(GuestVirtual{user}, User, cleared, machine.trap));
    EXPECT_EQ(cleared, Mmu::Cleared::No);
    // So is one with code, and what is not RAM.
    machine.entry(user, 0) = (frame + 4096) | P | RW | US;
    machine.mmu.flush_all();
    machine.code_pages.mark(GuestPhysical{frame + 4096}, 64);
    ASSERT_TRUE(machine.mmu.clear_page(GuestVirtual{user}, User, cleared, machine.trap));
    EXPECT_EQ(cleared, Mmu::Cleared::No);
    machine.entry(user, 0) = 0xfee00000 | P | RW | US;
    machine.mmu.flush_all();
    ASSERT_TRUE(machine.mmu.clear_page(GuestVirtual{user}, User, cleared, machine.trap));
    EXPECT_EQ(cleared, Mmu::Cleared::No);
    machine.entry(user, 0) = frame | P | US;
    machine.mmu.flush_all();
    EXPECT_FALSE(machine.mmu.clear_page(GuestVirtual{user}, User, cleared, machine.trap));
    EXPECT_EQ(machine.trap.error_code, PageFault::P | PageFault::W | PageFault::U);
}

TEST(Mmu, ForgetsFramesThatAreTakenAway) {
    TestMachine machine;
    machine.map(user, frame);
    ASSERT_TRUE(machine.translate(user, Write, User));
    machine.byte(frame) = std::byte{7};
    const std::byte* before = machine.memory->own_page(frame >> 12);
    machine.mmu.forget_frames();
    ASSERT_TRUE(machine.memory->become_shared(frame >> 12));
    EXPECT_EQ(machine.probe(user, 1, Write, User), nullptr);
    EXPECT_EQ(machine.probe(user, 1, Read, User), nullptr);
    ASSERT_TRUE(machine.translate(user, Read, User));
    EXPECT_EQ(machine.out.host, before);
    EXPECT_EQ(machine.probe(user, 1, Read, User), nullptr);
    ASSERT_TRUE(machine.translate(user, Write, User));
    EXPECT_NE(machine.out.host, before);
    EXPECT_EQ(*machine.out.host, std::byte{7});
    EXPECT_TRUE(machine.memory->has_left_shared_frames());
}

TEST(Mmu, OneCompareKnowsPageCrossing) {
    TestMachine machine;
    machine.map(user, frame);
    ASSERT_TRUE(machine.translate(user, Read, User));
    EXPECT_NE(machine.probe(user + 4096 - 8, 8, Read, User), nullptr);
    EXPECT_EQ(machine.probe(user + 4096 - 7, 8, Read, User), nullptr);
    EXPECT_NE(machine.probe(user + 4095, 1, Read, User), nullptr);
    EXPECT_EQ(machine.probe(user - 1, 1, Read, User), nullptr);
    EXPECT_EQ(machine.probe(user + (std::uint64_t{Tlb::entry_count} << 12), 1, Read, User), nullptr);
}

TEST(Mmu, GrantsWritesOnlyOnceDirtyIsSet) {
    TestMachine machine;
    machine.map(user, frame);
    ASSERT_TRUE(machine.translate(user, Read, User));
    EXPECT_NE(machine.probe(user, 1, Read, User), nullptr);
    EXPECT_EQ(machine.probe(user, 1, Write, User), nullptr);
    EXPECT_EQ(machine.entry(user, 0) & D, 0u);
    ASSERT_TRUE(machine.translate(user, Write, User));
    EXPECT_EQ(machine.entry(user, 0) & D, D);
    EXPECT_NE(machine.probe(user, 1, Write, User), nullptr);
    // A page that is dirty already is filled for both by a read.
    machine.mmu.flush_all();
    ASSERT_TRUE(machine.translate(user, Read, User));
    EXPECT_NE(machine.probe(user, 1, Write, User), nullptr);
}

TEST(Mmu, GrantsNoWritesToReadOnlyPages) {
    TestMachine machine;
    machine.map(user, frame, P | US | D);
    ASSERT_TRUE(machine.translate(user, Read, User));
    EXPECT_EQ(machine.probe(user, 1, Write, User), nullptr);
    EXPECT_FALSE(machine.translate(user, Write, User));
    EXPECT_EQ(machine.trap.error_code, PageFault::P | PageFault::W | PageFault::U);
    // Without WP the kernel may, the user still may not.
    machine.state.cr0 &= ~CR0::WP;
    machine.mmu.flush_all();
    ASSERT_TRUE(machine.translate(user, Read, Ac));
    ASSERT_TRUE(machine.translate(user, Read, User));
    EXPECT_NE(machine.probe(user, 1, Write, Ac), nullptr);
    EXPECT_EQ(machine.probe(user, 1, Write, User), nullptr);
}

TEST(Mmu, FetchesGrantNoData) {
    TestMachine machine;
    machine.state.cr4 &= ~CR4::SMEP;
    machine.map(user, frame, P | US);
    ASSERT_TRUE(machine.translate(user, Execute, Supervisor));
    EXPECT_EQ(machine.probe(user, 1, Read, Supervisor), nullptr);
    EXPECT_FALSE(machine.translate(user, Read, Supervisor)) << "SMAP";
    EXPECT_TRUE(machine.translate(user, Read, Ac));
}

TEST(Mmu, DataAccessGrantsNoFetch) {
    TestMachine machine;
    machine.map(user, frame, P | RW | US | XD);
    ASSERT_TRUE(machine.translate(user, Write, User));
    EXPECT_FALSE(machine.translate(user, Execute, User));
    EXPECT_EQ(machine.trap.error_code, PageFault::P | PageFault::U | PageFault::I);
    machine.map(user, frame, P | RW | US);
    machine.mmu.flush_page(GuestVirtual{user});
    ASSERT_TRUE(machine.translate(user, Write, Ac));
    EXPECT_FALSE(machine.translate(user, Execute, Ac)) << "SMEP";
}

TEST(Mmu, RaisesGpForNonCanonicalAddresses) {
    TestMachine machine;
    for (std::uint64_t address : {0x0000800000000000ull, 0xffff7fffffffffffull, 0x8000000000000000ull}) {
        EXPECT_FALSE(machine.translate(address, Read, Supervisor));
        EXPECT_EQ(machine.trap.vector, Vector::GP);
        EXPECT_TRUE(machine.trap.has_error_code);
        EXPECT_EQ(machine.trap.error_code, 0u);
    }
}

TEST(Mmu, UsesPhysicalAddressesWithoutPaging) {
    TestMachine machine;
    machine.state = {};
    machine.mmu.flush_all();
    ASSERT_TRUE(machine.translate(frame + 5, Write, Supervisor));
    EXPECT_EQ(machine.out.host, &machine.byte(frame + 5));
    EXPECT_NE(machine.probe(frame + 5, 1, Write, Supervisor), nullptr);
    ASSERT_TRUE(machine.translate(frame + 5, Execute, Ac));
    ASSERT_TRUE(machine.translate(0xfee00020, Read, Ac));
    EXPECT_EQ(machine.out.host, nullptr);
    EXPECT_EQ(machine.out.physical.value(), 0xfee00020);
}

TEST(Mmu, KeepsDeviceMemoryOutOfTheTlb) {
    TestMachine machine;
    machine.map(kernel, 0xfee00000, P | RW | D);
    for (int i = 0; i < 2; i++) {
        ASSERT_TRUE(machine.translate(kernel + 0x20, Write, Supervisor));
        EXPECT_EQ(machine.out.host, nullptr);
        EXPECT_EQ(machine.out.physical.value(), 0xfee00020);
        EXPECT_EQ(machine.probe(kernel, 1, Read, Supervisor), nullptr);
    }
    EXPECT_EQ(machine.mmu.statistics().walks, 1u);
}

TEST(Mmu, ServesAllModesFromOneWalk) {
    TestMachine machine;
    machine.map(user, frame, P | RW | US | D);
    ASSERT_TRUE(machine.translate(user, Read, User));
    ASSERT_TRUE(machine.translate(user, Read, Ac));
    ASSERT_TRUE(machine.translate(user, Execute, User));
    EXPECT_EQ(machine.mmu.statistics().walks, 1u);
    EXPECT_EQ(machine.mmu.statistics().second_level_hits, 2u);
    EXPECT_EQ(machine.mmu.statistics().tlb_misses, (std::array<std::uint64_t, 3>{2, 0, 1}));
}

// Linux makes page-table entries more permissive without INVLPG and lets the fault clear the stale entry.
TEST(Mmu, WalksAgainBeforeItFaults) {
    TestMachine machine;
    machine.map(user, frame, P | US);
    ASSERT_TRUE(machine.translate(user, Read, User));
    machine.map(user, frame, P | US | RW);
    EXPECT_TRUE(machine.translate(user, Write, User));
}

TEST(Mmu, ForgetsAPageThatFaults) {
    TestMachine machine;
    machine.map(user, frame, P | US);
    ASSERT_TRUE(machine.translate(user, Read, User));
    machine.map(user, frame, 0);
    EXPECT_TRUE(machine.translate(user, Read, User)) << "stale, as the guest deserves";
    EXPECT_FALSE(machine.translate(user, Write, User));
    EXPECT_EQ(machine.probe(user, 1, Read, User), nullptr);
    EXPECT_FALSE(machine.translate(user, Read, User));
}

// --- code -------------------------------------------------------------------------------------------------

TEST(Mmu, TakesWriteTagsFromCodePagesOfAllAliases) {
    TestMachine machine;
    machine.map(user, frame, P | RW | US | D);
    machine.map(user + 0x5000, frame, P | RW | US | D);
    machine.map(kernel, frame, P | RW | D | G);
    ASSERT_TRUE(machine.translate(user, Write, User));
    ASSERT_TRUE(machine.translate(user + 0x5000, Write, Ac));
    ASSERT_TRUE(machine.translate(kernel, Write, Supervisor));
    machine.code_pages.mark(GuestPhysical{frame + 0x40}, 4);
    EXPECT_EQ(machine.probe(user, 1, Write, User), nullptr);
    EXPECT_EQ(machine.probe(user + 0x5000, 1, Write, Ac), nullptr);
    EXPECT_EQ(machine.probe(kernel, 1, Write, Supervisor), nullptr);
    EXPECT_NE(machine.probe(user, 1, Read, User), nullptr);
    // Further translations tell, and grant no tag.
    ASSERT_TRUE(machine.translate(user, Write, User));
    EXPECT_TRUE(machine.out.holds_code);
    EXPECT_EQ(machine.probe(user, 1, Write, User), nullptr);
    EXPECT_NE(machine.probe(user, 1, Read, User), nullptr);
    // Once the code is gone the tag comes back; and goes again with new code.
    for (int i = 0; i < 2; i++) {
        machine.code_pages.set_granules(frame >> 12, 0);
        ASSERT_TRUE(machine.translate(user, Write, User));
        EXPECT_FALSE(machine.out.holds_code);
        EXPECT_NE(machine.probe(user, 1, Write, User), nullptr);
        machine.code_pages.mark(GuestPhysical{frame + 0x40}, 4);
        EXPECT_EQ(machine.probe(user, 1, Write, User), nullptr);
    }
}

TEST(CodePages, TellsOnlyOfGranulesWithCode) {
    TestMachine machine;
    CodePages& pages = machine.code_pages;
    EXPECT_FALSE(pages.holds_code(frame >> 12));
    pages.mark(GuestPhysical{frame + 0x7e}, 4);  // granules 1 and 2
    EXPECT_TRUE(pages.holds_code(frame >> 12));
    EXPECT_EQ(pages.granules(frame >> 12), 6u);
    pages.wrote(GuestPhysical{frame}, 64);
    pages.wrote(GuestPhysical{frame + 0xc0}, 64);
    EXPECT_TRUE(machine.code_writes.empty());
    pages.wrote(GuestPhysical{frame}, 65);
    pages.wrote(GuestPhysical{frame + 0xbf}, 1);
    using Write = std::pair<std::uint64_t, std::uint64_t>;
    EXPECT_EQ(machine.code_writes, (std::vector<Write>{{frame, 65}, {frame + 0xbf, 1}}));
    // Across pages: a piece for each page that is concerned.
    machine.code_writes.clear();
    pages.mark(GuestPhysical{frame + 0x2000}, 1);
    pages.wrote(GuestPhysical{frame - 8}, 0x2010);
    EXPECT_EQ(machine.code_writes, (std::vector<Write>{{frame, 0x1000}, {frame + 0x2000, 8}}));
    pages.wrote(GuestPhysical{frame + 0x1fff}, 2);
    EXPECT_EQ(machine.code_writes.back(), (Write{frame + 0x2000, 1}));
    pages.wrote(GuestPhysical{frame}, 0);
    pages.wrote(GuestPhysical{~0ull - 3}, 4);  // not RAM
    EXPECT_EQ(machine.code_writes.size(), 3u);
}

TEST(CodePages, MasksGranules) {
    EXPECT_EQ(CodePages::mask_of(0, 1), 1u);
    EXPECT_EQ(CodePages::mask_of(0, 4096), ~0ull);
    EXPECT_EQ(CodePages::mask_of(4095, 1), 1ull << 63);
    EXPECT_EQ(CodePages::mask_of(63, 2), 3u);
}

}  // namespace
}  // namespace undercroft::test
