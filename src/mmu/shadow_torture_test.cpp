// SPDX-License-Identifier: Apache-2.0
// The TLBs are the shadow of the guest's page tables. Every kind of edit, with every kind of flush or none,
// in every order: what the MMU answers must be what a processor may answer (shadow_model.hpp) - the old or
// the new translation until the flush, the new one alone after it. Accesses between the edits decide what is
// cached.

#include "mmu/shadow_model.hpp"

#include <gtest/gtest.h>

#include <random>
#include <utility>

namespace undercroft::test {
namespace {

constexpr std::uint64_t base = 0x00007f1240000000;
// Two pages of one page table, one of the same directory, one of another.
const std::vector<std::uint64_t> pages{base, base + 0x5000, base + 2 * MiB, base + GiB};

// Tables of two versions at each level. All of version 0 refer to frames of their own, those of version 1 to
// others.
constexpr std::uint64_t pml4 = TestMachine::first_table;
constexpr std::uint64_t pdpt(unsigned version) { return pml4 + 0x10000 + version * 0x1000; }
constexpr std::uint64_t directory(unsigned version, unsigned gigabyte) {
    return pml4 + 0x20000 + (version * 2 + gigabyte) * 0x1000;
}
constexpr std::uint64_t table(unsigned version, unsigned region) {
    return pml4 + 0x30000 + (version * 4 + region) * 0x1000;
}
constexpr std::uint64_t frame(unsigned version, unsigned n) { return 4 * MiB + (version * 16 + n) * 0x1000; }
constexpr std::uint64_t large_frame(unsigned n) { return 8 * MiB + n * 2 * MiB; }

constexpr std::uint64_t all = P | RW | US;

enum class Edit : unsigned {
    Map,
    Unmap,
    Protect,
    Unprotect,
    ForKernel,
    ForUser,
    NoExecute,
    MayExecute,
    OtherFrame,
    SetGlobal,
    ClearGlobal,
    ClearUsed,
    Reserved,
    Promote,
    Demote,
    OtherTable,
    OtherDirectory,
    OtherPdpt,
    ProtectTable,
    UnprotectTable,
    KernelDirectory,
    UserDirectory,
    UnmapDirectory,
    MapDirectory,
    NoExecutePdpt,
    MayExecutePdpt,
    End
};
enum class FlushKind : unsigned {
    None,
    Page,
    OtherPage,
    NonGlobal,
    Pge,
    SwitchKeep,
    SwitchDrop,
    PageOfOtherSpace,
    OtherSpace,
    End
};
constexpr unsigned pcids[] = {1, 2};
constexpr auto edit_count = static_cast<unsigned>(Edit::End);
constexpr auto flush_count = static_cast<unsigned>(FlushKind::End);

class Shadow {
public:
    // Tables as they were built, nothing cached.
    void begin() {
        for (unsigned version : {0u, 1u}) build(version);
        machine_.word(pml4 + 8 * bits(base, 47, 39)) = pdpt(0) | all;
        machine_.state.cr4 |= CR4::PCIDE;
        machine_.state.cr3 = pml4 | pcids[0];
        flush(FlushKind::Pge, 0);
    }

