// SPDX-License-Identifier: Apache-2.0
// For tests: what a processor may answer, given all that its page tables have been since it was last told of
// a change.
//
// Source: Intel SDM vol. 3A sections 4.10.2 to 4.10.4. A TLB entry may come into being at any time from what
// the tables say (also unasked, by speculation), and stay until it is invalidated. So may an entry of the
// paging-structure caches, from each entry that refers to another table. What is invalid at the time is never
// cached. Entries belong to the address space (PCID) that was the current one then, but for global ones. An
// answer is allowed if it follows from some TLB entry that there may be, or from a walk that begins at some
// paging-structure entry that there may be.
//
// Rights of the answer are judged by walk_model.hpp's rules.

#pragma once

#include "mmu/walk_model.hpp"

#include <compare>
#include <map>
#include <set>

namespace undercroft::test {

class ShadowModel {
public:
    // A translation as a TLB holds it.
    struct Entry {
        std::uint64_t physical;  // of the 4 KiB page
        bool writable, user, executable, global, large;
        auto operator<=>(const Entry&) const = default;
    };
    struct Allowed {
        std::set<std::uint64_t> pages;
        std::set<std::uint32_t> errors;
    };

    ShadowModel(TestMachine& machine, std::vector<std::uint64_t> addresses)
        : machine_{machine}, addresses_{std::move(addresses)} {
        note();
    }

    // The tables have changed: call it after every single change.
    void note() {
        for (std::uint64_t address : addresses_) {
            remember_upper(address);
            Walks walks;
            walk(address, walks);
            current().possible[address].insert(walks.entries.begin(), walks.entries.end());
        }
    }
    // CR3 has another PCID now, or the same one.
    void switch_space(bool keep) {
        if (!keep) current().flush_non_global();
        note();
    }
    // INVLPG, INVPCID of a page, of an address space, of all but global entries.
    void invalidate_page(std::uint64_t address) {
        for (auto& [pcid, space] : spaces_) space.invalidate(address, Which::Global);
        invalidate_page_of(machine_.state.pcid(), address);
    }
    void invalidate_page_of(unsigned pcid, std::uint64_t address) {
        spaces_[pcid].invalidate(address, Which::Local);
        spaces_[pcid].upper.clear();
        note();
    }
    void invalidate_space(unsigned pcid) {
        spaces_[pcid].flush_non_global();
        note();
    }
    void flush_non_global() {
        for (auto& [pcid, space] : spaces_) space.flush_non_global();
        note();
    }
    void flush_all() {
        spaces_.clear();
        note();
    }
    // A page fault invalidates what there is for its address.
    void faulted(std::uint64_t address) {
        current().possible[address].clear();
        for (auto& [pcid, space] : spaces_)
            std::erase_if(space.possible[address], [](const Entry& e) { return e.global; });
        note();
    }

    Allowed allowed(std::uint64_t address, Access access, AccessMode mode) const {
        Walks walks;
        walk(address, walks);
        std::set<Entry> entries = walks.entries;
        for (const auto& [pcid, space] : spaces_) {
            auto known = space.possible.find(address);
            if (known == space.possible.end()) continue;
            for (const Entry& e : known->second)
                if (e.global || pcid == machine_.state.pcid()) entries.insert(e);
        }
        Allowed allowed;
        std::uint32_t about = (access == Access::Write ? 2u : 0u) | (mode == AccessMode::User ? 4u : 0u) |
                              (access == Access::Execute ? 16u : 0u);
        for (const Entry& e : entries) {
            if (rights_allow(machine_.state, e.user, e.writable, e.executable, access, mode))
                allowed.pages.insert(e.physical);
            else
                allowed.errors.insert(about | 1);
        }
        for (std::uint32_t error : walks.errors) allowed.errors.insert(about | error);
        return allowed;
    }

private:
    struct Walks {
        std::set<Entry> entries;
        std::set<std::uint32_t> errors;
    };
    static constexpr unsigned shift_of(unsigned level) { return 12 + 9 * level; }
    static bool refers_to_table(std::uint64_t value, unsigned level) {
        return (value & P) != 0 && (value & PS) == 0 && !has_reserved_bit(value, level, true);
    }
    std::uint64_t entry_at(std::uint64_t table, std::uint64_t address, unsigned level) const {
        return table + 8 * bits(address, shift_of(level) + 8, shift_of(level));
    }

