// SPDX-License-Identifier: Apache-2.0
// Random histories: tables change, are flushed as a correct guest does it, and are used through all access
// modes.
//
// After each step the MMU answers as the model does, and no entry of the software TLB allows more than the
// model: same page, same rights, D already set, no code.

#include "mmu/walk_model.hpp"

#include <gtest/gtest.h>

#include <random>

namespace undercroft::test {
namespace {

class History {
public:
    explicit History(unsigned seed) : random_{seed} {
        // Three address spaces with a kernel half in common, by whose table the first is made first.
        machine_.entry_address(kernel_base, 2);
        std::uint64_t kernel_entry = machine_.entry(kernel_base, 3);
        for (unsigned space = 1; space < space_count; space++) {
            machine_.state.cr3 = root(space);
            machine_.entry(kernel_base, 3) = kernel_entry;
        }
        machine_.state = TestMachine::long_mode();
        machine_.state.cr4 |= CR4::PCIDE;
        machine_.mmu.flush_all();
    }

    void step() {
        std::uint64_t what = pick(100);
        if (what < 1) return change_control();
        if (what < 4) return change_space();
        if (what < 8) return change_code();
        if (what < 16) return change_mapping();
        if (what < 18) return flush_without_need();
        access();
    }

    // Whatever translated code would now do without asking.
    void check_tlb() {
        for (const Tlb::Array& array : machine_.tlb->entries) {
            auto mode = static_cast<AccessMode>(&array - machine_.tlb->entries.data());
            for (unsigned index = 0; index < Tlb::entry_count; index++) {
                const TlbEntry& entry = array[index];
                if (entry.read_tag != Tlb::never_tag(index))
                    check_entry(entry, entry.read_tag, Access::Read, mode);
                if (entry.write_tag != Tlb::never_tag(index))
                    check_entry(entry, entry.write_tag, Access::Write, mode);
            }
        }
    }
    std::uint64_t hits() const { return machine_.mmu.statistics().second_level_hits; }
    std::uint64_t faults() const { return machine_.mmu.statistics().page_faults; }

private:
    static constexpr std::uint64_t kernel_base = 0xffff888000000000;
    static constexpr unsigned space_count = 3;
    static constexpr unsigned page_count = 7;

    static std::uint64_t root(unsigned space) {  // apart from the tables that the machine hands out
        return space == 0 ? TestMachine::first_table : 24 * MiB + space * 4096;
    }
    std::uint64_t pick(std::uint64_t count) { return random_() % count; }

    // Addresses of two 2 MiB regions in each half, with slots of the software TLB in common.
    std::uint64_t pick_address() {
        std::uint64_t page = pick(page_count);
        std::uint64_t base = pick(2) != 0 ? kernel_base : 0x400000;
        return base + pick(2) * 4 * MiB + page * 0x11000 + pick(4096);
    }

    void change_control() {
        PagingState& state = machine_.state;
        switch (pick(4)) {
            case 0: state.cr0 ^= CR0::WP; break;
            case 1: state.cr4 ^= CR4::SMEP; break;
            case 2: state.cr4 ^= CR4::PGE; break;
            default: break;
        }
        machine_.mmu.flush_all();
    }

    void change_space() {
        auto space = static_cast<unsigned>(pick(space_count));
        machine_.state.cr3 = root(space) | space;
        machine_.mmu.switch_address_space(space, pick(2) != 0 ? OldEntries::Keep : OldEntries::Drop);
    }

    void change_code() {
        std::uint64_t page = pick_frame();
        if (pick(2) != 0)
            machine_.code_pages.mark(GuestPhysical{page + pick(64) * 64}, 1);
        else
            machine_.code_pages.set_granules(page >> 12, 0);
    }
    std::uint64_t pick_frame() { return pick(16) == 0 ? 0xd0000000 : 4 * MiB + pick(8) * 4096; }