    void edit(Edit what, unsigned n) {
        std::uint64_t address = pages[n];
        std::uint64_t& top = machine_.word(pml4 + 8 * bits(address, 47, 39));
        std::uint64_t& upper = machine_.word((top & frame_bits) + 8 * bits(address, 38, 30));
        std::uint64_t& middle = machine_.word((upper & frame_bits) + 8 * bits(address, 29, 21));
        bool is_large = (middle & PS) != 0;
        std::uint64_t& leaf =
            is_large ? middle : machine_.word((middle & frame_bits) + 8 * bits(address, 20, 12));
        switch (what) {
            case Edit::Map: leaf |= P; break;
            case Edit::Unmap: leaf &= ~P; break;
            case Edit::Protect: leaf &= ~RW; break;
            case Edit::Unprotect: leaf |= RW; break;
            case Edit::ForKernel: leaf &= ~US; break;
            case Edit::ForUser: leaf |= US; break;
            case Edit::NoExecute: leaf |= XD; break;
            case Edit::MayExecute: leaf &= ~XD; break;
            case Edit::OtherFrame: leaf ^= is_large ? large_frame(0) ^ large_frame(1) : 0x8000; break;
            case Edit::SetGlobal: leaf |= G; break;
            case Edit::ClearGlobal: leaf &= ~G; break;
            case Edit::ClearUsed: leaf &= ~(A | D); break;
            case Edit::Reserved: leaf ^= 1ull << 45; break;
            case Edit::Promote: middle = large_frame(n % 2) | all | PS; break;
            case Edit::Demote: middle = table(0, region_of(n)) | all; break;
            case Edit::OtherTable:
                middle =
                    (is_large || (middle & 0x4000) == 0 ? table(1, region_of(n)) : table(0, region_of(n))) |
                    all;
                break;
            case Edit::OtherDirectory: upper ^= 0x2000; break;
            case Edit::OtherPdpt: top ^= 0x1000; break;
            case Edit::ProtectTable: middle &= ~RW; break;
            case Edit::UnprotectTable: middle |= RW; break;
            case Edit::KernelDirectory: upper &= ~US; break;
            case Edit::UserDirectory: upper |= US; break;
            case Edit::UnmapDirectory: upper &= ~P; break;
            case Edit::MapDirectory: upper |= P; break;
            case Edit::NoExecutePdpt: top |= XD; break;
            case Edit::MayExecutePdpt: top &= ~XD; break;
            case Edit::End: break;
        }
        fresh_ = false;
        model_.note();
    }

    void flush(FlushKind kind, unsigned n) {
        std::uint64_t other = pages[(n + 1) % pages.size()];
        switch (kind) {
            case FlushKind::Page:
                machine_.mmu.flush_page(GuestVirtual{pages[n] + 0x123});
                model_.invalidate_page(pages[n]);
                break;
            case FlushKind::OtherPage:
                machine_.mmu.flush_page(GuestVirtual{other});
                model_.invalidate_page(other);
                break;
            case FlushKind::NonGlobal:
                machine_.mmu.flush_non_global();
                model_.flush_non_global();
                break;
            case FlushKind::SwitchKeep: switch_space(OldEntries::Keep); break;
            case FlushKind::SwitchDrop: switch_space(OldEntries::Drop); break;
            case FlushKind::PageOfOtherSpace:
                machine_.mmu.flush_page_of(other_pcid(), GuestVirtual{pages[n] + 0x123});
                model_.invalidate_page_of(other_pcid(), pages[n]);
                break;
            case FlushKind::OtherSpace:
                machine_.mmu.flush_address_space(other_pcid());
                model_.invalidate_space(other_pcid());
                break;
            case FlushKind::Pge:
                for (unsigned time = 0; time < 2; time++) {
                    machine_.state.cr4 ^= CR4::PGE;
                    machine_.mmu.flush_all();
                    model_.flush_all();
                }
                fresh_ = true;
                break;
            case FlushKind::None:
            case FlushKind::End: break;
        }
    }

    // False: a failure was reported.
    bool access(unsigned n, Access access, AccessMode mode) {
        std::uint64_t address = pages[n] + 0x10;
        ShadowModel::Allowed allowed = model_.allowed(pages[n], access, mode);
        if (machine_.translate(address, access, mode)) {
            std::uint64_t page = machine_.out.physical.value() & ~0xfffull;
            EXPECT_EQ(allowed.pages.count(page), 1u) << "translated to " << std::hex << page;
            std::byte* probed = machine_.probe(address, 8, access, mode);
            if (access != Access::Execute && probed != nullptr) {
                EXPECT_EQ(probed, machine_.out.host);
            }
            if (fresh_) expect_used(n, access);
        } else {
            EXPECT_EQ(machine_.trap.vector, Vector::PF);
            EXPECT_EQ(allowed.errors.count(machine_.trap.error_code), 1u)
                << "fault " << std::hex << machine_.trap.error_code;
            model_.faulted(pages[n]);
        }
        return !testing::Test::HasFailure();
    }
    bool access_all() {
        for (unsigned n = 0; n < pages.size(); n++)
            for (AccessMode mode : all_modes)
                for (Access how : all_accesses)
                    if (!access(n, how, mode)) return false;
        return true;
    }

