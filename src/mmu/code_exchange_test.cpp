// SPDX-License-Identifier: Apache-2.0
// Two vCPUs with translations of their own: no write to code is missed.
#include "mmu/code_exchange.hpp"

#include "mmu/code_notice.hpp"
#include "mmu/mmu.hpp"
#include "mmu/test_machine.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace undercroft::test {
namespace {

constexpr std::uint32_t notice = 0x10;
constexpr std::uint64_t page_limit = 512;

// A vCPU without paging: addresses are physical.
struct Processor final : CodePages::Listener {
    Processor(GuestMemory& memory, CodeExchange& exchange, unsigned index)
        : pages{memory.page_limit(), &exchange, index},
          tlb{std::make_unique<Tlb>()},
          mmu{memory, pages, devices, state, *tlb} {
        exchange.rendezvous().join(index, attention, notice);
        pages.set_listener(this);
    }
    void code_written(GuestPhysical address, std::uint64_t length) override {
        written.emplace_back(address.value(), length);
    }
    void all_code_written() override { ++all_written; }
    bool is_told() { return attention.exchange(0) != 0; }
    Translation translate(std::uint64_t address, Access access) {
        Translation out;
        Trap trap;
        EXPECT_TRUE(mmu.translate(GuestVirtual{address}, access, AccessMode::SupervisorAc, out, trap));
        return out;
    }
    bool may_write_directly(std::uint64_t address) {
        return tlb->entry(AccessMode::SupervisorAc, address).write_tag == (address & ~0xfffull);
    }

