// SPDX-License-Identifier: Apache-2.0
// The walk against tables of hand-written cases, then against the model: every combination of rights, and
// random tables.

#include "mmu/page_walk.hpp"

#include "mmu/walk_model.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace undercroft::test {
namespace {

constexpr std::uint64_t address = 0x00007f1234567000;
constexpr std::uint64_t frame = 5 * MiB;

struct Walker {
    TestMachine machine;
    PageWalk page_walk{*machine.memory, machine.code_pages, machine.state};
    WalkResult result;
    Trap trap;

    bool walk(std::uint64_t at, Access access, AccessMode mode,
              WalkEffect effect = WalkEffect::AccessedAndDirty) {
        result = {};
        trap = {};
        page_walk.flush();  // what a case has changed is to be seen at once
        return page_walk.walk(GuestVirtual{at}, access, mode, effect, result, trap);
    }
};

// The leaf and one upper entry are given; the outcome is an error code, or `fine`.
constexpr std::uint32_t fine = ~0u;
struct Case {
    const char* name;
    unsigned level;       // of the leaf
    std::uint64_t leaf;   // flags; P is not implied
    std::uint64_t upper;  // flags of all levels above
    Access access;
    AccessMode mode;
    std::uint32_t expected;
};
using enum Access;
constexpr AccessMode User = AccessMode::User, Supervisor = AccessMode::Supervisor,
                     Ac = AccessMode::SupervisorAc;
constexpr std::uint64_t Up = P | RW | US;
constexpr std::uint32_t eP = PageFault::P, eW = PageFault::W, eU = PageFault::U, eR = PageFault::RSVD,
                        eI = PageFault::I;

const Case cases[] = {
    {"nothing there, kernel reads", 0, 0, Up, Read, Supervisor, 0},
    {"nothing there, user writes", 0, 0, Up, Write, User, eW | eU},
    {"nothing there, user jumps", 0, 0, Up, Execute, User, eU | eI},
    {"not present beats reserved bits", 0, RW | 1ull << 45, Up, Read, User, eU},
    {"user reads its page", 0, P | US, Up, Read, User, fine},
    {"user writes a read-only page", 0, P | US, Up, Write, User, eP | eW | eU},
    {"user writes under a read-only table", 0, P | US | RW, P | US, Write, User, eP | eW | eU},
    {"user reads a kernel page", 0, P | RW, Up, Read, User, eP | eU},
    {"user reads under a kernel table", 0, P | RW | US, P | RW, Read, User, eP | eU},
    {"user executes data", 0, P | US | XD, Up, Execute, User, eP | eU | eI},
    {"user executes under an XD table", 0, P | US, Up | XD, Execute, User, eP | eU | eI},
    {"kernel reads its page", 0, P, Up, Read, Supervisor, fine},
    {"kernel writes read-only, WP", 0, P, Up, Write, Supervisor, eP | eW},
    {"kernel reads a user page, SMAP", 0, P | US, Up, Read, Supervisor, eP},
    {"kernel reads a user page, AC", 0, P | US, Up, Read, Ac, fine},
    {"kernel writes a read-only user page, AC", 0, P | US, Up, Write, Ac, eP | eW},
    {"kernel executes a user page, SMEP", 0, P | US, Up, Execute, Supervisor, eP | eI},
    {"kernel executes a user page, SMEP, AC", 0, P | US, Up, Execute, Ac, eP | eI},
    {"page under a kernel table is no user page", 0, P | US, P | RW, Execute, Supervisor, fine},
    {"bit 40 is above the physical width", 0, P | US | 1ull << 40, Up, Read, User, eP | eR | eU},
    {"bit 51 is", 0, P | US | 1ull << 51, Up, Write, User, eP | eR | eU | eW},
    {"bits 52 to 62 are free", 0, P | US | 0x7ffull << 52, Up, Read, User, fine},
    {"bits 9 to 11 are free", 0, P | US | 7ull << 9, Up | 7ull << 9, Read, User, fine},
    {"PAT bit of a page", 0, P | US | 1ull << 7, Up, Read, User, fine},
    {"a reserved bit in an upper table", 0, P | US, Up | 1ull << 50, Execute, User, eP | eR | eU | eI},
    {"2 MiB page", 1, P | US | RW | PS, Up, Write, User, fine},
    {"2 MiB page with PAT", 1, P | US | PS | 1ull << 12, Up, Read, User, fine},
    {"2 MiB page with bit 13", 1, P | US | PS | 1ull << 13, Up, Read, User, eP | eR | eU},
    {"2 MiB page with bit 20", 1, P | US | PS | 1ull << 20, Up, Read, User, eP | eR | eU},
    {"1 GiB page", 2, P | US | RW | PS, Up, Write, User, fine},
    {"1 GiB page with PAT", 2, P | US | PS | 1ull << 12, Up, Read, User, fine},
    {"1 GiB page with bit 13", 2, P | US | PS | 1ull << 13, Up, Read, User, eP | eR | eU},
    {"1 GiB page with bit 29", 2, P | US | PS | 1ull << 29, Up, Read, User, eP | eR | eU},
    {"PS in a PML4 entry", 3, P | US | PS, Up, Read, User, eP | eR | eU},
};

TEST(PageWalk, GivesEachFaultItsCode) {
    for (const Case& c : cases) {
        SCOPED_TRACE(c.name);
        Walker walker;
        std::uint64_t& leaf = walker.machine.entry(address, c.level, c.upper);
        leaf = (c.level == 0 ? frame : 0) | c.leaf;
        bool ok = walker.walk(address, c.access, c.mode);
        EXPECT_EQ(ok, c.expected == fine);
        if (ok) continue;
        EXPECT_EQ(walker.trap.vector, Vector::PF);
        EXPECT_TRUE(walker.trap.has_error_code);
        EXPECT_EQ(walker.trap.error_code, c.expected);
        EXPECT_EQ(walker.trap.address, address);
    }
}

TEST(PageWalk, ReservesXdWithoutNxe) {
    Walker walker;
    walker.machine.map(address, frame, P | US | XD);
    walker.machine.state.efer &= ~EFER::NXE;
    EXPECT_FALSE(walker.walk(address, Read, User));
    EXPECT_EQ(walker.trap.error_code, eP | eR | eU);
    // The I bit needs NXE or SMEP.
    EXPECT_FALSE(walker.walk(address, Execute, User));
    EXPECT_EQ(walker.trap.error_code, eP | eR | eU | eI);
    walker.machine.state.cr4 &= ~CR4::SMEP;
    EXPECT_FALSE(walker.walk(address, Execute, User));
    EXPECT_EQ(walker.trap.error_code, eP | eR | eU);
}

TEST(PageWalk, FindsTheFrameInsideLargePages) {
    Walker walker;
    walker.machine.map(0x40000000, 4 * MiB, P | 1ull << 12, 1);
    ASSERT_TRUE(walker.walk(0x40000000 + 0x123456, Read, Supervisor));
    EXPECT_EQ(walker.result.pfn, (4 * MiB + 0x123000) >> 12);
    EXPECT_EQ(walker.result.rights & PageRights::Large2M, PageRights::Large2M);
    walker.machine.map(0xffff888000000000, 1 * GiB, P | RW | G | 1ull << 12, 2);
    ASSERT_TRUE(walker.walk(0xffff888000000000 + 0x12345678, Read, Supervisor));
    EXPECT_EQ(walker.result.pfn, (GiB + 0x12345678) >> 12);
    EXPECT_EQ(walker.result.rights, PageRights::Large1G | PageRights::Global | PageRights::Write);
}

TEST(PageWalk, SetsAccessedAtAllLevelsAndDirtyAtTheLeaf) {
    Walker walker;
    walker.machine.map(address, frame);
    ASSERT_TRUE(walker.walk(address, Read, User, WalkEffect::None));
    for (unsigned level = 0; level < 4; level++)
        EXPECT_EQ(walker.machine.entry(address, level) & (A | D), 0u);
    ASSERT_TRUE(walker.walk(address, Read, User));
    for (unsigned level = 0; level < 4; level++) EXPECT_EQ(walker.machine.entry(address, level) & (A | D), A);
    ASSERT_TRUE(walker.walk(address, Write, User));
    for (unsigned level = 1; level < 4; level++) EXPECT_EQ(walker.machine.entry(address, level) & (A | D), A);
    EXPECT_EQ(walker.machine.entry(address, 0) & (A | D), A | D);
    EXPECT_NE(walker.result.rights & PageRights::Dirty, 0);
}

TEST(PageWalk, LeavesTheTablesAloneOnFaults) {
    Walker walker;
    walker.machine.map(address, frame, P | US);
    EXPECT_FALSE(walker.walk(address, Write, User));
    for (unsigned level = 0; level < 4; level++)
        EXPECT_EQ(walker.machine.entry(address, level) & (A | D), 0u);
}

TEST(PageWalk, SetsDirtyOnReadOnlyPagesWithoutWp) {
    Walker walker;
    walker.machine.state.cr0 &= ~CR0::WP;
    walker.machine.map(address, frame, P);
    ASSERT_TRUE(walker.walk(address, Write, Supervisor));
    EXPECT_EQ(walker.machine.entry(address, 0) & D, D);
    EXPECT_EQ(walker.result.rights & PageRights::Write, 0);
}

TEST(PageWalk, TellsOfTablesThatHoldCode) {
    Walker walker;
    TestMachine& machine = walker.machine;
    machine.map(address, frame);
    std::uint64_t entry = machine.entry_address(address, 0);
    machine.code_pages.mark(GuestPhysical{entry & ~0xfffull}, 4096);
    ASSERT_TRUE(walker.walk(address, Read, User));
    ASSERT_EQ(machine.code_writes.size(), 1u);
    EXPECT_EQ(machine.code_writes[0], (std::pair<std::uint64_t, std::uint64_t>{entry, 8}));
    ASSERT_TRUE(walker.walk(address, Read, User));
    EXPECT_EQ(machine.code_writes.size(), 1u) << "A was set already";
}

TEST(PageWalk, TakesTablesOutsideRamForReservedBits) {
    Walker walker;
    walker.machine.state.cr3 = 0xfe000000;
    EXPECT_FALSE(walker.walk(address, Read, Supervisor));
    EXPECT_EQ(walker.trap.error_code, eP | eR);
    walker.machine.state.cr3 = TestMachine::first_table;
    walker.machine.entry(address, 1) = 0xfe000000 | Up;
    EXPECT_FALSE(walker.walk(address, Read, User));
    EXPECT_EQ(walker.trap.error_code, eP | eR | eU);
}

// It remembers page tables, but neither past a flush nor in the face of a fault.
TEST(PageWalk, RemembersDirectories) {
    Walker walker;
    TestMachine& machine = walker.machine;
    machine.map(address, frame);
    machine.map(address + 4096, frame + 0x1000);
    ASSERT_TRUE(walker.walk(address, Read, User));
    machine.entry(address, 3) &= ~A;
    auto walk = [&](std::uint64_t at, Access access) {
        return walker.page_walk.walk(GuestVirtual{at}, access, User, WalkEffect::AccessedAndDirty,
                                     walker.result, walker.trap);
    };
    ASSERT_TRUE(walk(address + 4096, Write));
    EXPECT_EQ(walker.result.pfn, (frame >> 12) + 1);
    EXPECT_EQ(machine.entry(address + 4096, 0) & (A | D), A | D);
    EXPECT_EQ(machine.entry(address, 3) & A, 0u) << "the root was not looked at";
    walker.page_walk.flush();
    ASSERT_TRUE(walk(address, Read));
    EXPECT_EQ(machine.entry(address, 3) & A, A);

    machine.entry(address, 1) &= ~RW;
    ASSERT_TRUE(walk(address + 4096, Write)) << "stale: no flush was asked for";
    EXPECT_FALSE(walk(address + 8192, Read)) << "nothing there; forgets";
    EXPECT_FALSE(walk(address + 4096, Write));
    ASSERT_TRUE(walk(address, Read));
    machine.entry(address, 1) |= RW;
    EXPECT_TRUE(walk(address, Write)) << "a fault by old rights is looked at again";
}

TEST(PageWalk, KnowsOnlyLongMode) {
    Walker walker;
    walker.machine.map(0x1000, frame);
    walker.machine.state.efer = 0;
    EXPECT_FALSE(walker.walk(0x1000, Write, Supervisor));
    EXPECT_EQ(walker.trap.error_code, eW);
}

// --- against the model ------------------------------------------------------------------------------------

void compare_with_model(Walker& walker, std::uint64_t at) {
    for (AccessMode mode : all_modes) {
        for (Access access : all_accesses) {
            ModelAnswer expected = model_walk(walker.machine, at, access, mode);
            std::map<std::uint64_t, std::uint64_t> wanted;  // a table may occur twice in one walk
            for (std::uint64_t used : expected.used)
                if (expected.ok) wanted[used] = walker.machine.word(used) | A;
            if (expected.ok && access == Access::Write) wanted[expected.used.back()] |= D;
            bool ok = walker.walk(at, access, mode);
            ASSERT_EQ(ok, expected.ok);
            if (!ok) {
                ASSERT_EQ(walker.trap.error_code, expected.error);
                ASSERT_EQ(walker.trap.address, at);
                continue;
            }
            ASSERT_EQ(walker.result.pfn, expected.physical >> 12);
            for (auto [used, value] : wanted) ASSERT_EQ(walker.machine.word(used), value);
        }
    }
}

// Each level of paging's rights on and off, each leaf size, each control bit.
TEST(PageWalk, AgreesWithTheModelOnAllRights) {
    const std::uint64_t flags[] = {RW, US, XD};
    for (unsigned leaf_level = 0; leaf_level < 3; leaf_level++) {
        Walker walker;
        for (unsigned combination = 0; combination < 512; combination++) {
            unsigned rest = combination;
            std::uint64_t upper[2] = {P, P};
            std::uint64_t leaf = P | (leaf_level != 0 ? PS : 0);
            for (std::uint64_t flag : flags) {
                if (rest & 1) upper[0] |= flag;
                if (rest & 2) upper[1] |= flag;
                if (rest & 4) leaf |= flag;
                rest >>= 3;
            }
            for (unsigned level = 3; level > leaf_level; level--) {
                std::uint64_t& entry = walker.machine.entry(address, level);
                walker.machine.entry(address, level - 1);  // makes the table below
                entry = (entry & 0xfffffff000) | upper[level % 2];
            }
            walker.machine.entry(address, leaf_level) = leaf;
            for (unsigned control = 0; control < 8; control++) {
                walker.machine.state = TestMachine::long_mode();
                if (control & 1) walker.machine.state.cr0 &= ~CR0::WP;
                if (control & 2) walker.machine.state.cr4 &= ~CR4::SMEP;
                if (control & 4) walker.machine.state.efer &= ~EFER::NXE;
                ASSERT_NO_FATAL_FAILURE(compare_with_model(walker, address)) << combination << " " << control;
            }
        }
    }
}

TEST(PageWalk, AgreesWithTheModelOnRandomTables) {
    std::mt19937_64 random{42};
    Walker walker;
    TestMachine& machine = walker.machine;
    constexpr unsigned table_count = 24;
    for (unsigned round = 0; round < 60; round++) {
        for (std::uint64_t at = TestMachine::first_table; at < TestMachine::first_table + table_count * 4096;
             at += 8) {
            std::uint64_t value = random();
            std::uint64_t table = TestMachine::first_table + random() % table_count * 4096;
            std::uint64_t flags = (value & 0x7ff0000000000fff & ~PS) | (value % 16 != 0 ? P : 0);
            if ((value >> 20 & 7) == 0) flags |= PS;
            if ((value >> 24 & 3) == 0) flags |= XD;
            machine.word(at) = table | flags;
            if ((value >> 28 & 31) == 0) machine.word(at) |= 1ull << (40 + random() % 12);  // reserved
            if ((value >> 33 & 31) == 0) machine.word(at) ^= random() % 0x10000 << 12;
            if ((value >> 38 & 15) == 0)
                machine.word(at) = (value & 0xfffc0000000 & 0xffffffffff) | P | PS | US | RW;
        }
        machine.state = TestMachine::long_mode();
        if (round & 1) machine.state.cr0 &= ~CR0::WP;
        if (round & 2) machine.state.cr4 &= ~CR4::SMEP;
        if (round & 4) machine.state.efer &= ~EFER::NXE;
        if (round & 8) machine.state.cr4 &= ~CR4::PGE;
        for (unsigned i = 0; i < 400; i++) {
            auto at = static_cast<std::uint64_t>(static_cast<std::int64_t>(random() << 16) >> 16);
            ASSERT_NO_FATAL_FAILURE(compare_with_model(walker, at)) << std::hex << at;
        }
    }
}

}  // namespace
}  // namespace undercroft::test