    void switch_space(OldEntries old) {
        unsigned pcid = other_pcid();
        machine_.state.cr3 = pml4 | pcid;
        machine_.mmu.switch_address_space(pcid, old);
        model_.switch_space(old == OldEntries::Keep);
        fresh_ = false;
    }

private:
    unsigned other_pcid() const { return pcids[0] + pcids[1] - machine_.state.pcid(); }
    static constexpr std::uint64_t frame_bits = 0xfffffff000;
    static unsigned region_of(unsigned n) { return n == 0 ? 0 : n - 1; }  // pages 0 and 1 share a table

    void build(unsigned version) {
        for (unsigned n = 0; n < pages.size(); n++) {
            unsigned gigabyte = n == 3 ? 1 : 0;
            std::uint64_t address = pages[n];
            machine_.word(pdpt(version) + 8 * bits(address, 38, 30)) = directory(version, gigabyte) | all;
            machine_.word(directory(version, gigabyte) + 8 * bits(address, 29, 21)) =
                table(version, region_of(n)) | all;
            machine_.word(table(version, region_of(n)) + 8 * bits(address, 20, 12)) = frame(version, n) | all;
            for (std::uint64_t each :
                 {frame(version, n), frame(version, n) ^ 0x8000, large_frame(version) + bits(address, 20, 0)})
                machine_.byte(each) = std::byte{1};
        }
    }
    // After a flush of everything the walk has marked the leaf: nothing older can have served the access.
    void expect_used(unsigned n, Access access) {
        ModelAnswer answer = model_walk(machine_, pages[n], access, AccessMode::SupervisorAc);
        std::uint64_t leaf = machine_.word(answer.used.back());
        EXPECT_NE(leaf & A, 0u);
        if (access == Access::Write) {
            EXPECT_NE(leaf & D, 0u);
        }
    }

    TestMachine machine_;
    ShadowModel model_{machine_, pages};
    bool fresh_ = false;
};

// All is cached before the first edit, in both address spaces, one page again before the second.
bool permutation(Shadow& shadow, Edit first, FlushKind flush1, Edit second, FlushKind flush2, unsigned n,
                 unsigned m) {
    shadow.begin();
    if (!shadow.access_all()) return false;
    shadow.switch_space(OldEntries::Keep);
    if (!shadow.access_all()) return false;
    shadow.edit(first, n);
    shadow.flush(flush1, n);
    if (!shadow.access(m, Access::Read, AccessMode::User)) return false;
    shadow.edit(second, m);
    shadow.flush(flush2, m);
    if (!shadow.access_all()) return false;
    shadow.switch_space(OldEntries::Keep);
    return shadow.access_all();
}

TEST(ShadowTorture, EveryPairOfEditsWithEveryFlush) {
    Shadow shadow;
    for (unsigned sequence = 0; sequence < edit_count * flush_count * edit_count * flush_count; sequence++) {
        unsigned rest = sequence;
        auto next = [&](unsigned count) { return std::exchange(rest, rest / count) % count; };
        auto first = Edit{next(edit_count)};
        auto flush1 = FlushKind{next(flush_count)};
        auto second = Edit{next(edit_count)};
        auto flush2 = FlushKind{next(flush_count)};
        unsigned n = sequence * 7 % 4;
        unsigned m = sequence % 3 == 0 ? n : (n + sequence) % 4;
        ASSERT_TRUE(permutation(shadow, first, flush1, second, flush2, n, m))
            << "edit " << static_cast<unsigned>(first) << " of page " << n << ", flush "
            << static_cast<unsigned>(flush1) << ", edit " << static_cast<unsigned>(second) << " of page " << m
            << ", flush " << static_cast<unsigned>(flush2);
    }
}

TEST(ShadowTorture, LongRandomHistories) {
    for (unsigned seed = 1; seed <= 60; seed++) {
        std::mt19937 generator{seed};
        auto random = [&] { return static_cast<unsigned>(generator()); };
        Shadow shadow;
        shadow.begin();
        for (unsigned step = 0; step < 400; step++) {
            unsigned n = random() % 4;
            if (random() % 3 == 0) shadow.edit(Edit{random() % edit_count}, n);
            if (random() % 8 == 0) shadow.flush(FlushKind{random() % flush_count}, n);
            for (unsigned time = 0; time < 4; time++)
                ASSERT_TRUE(shadow.access(random() % 4, all_accesses[random() % 3], all_modes[random() % 3]))
                    << "seed " << seed << ", step " << step;
        }
    }
}

}  // namespace
}  // namespace undercroft::test