    void change_mapping() {
        std::uint64_t address = pick_address();
        std::uint64_t flags = pick(8) != 0 ? P : 0;
        for (std::uint64_t flag : {RW, US, A, D}) flags |= pick(4) != 0 ? flag : 0;
        if (pick(4) == 0) flags |= XD;
        if (address >= kernel_base && pick(2) != 0) flags |= G;
        std::uint64_t& directory = machine_.entry(address, 1);
        if (pick(8) == 0) {
            if ((directory & PS) == 0) flush_all_pages_of(address);
            directory = pick(4) * 2 * MiB | flags | PS;
        } else {
            if ((directory & PS) != 0) directory = 0;
            machine_.entry(address, 0) = pick_frame() | flags;
        }
        flush_page(address);
    }

    // The kernel's half is in all address spaces.
    void flush_page(std::uint64_t address) {
        machine_.mmu.flush_page(GuestVirtual{address});
        for (unsigned space = 0; address >= kernel_base && space < space_count; space++)
            machine_.mmu.flush_page_of(space, GuestVirtual{address});
    }

    // A large page in place of a table of small ones: each of those has to be flushed.
    void flush_all_pages_of(std::uint64_t address) {
        for (std::uint64_t page = 0; page < 512; page++) flush_page((address & ~(2 * MiB - 1)) + page * 4096);
    }

    void flush_without_need() {
        switch (pick(4)) {
            case 0: return machine_.mmu.flush_non_global();
            case 1: return machine_.mmu.flush_address_space(static_cast<unsigned>(pick(space_count)));
            default: return machine_.mmu.flush_page(GuestVirtual{pick_address()});
        }
    }

    void access() {
        std::uint64_t address = pick_address();
        Access kind = all_accesses[pick(3)];
        AccessMode mode = all_modes[pick(3)];
        ModelAnswer expected = model_walk(machine_, address, kind, mode);
        ASSERT_EQ(machine_.translate(address, kind, mode), expected.ok);
        if (!expected.ok) {
            ASSERT_EQ(machine_.trap.error_code, expected.error);
            ASSERT_EQ(machine_.trap.address, address);
            return;
        }
        GuestPhysical physical{expected.physical};
        ASSERT_EQ(machine_.out.physical.value(), expected.physical);
        ASSERT_EQ(machine_.out.host, machine_.memory->readable(physical));
        ASSERT_EQ(machine_.out.holds_code,
                  kind == Access::Write && machine_.code_pages.holds_code(physical.page()));
        std::uint64_t leaf = machine_.word(expected.used.back());
        ASSERT_NE(leaf & A, 0u);
        ASSERT_EQ(machine_.out.global, (leaf & G) != 0 && (machine_.state.cr4 & CR4::PGE) != 0);
        ASSERT_TRUE(kind != Access::Write || (leaf & D) != 0);
    }

    void check_entry(const TlbEntry& entry, std::uint64_t page, Access kind, AccessMode mode) {
        ModelAnswer expected = model_walk(machine_, page, kind, mode);
        ASSERT_TRUE(expected.ok) << std::hex << page;
        ASSERT_EQ(entry.host_page, machine_.memory->own_page(expected.physical >> 12));
        ASSERT_EQ(page + entry.distance, reinterpret_cast<std::uintptr_t>(entry.host_page));
        ASSERT_EQ(machine_.tlb->physical(mode, page) & ~(1ull << 63), expected.physical >> 12);
        if (kind == Access::Read) return;
        ASSERT_NE(machine_.word(expected.used.back()) & D, 0u);
        ASSERT_FALSE(machine_.code_pages.holds_code(expected.physical >> 12));
    }

    TestMachine machine_;
    std::mt19937_64 random_;
};

TEST(Mmu, AgreesWithTheModelThroughRandomHistories) {
    std::uint64_t hits = 0;
    std::uint64_t faults = 0;
    for (unsigned seed = 0; seed < 40; seed++) {
        History history{seed};
        for (unsigned i = 0; i < 4000; i++) {
            ASSERT_NO_FATAL_FAILURE(history.step()) << "seed " << seed << " step " << i;
            if (i % 16 != 0) continue;
            ASSERT_NO_FATAL_FAILURE(history.check_tlb()) << "seed " << seed << " step " << i;
        }
        hits += history.hits();
        faults += history.faults();
    }
    EXPECT_GT(hits, 5000u);
    EXPECT_GT(faults, 5000u);
}

}  // namespace
}  // namespace undercroft::test