    std::atomic<std::uint32_t> attention{0};
    PagingState state{};
    RecordingDevices devices;
    CodePages pages;
    std::unique_ptr<Tlb> tlb;
    Mmu mmu;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> written;
    unsigned all_written = 0;
};

struct Pair {
    std::unique_ptr<GuestMemory> memory =
        std::move(*GuestMemory::create({{GuestPhysical{0}, page_limit << 12}}));
    CodeExchange exchange{page_limit};
    Processor a{*memory, exchange, 0};
    Processor b{*memory, exchange, 1};
};

TEST(CodeExchange, PageThatBecomesCodeLosesEverybodysWriteTags) {
    Pair pair;
    pair.a.translate(0x5000, Access::Write);
    pair.b.translate(0x5000, Access::Write);
    ASSERT_TRUE(pair.b.may_write_directly(0x5000));
    EXPECT_TRUE(pair.a.pages.claim(5)) << "the other may be about to write";
    EXPECT_FALSE(pair.a.may_write_directly(0x5000));
    ASSERT_TRUE(pair.b.is_told());
    pair.b.pages.serve();
    EXPECT_FALSE(pair.b.may_write_directly(0x5000));
    EXPECT_TRUE(pair.b.translate(0x5000, Access::Write).holds_code);
    EXPECT_FALSE(pair.b.may_write_directly(0x5000));
    EXPECT_FALSE(pair.a.pages.claim(5)) << "claimed already";
    EXPECT_FALSE(pair.a.pages.claim(6)) << "nobody writes there";
    EXPECT_FALSE(pair.b.is_told());
}

TEST(CodeExchange, WriteIsToldToThoseWhoHaveTranslatedTheBytes) {
    Pair pair;
    ASSERT_FALSE(pair.a.pages.claim(5));
    pair.a.pages.about_to_read(GuestPhysical{0x5040}, 64);
    pair.b.pages.wrote(GuestPhysical{0x5080}, 8);
    EXPECT_FALSE(pair.a.is_told()) << "another granule";
    pair.b.pages.wrote(GuestPhysical{0x507c}, 8);
    ASSERT_TRUE(pair.a.is_told());
    EXPECT_TRUE(pair.a.written.empty()) << "not before it looks";
    pair.a.pages.serve();
    ASSERT_EQ(pair.a.written.size(), 1u);
    EXPECT_EQ(pair.a.written[0], (std::pair<std::uint64_t, std::uint64_t>{0x5040, 128}));
    EXPECT_TRUE(pair.b.written.empty());
    pair.a.pages.wrote(GuestPhysical{0x5040}, 1);
    EXPECT_EQ(pair.a.written.size(), 2u) << "its own writes at once";
    EXPECT_FALSE(pair.a.is_told());
    EXPECT_FALSE(pair.b.is_told());
}

TEST(CodeExchange, ADevicesWriteIsToldToEveryOwner) {
    Pair pair;
    ASSERT_FALSE(pair.a.pages.claim(5));
    ASSERT_FALSE(pair.b.pages.claim(6));
    pair.a.pages.about_to_read(GuestPhysical{0x5fc0}, 64);
    pair.b.pages.about_to_read(GuestPhysical{0x6000}, 64);
    pair.exchange.device_wrote(GuestPhysical{0x4000}, 0x1fc0);
    EXPECT_FALSE(pair.a.is_told() || pair.b.is_told()) << "other granules";
    pair.exchange.device_wrote(GuestPhysical{0x5ffc}, 8);  // over the border
    ASSERT_TRUE(pair.a.is_told() && pair.b.is_told());
    pair.a.pages.serve();
    pair.b.pages.serve();
    using Written = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
    EXPECT_EQ(pair.a.written, (Written{{0x5fc0, 64}}));
    EXPECT_EQ(pair.b.written, (Written{{0x6000, 64}}));
}

TEST(CodeExchange, PageWithoutTranslationsIsOrdinaryAgain) {
    Pair pair;
    ASSERT_FALSE(pair.a.pages.claim(5));
    ASSERT_FALSE(pair.b.pages.claim(5));
    pair.a.pages.about_to_read(GuestPhysical{0x5000}, 64);
    pair.a.pages.set_granules(5, 0);
    EXPECT_TRUE(pair.a.pages.holds_code(5)) << "the other has some";
    pair.b.pages.set_granules(5, 0);
    EXPECT_FALSE(pair.a.pages.holds_code(5));
    EXPECT_FALSE(pair.a.translate(0x5000, Access::Write).holds_code);
    EXPECT_TRUE(pair.a.may_write_directly(0x5000));
}

TEST(CodeExchange, WhoIsToldTooMuchForgetsEverything) {
    Pair pair;
    for (std::uint64_t pfn = 0; pfn < 100; ++pfn) {
        ASSERT_FALSE(pair.a.pages.claim(pfn));
        pair.a.pages.about_to_read(GuestPhysical{pfn << 12}, 4096);
        pair.b.pages.wrote(GuestPhysical{pfn << 12}, 4);
    }
    pair.a.translate(200 << 12, Access::Write);
    pair.a.pages.serve();
    EXPECT_EQ(pair.a.all_written, 1u);
    EXPECT_TRUE(pair.a.written.empty());
    EXPECT_FALSE(pair.a.may_write_directly(200 << 12));
    pair.a.pages.serve();
    EXPECT_EQ(pair.a.all_written, 1u);
    pair.b.pages.wrote(GuestPhysical{0x3000}, 4);
    pair.a.pages.serve();
    EXPECT_EQ(pair.a.written.size(), 1u) << "room again";
}

// One writes a word that the other has "translated", and tells it by a flag; the other makes the page code,
// is told, forgets, and begins again. Whenever it has seen the flag and served its notices, which is what a
// serialising instruction does, what it has translated is at least as new.
TEST(CodeExchange, NoWriteIsMissed) {
    constexpr std::uint64_t code = 0x7000;
    Pair pair;
    std::atomic<std::uint64_t> flag{0};
    std::atomic<bool> done{false};
    std::thread writer{[&] {
        Processor& b = pair.b;
        pair.exchange.rendezvous().enter(1);
        for (std::uint64_t value = 1; !done; ++value) {
            if (b.is_told()) b.pages.serve();
            Translation to = b.translate(code, Access::Write);
            std::atomic_ref{*reinterpret_cast<std::uint64_t*>(to.host)}.store(value,
                                                                              std::memory_order_relaxed);
            if (to.holds_code) b.pages.wrote(GuestPhysical{code}, 8);
            flag.store(value, std::memory_order_release);
        }
        pair.exchange.rendezvous().leave(1);
    }};
    Processor& a = pair.a;
    auto& word = *reinterpret_cast<std::uint64_t*>(pair.memory->writable(GuestPhysical{code}));
    std::uint64_t translated = 0;
    bool valid = false;
    unsigned translations = 0;
    pair.exchange.rendezvous().enter(0);
    for (unsigned round = 0; translations < 100; ++round) {
        std::uint64_t seen = flag.load(std::memory_order_acquire);
        if (a.is_told()) a.pages.serve();
        if (!a.written.empty() || a.all_written != 0) {
            a.written.clear();
            a.all_written = 0;
            a.pages.set_granules(code >> 12, 0);
            valid = false;
        }
        if (valid) {
            EXPECT_GE(translated, seen) << "round " << round << ", translation " << translations;
            if (translated < seen) break;
            if (round % 64 == 0) std::this_thread::yield();
        } else if (!a.pages.claim(code >> 12)) {
            a.pages.about_to_read(GuestPhysical{code}, 8);
            translated = std::atomic_ref{word}.load(std::memory_order_relaxed);
            valid = true;
            ++translations;
        }
    }
    pair.exchange.rendezvous().leave(0);
    done = true;
    writer.join();
}

TEST(CodeNotice, IsOneWord) {
    std::uint64_t told = CodeNotice::written(0x12'3456'789a, CodePages::mask_of(0x100, 0x81));
    EXPECT_EQ(CodeNotice::Page::get(told), 0x12'3456'789aull);
    EXPECT_EQ(CodeNotice::First::get(told), 4u);
    EXPECT_EQ(CodeNotice::Last::get(told), 6u);
    EXPECT_EQ(CodeNotice::Written::get(told), 1u);
    EXPECT_NE(CodeNotice::became_code(0), 0u);
    EXPECT_EQ(CodeNotice::Written::get(CodeNotice::became_code(0xff'ffff'ffff)), 0u);
}

}  // namespace
}  // namespace undercroft::test
