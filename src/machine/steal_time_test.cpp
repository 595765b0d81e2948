// SPDX-License-Identifier: Apache-2.0
#include "machine/steal_time.hpp"

#include "cpu/vcpu.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace undercroft {
namespace {

struct NoDevices final : DeviceMemory {
    std::uint64_t read_device(GuestPhysical, unsigned) noexcept override { return 0; }
    void write_device(GuestPhysical, unsigned, std::uint64_t) noexcept override {}
};

struct StealTimeTest : testing::Test {
    static constexpr std::uint64_t memory_size = 1 << 20;
    static constexpr std::uint64_t place = 0x5040;

    std::unique_ptr<GuestMemory> memory = *GuestMemory::create({{GuestPhysical{0}, memory_size}});
    CodePages code_pages{memory->page_limit()};
    NoDevices devices;
    std::unique_ptr<Vcpu> vcpu = std::make_unique<Vcpu>();
    Mmu mmu{*memory, code_pages, devices, vcpu->paging, vcpu->tlb};
    StealTime steal;

    KvmStealTime& shown() { return *reinterpret_cast<KvmStealTime*>(memory->writable(GuestPhysical{place})); }
    std::uint64_t all_flushes() const { return mmu.statistics().flushes_all; }
};

TEST_F(StealTimeTest, SaysNothingUntilAsked) {
    steal.turn_begins(mmu, 7);
    steal.turn_ends(mmu);
    EXPECT_EQ(memory->figures().own, 0u);
    EXPECT_EQ(steal.msr(), 0u);
}

TEST_F(StealTimeTest, ShowsStolenTimeAndWhoRuns) {
    shown().version = 5;
    shown().preempted = 1;
    ASSERT_TRUE(steal.write_msr(mmu, place | 1));
    EXPECT_EQ(steal.msr(), place | 1);
    EXPECT_EQ(shown().preempted, 0) << "it is running";
    steal.turn_ends(mmu);
    EXPECT_EQ(shown().preempted, KvmStealTime::Preempted);
    steal.turn_begins(mmu, 1234);
    EXPECT_EQ(shown().steal, 1234u);
    EXPECT_EQ(shown().preempted, 0);
    EXPECT_EQ(shown().version % 2, 0u);
    EXPECT_EQ(shown().version, 8u) << "two changes since";
    ASSERT_TRUE(steal.write_msr(mmu, 0));
    steal.turn_ends(mmu);
    EXPECT_EQ(shown().preempted, 0) << "it wants no more of it";
}

TEST_F(StealTimeTest, FlushesWhatOthersAskedForBeforeItRuns) {
    ASSERT_TRUE(steal.write_msr(mmu, place | 1));
    steal.turn_ends(mmu);
    std::uint64_t before = all_flushes();
    steal.turn_begins(mmu, 0);
    EXPECT_EQ(all_flushes(), before);
    steal.turn_ends(mmu);
    shown().preempted |= KvmStealTime::FlushTlb;
    steal.turn_begins(mmu, 0);
    EXPECT_EQ(all_flushes(), before + 1);
    EXPECT_EQ(shown().preempted, 0);
    EXPECT_EQ(steal.flushes(), 1u);
}

TEST_F(StealTimeTest, HostileAddresses) {
    for (std::uint64_t value : {2ull, 0x5042ull | 1, 0x503full})
        EXPECT_FALSE(steal.write_msr(mmu, value)) << value;
    EXPECT_EQ(steal.msr(), 0u);
    for (std::uint64_t address : {memory_size, ~std::uint64_t{0x3f}, std::uint64_t{1} << 63}) {
        EXPECT_TRUE(steal.write_msr(mmu, address | 1)) << address;
        steal.turn_ends(mmu);
        steal.turn_begins(mmu, 99);
    }
    EXPECT_EQ(memory->figures().own, 0u);
    EXPECT_TRUE(steal.write_msr(mmu, (memory_size - 64) | 1)) << "the last that fits";
    EXPECT_EQ(memory->figures().own, 1u);
}

// A guest may have put code there.
TEST_F(StealTimeTest, WritesAreToldToTranslations) {
    struct Listener final : CodePages::Listener {
        void code_written(GuestPhysical address, std::uint64_t) override { written = address.value(); }
        std::uint64_t written = 0;
    } listener;
    code_pages.set_listener(&listener);
    code_pages.mark(GuestPhysical{place}, 16);
    ASSERT_TRUE(steal.write_msr(mmu, place | 1));
    EXPECT_EQ(listener.written, place);
    listener.written = 0;
    steal.turn_ends(mmu);
    EXPECT_EQ(listener.written, place);
}

}  // namespace
}  // namespace undercroft
