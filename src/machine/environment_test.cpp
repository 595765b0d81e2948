// SPDX-License-Identifier: Apache-2.0
#include "machine/environment.hpp"

#include "cpu/vcpu.hpp"
#include "device/kvmclock.hpp"
#include "machine/layout.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace undercroft {
namespace {

class Silent final : public ConsoleBackend {
public:
    Transfer write(std::span<const std::byte> bytes) noexcept override {
        written.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        return {.bytes = bytes.size(), .state = State::Ok};
    }
    Transfer read(std::span<std::byte>) noexcept override { return {}; }

    std::string written;
};

struct EnvironmentTest : testing::Test {
    static constexpr std::uint64_t memory_size = 1 << 20;

    FakeClock clock{1'000'000'000};
    Silent backend;
    Alarm alarm = *Alarm::create();
    Doorbell bell = *Doorbell::create();
    ConsoleOutput output{backend, alarm};
    ConsoleInput input{alarm, bell};
    std::string events;
    std::unique_ptr<GuestMemory> memory = *GuestMemory::create({{GuestPhysical{0}, memory_size}});
    CodePages code_pages{memory->page_limit()};
    std::unique_ptr<Vcpu> vcpu = std::make_unique<Vcpu>();
    Board board{clock,
                output,
                input,
                {.attention = [this](unsigned, std::uint32_t bits) { vcpu->request(bits); },
                 .timer_changed = [this](unsigned) { events += "timer "; },
                 .nmi = [this](unsigned processor) { events += fmt::format("nmi {} ", processor); },
                 .init = [this](unsigned processor) { events += fmt::format("init {} ", processor); },
                 .start_up =
                     [this](unsigned processor, std::uint8_t vector) {
                         events += fmt::format("start {} {} ", processor, vector);
                     },
                 .power_off = [this] { events += "off "; },
                 .reset = [this] { events += "reset "; },
                 .unclaimed_port = [this](std::uint64_t, Access) { events += "port "; },
                 .unclaimed_memory = [this](std::uint64_t, Access) { events += "memory "; }}};
    MachineEnvironment::Shared shared{clock};
    MachineEnvironment environment{*vcpu, board, output, clock, shared};
    Mmu mmu{*memory, code_pages, environment, vcpu->paging, vcpu->tlb};

    EnvironmentTest() {
        vcpu->mmu = &mmu;
        vcpu->environment = &environment;
    }
    bool write(Msr msr, std::uint64_t value) {
        return environment.write_msr(*vcpu, static_cast<std::uint32_t>(msr), value);
    }
    std::optional<std::uint64_t> read(Msr msr) {
        return environment.read_msr(*vcpu, static_cast<std::uint32_t>(msr));
    }
    template <class T>
    T at(std::uint64_t address) {
        T value;
        EXPECT_TRUE(memory->read(GuestPhysical{address}, std::as_writable_bytes(std::span{&value, 1})));
        return value;
    }
};

TEST_F(EnvironmentTest, SerialOutputReachesTheConsole) {
    for (char c : std::string{"hello\n"}) {
        environment.write_port(layout::com1.first, 1, static_cast<std::uint8_t>(c));
    }
    EXPECT_EQ(backend.written, "hello\n");
}

TEST_F(EnvironmentTest, PowerPortsEndTheMachine) {
    auto port = [](std::uint64_t offset) {
        return static_cast<std::uint16_t>(layout::acpi_power.first + offset);
    };
    environment.write_port(port(AcpiPower::sleep_control), 1, 5 << 2 | 1 << 5);
    environment.write_port(port(AcpiPower::reset_register), 1, AcpiPower::reset_value);
    EXPECT_EQ(events, "off reset ");
}

TEST_F(EnvironmentTest, NobodyAtAnAddressReadsAllOnes) {
    EXPECT_EQ(environment.read_port(0xcf8, 4), 0xffffffffu);
    EXPECT_EQ(environment.read_device(GuestPhysical{0xd000'0000}, 4), 0xffffffffu);
    environment.write_port(0xcf8, 4, 0);
    EXPECT_EQ(events, "port memory ");
}

TEST_F(EnvironmentTest, UnknownMsrsAreRefused) {
    EXPECT_FALSE(environment.read_msr(*vcpu, 0x12345));
    EXPECT_FALSE(environment.write_msr(*vcpu, 0x12345, 0));
}

TEST_F(EnvironmentTest, ApicMsrsWorkInX2ApicModeOnly) {
    auto id = static_cast<std::uint32_t>(0x802);
    EXPECT_FALSE(environment.read_msr(*vcpu, id));
    ASSERT_TRUE(write(Msr::IA32_APIC_BASE, *read(Msr::IA32_APIC_BASE) | 1u << 10));
    EXPECT_EQ(environment.read_msr(*vcpu, id), 0u);
}

TEST_F(EnvironmentTest, TheDeadlineIsInTheGuestsTime) {
    vcpu->tsc_offset = 1'000'000;
    ASSERT_TRUE(write(Msr::IA32_APIC_BASE, *read(Msr::IA32_APIC_BASE) | 1u << 10));
    ASSERT_TRUE(environment.write_msr(*vcpu, 0x80f, 0x1ff));
    ASSERT_TRUE(environment.write_msr(*vcpu, 0x832, 2 << 17 | 0x40));
    ASSERT_TRUE(write(Msr::IA32_TSC_DEADLINE, 1'000'500));
    EXPECT_EQ(read(Msr::IA32_TSC_DEADLINE), 1'000'500u);
    EXPECT_EQ(board.local_apic(0).next_deadline_ticks(), 500u);
    clock.advance(500);
    board.local_apic(0).run_timer();
    EXPECT_EQ(vcpu->attention & Attention::Interrupt, Attention::Interrupt);
    EXPECT_EQ(environment.acknowledge_interrupt(*vcpu), 0x40);
    EXPECT_EQ(environment.acknowledge_interrupt(*vcpu), std::nullopt);
}

TEST_F(EnvironmentTest, KvmclockIsPublishedWhereTheGuestWantsIt) {
    clock.advance(5'000);
    vcpu->tsc_offset = 77;
    ASSERT_TRUE(write(Msr::KVM_SYSTEM_TIME_NEW, 0x3000 | 1));
    auto info = at<PvclockVcpuTimeInfo>(0x3000);
    EXPECT_EQ(info.tsc_timestamp, 77u) << "the reading at the machine's start, the same for every vCPU";
    EXPECT_EQ(info.system_time, 0u);
    EXPECT_EQ(info.version % 2, 0u);
    EXPECT_NEAR(static_cast<double>(info.time_at(6'077)), 6'000, 1);
    EXPECT_EQ(read(Msr::KVM_SYSTEM_TIME_NEW), 0x3001u);
}

TEST_F(EnvironmentTest, TheWallClockIsThatOfTheMachinesStart) {
    clock.set_wall_base_ns(1'700'000'000'000'000'000);
    clock.advance(3'000'000'000);
    ASSERT_TRUE(write(Msr::KVM_WALL_CLOCK_NEW, 0x4ff8));
    auto wall = at<PvclockWallClock>(0x4ff8);
    EXPECT_EQ(wall.sec, 1'700'000'000u);
    EXPECT_EQ(wall.version % 2, 0u);
}

TEST_F(EnvironmentTest, KvmclockOutsideOfRamIsHarmless) {
    EXPECT_TRUE(write(Msr::KVM_SYSTEM_TIME_NEW, memory_size | 1));
    EXPECT_TRUE(write(Msr::KVM_WALL_CLOCK_NEW, ~std::uint64_t{0} - 4));
}

}  // namespace
}  // namespace undercroft