    enum class Which { Local, Global };
    struct Space {
        std::map<std::uint64_t, std::set<Entry>> possible;       // by page
        std::map<std::uint64_t, std::set<std::uint64_t>> upper;  // by the entry's physical address

        void invalidate(std::uint64_t address, Which which) {
            constexpr std::uint64_t region = 2 * MiB;
            for (auto& [page, entries] : possible) {
                bool same_page = page == address;
                bool same_region = page / region == address / region;
                std::erase_if(entries, [&](const Entry& e) {
                    return e.global == (which == Which::Global) && (same_page || (e.large && same_region));
                });
            }
        }
        void flush_non_global() {
            for (auto& [page, entries] : possible)
                std::erase_if(entries, [](const Entry& e) { return !e.global; });
            upper.clear();
        }
    };

    Space& current() { return spaces_[machine_.state.pcid()]; }
    // All entries that refer to tables, on all ways that there may be to the address.
    void remember_upper(std::uint64_t address) {
        std::set<std::uint64_t> tables{bits(machine_.state.cr3, 39, 12) << 12};
        for (unsigned level = 3; level > 0; level--) {
            std::set<std::uint64_t> next;
            for (std::uint64_t table : tables) {
                std::uint64_t at = entry_at(table, address, level);
                std::uint64_t value = machine_.word(at) & ~(A | D);
                if (refers_to_table(value, level)) current().upper[at].insert(value);
                for (std::uint64_t known : current().upper[at]) next.insert(bits(known, 39, 12) << 12);
            }
            tables = next;
        }
    }
    void walk(std::uint64_t address, Walks& walks) const {
        Entry all{.physical = 0,
                  .writable = true,
                  .user = true,
                  .executable = true,
                  .global = false,
                  .large = false};
        descend(address, 3, bits(machine_.state.cr3, 39, 12) << 12, all, walks);
    }
    void descend(std::uint64_t address, unsigned level, std::uint64_t table, const Entry& above,
                 Walks& walks) const {
        std::uint64_t at = entry_at(table, address, level);
        std::set<std::uint64_t> values{machine_.word(at) & ~(A | D)};
        if (auto space = spaces_.find(machine_.state.pcid()); level > 0 && space != spaces_.end()) {
            auto known = space->second.upper.find(at);
            if (known != space->second.upper.end()) values.insert(known->second.begin(), known->second.end());
        }
        for (std::uint64_t value : values) {
            if ((value & P) == 0) {
                walks.errors.insert(0);
                continue;
            }
            if (has_reserved_bit(value, level, true)) {
                walks.errors.insert(1 | 8);
                continue;
            }
            Entry here = above;
            here.writable = here.writable && (value & RW) != 0;
            here.user = here.user && (value & US) != 0;
            here.executable = here.executable && (value & XD) == 0;
            bool leaf = level == 0 || (value & PS) != 0;
            if (!leaf) {
                descend(address, level - 1, bits(value, 39, 12) << 12, here, walks);
                continue;
            }
            unsigned shift = shift_of(level);
            here.physical = bits(value, 39, shift) << shift | bits(address & ~0xfffull, shift - 1, 0);
            here.large = level > 0;
            here.global = (value & G) != 0 && machine_.state.global_pages();
            walks.entries.insert(here);
        }
    }

    TestMachine& machine_;
    std::vector<std::uint64_t> addresses_;
    std::map<unsigned, Space> spaces_;  // by PCID
};

}  // namespace undercroft::test
