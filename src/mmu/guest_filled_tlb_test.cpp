// SPDX-License-Identifier: Apache-2.0
// The guest-filled TLB against a model: what it finds was written and not flushed, the latest 64 are always
// found, and whatever else is missing was said to be displaced.

#include "mmu/guest_filled_tlb.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>

namespace undercroft::test {
namespace {

using namespace software_tlb;
using Key = std::pair<std::uint64_t, unsigned>;  // page, address space; asid_count for all of them

constexpr Key none{GuestFilledTlb::no_page, 0};  // in the place of a write that was flushed

// Few pages of few address spaces, some of which share a set.
std::uint64_t some_page(std::mt19937_64& random) {
    std::uint64_t number = random() % 600;
    return (number % 3 == 0 ? number << 24 : 0x400 + number) << 12;
}

void torture(bool second_level, unsigned seed) {
    GuestFilledTlb tlb;
    tlb.use_second_level(second_level);
    std::mt19937_64 random{seed};
    std::map<Key, std::uint64_t> model;
    std::deque<Key> latest;
    std::set<Key> displaced;
    for (unsigned step = 0; step < 20000; step++) {
        std::uint64_t page = some_page(random);
        auto asid = static_cast<unsigned>(random() % 3);
        auto what = static_cast<unsigned>(random() % 1000);
        if (what < 500) {
            std::uint64_t low = random() % 4096 << 12 | random() % 16;
            Key key{page, (low & EntryLo::Global) != 0 ? asid_count : asid};
            for (std::uint64_t gone : tlb.insert(page, asid, low))
                for (const auto& [other, word] : model)
                    if (other.first == gone) displaced.insert(other);
            model[key] = low;
            displaced.erase(key);
            latest.push_back(key);
        } else if (what < 520) {
            tlb.remove(page, asid);
            for (unsigned who : {asid, asid_count}) {
                model.erase({page, who});
                std::replace(latest.begin(), latest.end(), Key{page, who}, none);
            }
        } else if (what < 523) {
            tlb.flush_address_space(asid);
            std::erase_if(model, [&](const auto& item) { return item.first.second == asid; });
            auto of_it = [&](const Key& key) { return key.second == asid; };
            std::replace_if(latest.begin(), latest.end(), of_it, none);
        } else if (what == 523) {
            tlb.flush_all();
            model.clear();
            latest.clear();
        }
        if (latest.size() > GuestFilledTlb::first_level_entries) latest.pop_front();

        GuestFilledTlb::Found found = tlb.find(page, asid);
        auto own = model.find({page, asid});
        auto global = model.find({page, asid_count});
        if (found.entry != nullptr) {
            bool is_own = own != model.end() && own->second == found.entry->low;
            bool is_global = global != model.end() && global->second == found.entry->low;
            ASSERT_TRUE(is_own || is_global) << "step " << step;
            ASSERT_TRUE(second_level || !found.in_second_level);
        } else {
            bool lost = (own != model.end() && displaced.count(own->first) == 0) ||
                        (global != model.end() && displaced.count(global->first) == 0);
            ASSERT_FALSE(lost) << "without a word, step " << step;
        }
        for (const Key& key : latest) {
            if (key == none) continue;
            ASSERT_NE(tlb.find(key.first, key.second % asid_count).entry, nullptr) << "step " << step;
        }
    }
}

TEST(GuestFilledTlb, AgreesWithModel) {
    for (unsigned seed = 1; seed <= 4; seed++) torture(true, seed);
}

TEST(GuestFilledTlb, AgreesWithModelOfOneLevel) {
    for (unsigned seed = 1; seed <= 4; seed++) torture(false, seed);
}

TEST(GuestFilledTlb, HoldsThousandsInTheSecondLevelAnd64Without) {
    for (bool second_level : {true, false}) {
        GuestFilledTlb tlb;
        tlb.use_second_level(second_level);
        constexpr unsigned pages = 4000;
        for (std::uint64_t n = 0; n < pages; n++) tlb.insert(0x400000 + (n << 12), 1, n << 12);
        unsigned found = 0;
        for (std::uint64_t n = 0; n < pages; n++) found += tlb.find(0x400000 + (n << 12), 1).entry != nullptr;
        EXPECT_EQ(found, second_level ? pages : GuestFilledTlb::first_level_entries);
    }
}

}  // namespace
}  // namespace undercroft::test
