// SPDX-License-Identifier: Apache-2.0
// read, write, check and fetch: page crossing, device memory, code pages; faults before effects.

#include "mmu/mmu.hpp"

#include "mmu/test_machine.hpp"

#include <gtest/gtest.h>

#include <cstring>

namespace undercroft::test {
namespace {

constexpr AccessMode User = AccessMode::User, Supervisor = AccessMode::Supervisor;
constexpr std::uint64_t here = 0x00007f1234567000;  // two neighbouring virtual pages in distant frames
constexpr std::uint64_t next = here + 4096;
constexpr std::uint64_t frame = 5 * MiB, other = 3 * MiB;
constexpr std::uint64_t device = 0xd0000000;

struct Accesses : testing::Test {
    TestMachine machine;
    Trap trap;

    Accesses() {
        machine.map(here, frame);
        machine.map(next, other);
        for (unsigned i = 0; i < 4096; i++) {
            machine.byte(frame + i) = static_cast<std::byte>(i * 7 + 1);
            machine.byte(other + i) = static_cast<std::byte>(i * 5 + 2);
        }
    }
    bool read(std::uint64_t at, void* to, unsigned size, AccessMode mode = User) {
        trap = {};
        return machine.mmu.read(GuestVirtual{at}, to, size, mode, trap);
    }
    bool write(std::uint64_t at, const void* from, unsigned size, AccessMode mode = User) {
        trap = {};
        return machine.mmu.write(GuestVirtual{at}, from, size, mode, trap);
    }
    std::byte expected(std::uint64_t at) {
        return at < next ? machine.byte(frame + (at - here)) : machine.byte(other + (at - next));
    }
};

TEST_F(Accesses, ReadAndWriteAnySizeAnywhere) {
    std::vector<std::byte> out(4096);
    std::vector<std::byte> in(4096);
    for (unsigned size : {1u, 2u, 3u, 4u, 7u, 8u, 16u, 32u, 63u, 512u, 4096u}) {
        for (std::uint64_t at :
             {here, here + 1, here + 4095, here + 4096 - size, here + 4097 - size, next - 1}) {
            if (at < here || at + size > next + 4096) continue;
            SCOPED_TRACE(testing::Message() << size << " at " << std::hex << at);
            for (unsigned i = 0; i < size; i++) out[i] = static_cast<std::byte>(size + i * 3);
            ASSERT_TRUE(write(at, out.data(), size));
            for (unsigned i = 0; i < size; i++) ASSERT_EQ(expected(at + i), out[i]);
            ASSERT_TRUE(read(at, in.data(), size));
            ASSERT_EQ(std::memcmp(in.data(), out.data(), size), 0);
        }
    }
}

TEST_F(Accesses, FaultOnTheSecondPageComesBeforeAnyEffect) {
    machine.map(next, other, P | US);
    std::uint64_t value = ~0ull;
    std::uint64_t before = machine.word(frame + 4088);
    EXPECT_FALSE(write(next - 4, &value, 8));
    EXPECT_EQ(trap.vector, Vector::PF);
    EXPECT_EQ(trap.address, next) << "CR2 is the first byte that faults";
    EXPECT_EQ(trap.error_code, PageFault::P | PageFault::W | PageFault::U);
    EXPECT_EQ(machine.word(frame + 4088), before);
    EXPECT_EQ(machine.entry(here, 0) & D, 0u);
    EXPECT_FALSE(machine.mmu.check(GuestVirtual{next - 1}, 2, Access::Write, User, trap));
    EXPECT_TRUE(machine.mmu.check(GuestVirtual{next - 1}, 1, Access::Write, User, trap));
    EXPECT_TRUE(machine.mmu.check(GuestVirtual{next - 1}, 2, Access::Read, User, trap));
}

TEST_F(Accesses, FaultOnTheFirstPageComesFirst) {
    machine.map(here, frame, 0);
    machine.map(next, other, 0);
    std::uint64_t value = 0;
    EXPECT_FALSE(read(next - 4, &value, 8));
    EXPECT_EQ(trap.address, next - 4);
    EXPECT_EQ(trap.error_code, PageFault::U);
    EXPECT_FALSE(write(next - 4, &value, 8));
    EXPECT_EQ(trap.address, next - 4);
}

TEST_F(Accesses, CrossingIntoTheNonCanonicalHoleIsGp) {
    constexpr std::uint64_t last = 0x00007ffffffff000;
    std::uint64_t value = 0;
    EXPECT_FALSE(read(last + 4092, &value, 8));  // not even mapped: GP comes before PF
    EXPECT_EQ(trap.vector, Vector::GP);
    machine.map(last, frame);
    EXPECT_FALSE(write(last + 4092, &value, 8));
    EXPECT_EQ(trap.vector, Vector::GP);
    EXPECT_TRUE(read(last + 4088, &value, 8));
    EXPECT_FALSE(read(0xffff7fffffffffff, &value, 2));
    EXPECT_EQ(trap.vector, Vector::GP);
}

TEST_F(Accesses, WrapAroundTheTop) {
    machine.map(0xfffffffffffff000, frame, P | RW | US);
    machine.map(0, other, P | RW | US);
    std::uint16_t value = 0;
    ASSERT_TRUE(read(~0ull, &value, 2));
    EXPECT_EQ(value & 0xff, std::to_integer<int>(machine.byte(frame + 4095)));
    EXPECT_EQ(value >> 8, std::to_integer<int>(machine.byte(other)));
}

TEST_F(Accesses, ReachDevicesInPieces) {
    machine.map(here, device, P | RW | US);
    std::array<std::byte, 15> bytes{};
    ASSERT_TRUE(read(here + 0x10, bytes.data(), 4));
    EXPECT_EQ(machine.devices.reads, (std::vector<RecordingDevices::Event>{{device + 0x10, 4, 0}}));
    machine.devices.reads.clear();
    ASSERT_TRUE(read(here + 0x10, bytes.data(), 15));
    EXPECT_EQ(
        machine.devices.reads,
        (std::vector<RecordingDevices::Event>{
            {device + 0x10, 8, 0}, {device + 0x18, 4, 0}, {device + 0x1c, 2, 0}, {device + 0x1e, 1, 0}}));
    for (unsigned i = 0; i < 15; i++) EXPECT_EQ(bytes[i], static_cast<std::byte>(0x10 + i));
    std::uint32_t value = 0x12345678;
    ASSERT_TRUE(write(here + 0x20, &value, 4));
    EXPECT_EQ(machine.devices.writes, (std::vector<RecordingDevices::Event>{{device + 0x20, 4, 0x12345678}}));
    EXPECT_EQ(machine.mmu.statistics().device_accesses, 6u);
}

TEST_F(Accesses, HalfRamHalfDevice) {
    machine.map(next, device, P | RW | US);
    std::uint64_t value = 0x1122334455667788;
    ASSERT_TRUE(write(next - 3, &value, 8));
    EXPECT_EQ(machine.byte(frame + 4093), std::byte{0x88});
    EXPECT_EQ(machine.byte(frame + 4095), std::byte{0x66});
    EXPECT_EQ(machine.devices.writes,
              (std::vector<RecordingDevices::Event>{{device, 4, 0x22334455}, {device + 4, 1, 0x11}}));
    ASSERT_TRUE(read(next - 3, &value, 8));
    EXPECT_EQ(value, 0x0403020100667788u);
}

TEST_F(Accesses, WritesTellOfCode) {
    machine.code_pages.mark(GuestPhysical{frame + 4032}, 64);
    machine.code_pages.mark(GuestPhysical{other}, 2);
    std::uint64_t value = 0;
    ASSERT_TRUE(write(here, &value, 8));
    EXPECT_TRUE(machine.code_writes.empty()) << "a granule without code";
    ASSERT_TRUE(write(next - 4, &value, 8));
    using Write = std::pair<std::uint64_t, std::uint64_t>;
    EXPECT_EQ(machine.code_writes, (std::vector<Write>{{frame + 4092, 4}, {other, 4}}));
    EXPECT_EQ(machine.mmu.statistics().code_page_writes, 3u);
    ASSERT_TRUE(read(next - 4, &value, 8));
    EXPECT_EQ(machine.code_writes.size(), 2u);
}

TEST_F(Accesses, FetchStopsAtAPageItCannotRead) {
    std::array<std::byte, 15> bytes{};
    EXPECT_EQ(machine.mmu.fetch(GuestVirtual{next - 5}, bytes.data(), 15, User, trap), 15u);
    for (unsigned i = 0; i < 15; i++) EXPECT_EQ(bytes[i], expected(next - 5 + i));
    machine.map(next, other, P | US | XD);
    machine.mmu.flush_page(GuestVirtual{next});
    EXPECT_EQ(machine.mmu.fetch(GuestVirtual{next - 5}, bytes.data(), 15, User, trap), 5u);
    EXPECT_EQ(trap.vector, Vector::PF);
    EXPECT_EQ(trap.address, next);
    EXPECT_EQ(trap.error_code, PageFault::P | PageFault::U | PageFault::I);
    EXPECT_EQ(machine.mmu.fetch(GuestVirtual{next}, bytes.data(), 15, User, trap), 0u);
    EXPECT_EQ(machine.mmu.fetch(GuestVirtual{here}, bytes.data(), 15, Supervisor, trap), 0u) << "SMEP";
    EXPECT_EQ(trap.error_code, PageFault::P | PageFault::I);
    EXPECT_EQ(machine.mmu.fetch(GuestVirtual{0x0000800000000000}, bytes.data(), 15, User, trap), 0u);
    EXPECT_EQ(trap.vector, Vector::GP);
}

TEST_F(Accesses, FetchReadsDeviceMemory) {
    machine.map(here, device, P | US);
    std::array<std::byte, 15> bytes{};
    EXPECT_EQ(machine.mmu.fetch(GuestVirtual{here}, bytes.data(), 15, User, trap), 15u);
    EXPECT_EQ(bytes[14], std::byte{14});
}

}  // namespace
}  // namespace undercroft::test
