// SPDX-License-Identifier: Apache-2.0
#include "device/local_apic.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace undercroft {
namespace {

constexpr std::uint64_t on = 0x1ff;  // SVR: enabled, spurious vector 0xff
constexpr std::uint32_t apic_base = 0x1b;

class LocalApicTest : public testing::Test {
protected:
    LocalApicTest() { write(ApicRegister::SVR, on); }

    std::uint64_t read(ApicRegister reg) { return apic_.read(static_cast<std::uint64_t>(reg), 4); }
    void write(ApicRegister reg, std::uint64_t value) {
        apic_.write(static_cast<std::uint64_t>(reg), 4, value);
    }
    static std::uint32_t msr(ApicRegister reg) { return 0x800 + static_cast<std::uint32_t>(reg) / 16; }
    void enable_x2apic() { ASSERT_TRUE(apic_.write_msr(apic_base, 0xfee00d00)); }
    void edge(std::uint8_t vector) { apic_.accept(vector, TriggerMode::Edge); }

    FakeClock clock_;
    std::vector<Ipi> sent_;
    std::vector<std::uint8_t> completed_;
    unsigned pending_ = 0;
    LocalApic apic_{5,
                    ProcessorRole::Bootstrap,
                    clock_,
                    {.send = [this](const Ipi& ipi) { sent_.push_back(ipi); },
                     .end_of_interrupt = [this](std::uint8_t vector) { completed_.push_back(vector); },
                     .pending_changed = [this] { ++pending_; },
                     .timer_changed = [] {}}};
};

TEST_F(LocalApicTest, ResetValues) {
    apic_.reset();
    EXPECT_EQ(read(ApicRegister::ID), 5u << 24);
    EXPECT_EQ(read(ApicRegister::Version), 0x00050014u);
    EXPECT_EQ(read(ApicRegister::SVR), 0xffu);
    EXPECT_EQ(read(ApicRegister::DFR), 0xffffffffu);
    EXPECT_EQ(read(ApicRegister::LVT_Timer), 0x10000u);
    EXPECT_EQ(read(ApicRegister::LVT_Error), 0x10000u);
    EXPECT_EQ(apic_.read_msr(apic_base), 0xfee00900u);
    LocalApic other{1, ProcessorRole::Application, clock_, {}};
    EXPECT_EQ(other.read_msr(apic_base), 0xfee00800u);
}

TEST_F(LocalApicTest, TheHighestVectorGoesFirstAndNestsByClass) {
    edge(0x31);
    edge(0x52);
    edge(0x55);
    EXPECT_EQ(pending_, 3u);
    EXPECT_EQ(apic_.acknowledge(), 0x55);
    EXPECT_EQ(read(ApicRegister::PPR), 0x50u);
    EXPECT_FALSE(apic_.has_deliverable());  // 0x52 is of the same class
    EXPECT_EQ(apic_.acknowledge(), std::nullopt);
    edge(0x60);
    EXPECT_EQ(apic_.acknowledge(), 0x60);
    pending_ = 0;
    write(ApicRegister::EOI, 0);  // 0x60
    EXPECT_EQ(pending_, 0u);
    write(ApicRegister::EOI, 0);  // 0x55
    EXPECT_EQ(pending_, 1u);
    EXPECT_EQ(apic_.acknowledge(), 0x52);
    write(ApicRegister::EOI, 0);
    EXPECT_EQ(apic_.acknowledge(), 0x31);
    write(ApicRegister::EOI, 0);
    write(ApicRegister::EOI, 0);  // nothing in service: ignored
    EXPECT_TRUE(completed_.empty());
}

TEST_F(LocalApicTest, RegistersShowRequestedAndInServiceVectors) {
    edge(0x31);
    apic_.accept(0xff, TriggerMode::Level);
    EXPECT_EQ(apic_.read(0x210, 4), 1u << 0x11);
    EXPECT_EQ(apic_.read(0x270, 4), 1u << 31);
    EXPECT_EQ(apic_.read(0x1f0, 4), 1u << 31);
    EXPECT_EQ(apic_.acknowledge(), 0xff);
    EXPECT_EQ(apic_.read(0x170, 4), 1u << 31);
    EXPECT_EQ(apic_.read(0x270, 4), 0u);
}

TEST_F(LocalApicTest, TaskPriorityHoldsBack) {
    write(ApicRegister::TPR, 0x48);
    EXPECT_EQ(apic_.cr8(), 4);
    EXPECT_EQ(read(ApicRegister::PPR), 0x48u);
    edge(0x4f);
    EXPECT_FALSE(apic_.has_deliverable());
    EXPECT_EQ(pending_, 0u);
    apic_.set_cr8(3);
    EXPECT_EQ(pending_, 1u);
    EXPECT_EQ(read(ApicRegister::TPR), 0x30u);
    EXPECT_EQ(apic_.acknowledge(), 0x4f);
}

TEST_F(LocalApicTest, CompletingALevelInterruptTellsTheIoApic) {
    apic_.accept(0x40, TriggerMode::Level);
    edge(0x41);
    apic_.acknowledge();
    write(ApicRegister::EOI, 0);
    EXPECT_TRUE(completed_.empty());
    apic_.acknowledge();
    write(ApicRegister::EOI, 0);
    EXPECT_EQ(completed_, std::vector<std::uint8_t>{0x40});
    edge(0x40);  // the same vector, now an edge
    apic_.acknowledge();
    write(ApicRegister::EOI, 0);
    EXPECT_EQ(completed_.size(), 1u);
}

TEST_F(LocalApicTest, SoftwareDisableMasksTheEntriesAndDropsInterrupts) {
    write(ApicRegister::LVT_LINT0, 0x700);
    EXPECT_EQ(read(ApicRegister::LVT_LINT0), 0x700u);
    edge(0x30);
    write(ApicRegister::SVR, 0xff);
    EXPECT_EQ(read(ApicRegister::LVT_LINT0), 0x10700u);
    write(ApicRegister::LVT_LINT0, 0x700);
    EXPECT_EQ(read(ApicRegister::LVT_LINT0), 0x10700u);
    edge(0x40);
    EXPECT_EQ(apic_.acknowledge(), 0x30);  // was pending already
    EXPECT_EQ(apic_.acknowledge(), std::nullopt);
}

TEST_F(LocalApicTest, IllegalVectorsAreErrors) {
    write(ApicRegister::LVT_Error, 0xfe);
    edge(0x0f);
    EXPECT_EQ(apic_.acknowledge(), 0xfe);
    EXPECT_EQ(read(ApicRegister::ESR), 0u);
    write(ApicRegister::ESR, 0);
    EXPECT_EQ(read(ApicRegister::ESR), 0x40u);
    write(ApicRegister::ICR, 0x05);
    write(ApicRegister::ESR, 0);
    EXPECT_EQ(read(ApicRegister::ESR), 0x20u);
    apic_.read(0x400, 4);
    write(ApicRegister::ESR, 0);
    EXPECT_EQ(read(ApicRegister::ESR), 0x80u);
    write(ApicRegister::Version, 1);  // read only, not an error
    write(ApicRegister::LVT_Error, 0x02);
    edge(0x0f);  // an illegal vector in the error entry itself
    write(ApicRegister::ESR, 0);
    EXPECT_EQ(read(ApicRegister::ESR), 0x40u);
    EXPECT_TRUE(sent_.empty());
}

TEST_F(LocalApicTest, SendsInterprocessorInterrupts) {
    write(ApicRegister::ICR_High, 3u << 24);
    write(ApicRegister::ICR, 0x4000 | 0x0500);  // INIT, assert
    write(ApicRegister::ICR, 0x8000 | 0x0500);  // INIT level de-assert: nothing
    write(ApicRegister::ICR, 0x4000 | 0x0600 | 0x9a);
    write(ApicRegister::ICR, 0xc0000 | 0x0400);  // NMI to all others
    write(ApicRegister::ICR_High, 0xffu << 24);
    write(ApicRegister::ICR, 0x0800 | 0xf1);  // logical
    write(ApicRegister::ICR, 0xf2);           // physical broadcast
    std::vector<Ipi> expected{
        {.message = {.destination = 3, .delivery_mode = DeliveryMode::INIT}, .source = 5},
        {.message = {.destination = 3, .delivery_mode = DeliveryMode::StartUp, .vector = 0x9a}, .source = 5},
        {.message = {.destination = 3, .delivery_mode = DeliveryMode::NMI},
         .shorthand = Shorthand::AllExcludingSelf,
         .source = 5},
        {.message = {.destination = 0xff, .destination_mode = DestinationMode::Logical, .vector = 0xf1},
         .source = 5},
        {.message = {.destination = broadcast_destination, .vector = 0xf2}, .source = 5}};
    EXPECT_EQ(sent_, expected);
    EXPECT_EQ(read(ApicRegister::ICR_High), 0xff000000u);
    EXPECT_EQ(read(ApicRegister::ICR), 0xf2u);
}

TEST_F(LocalApicTest, SelfInterruptNeedsNoMessage) {
    write(ApicRegister::ICR, 0x40000 | 0x77);
    EXPECT_TRUE(sent_.empty());
    EXPECT_EQ(apic_.acknowledge(), 0x77);
    enable_x2apic();
    EXPECT_TRUE(apic_.write_msr(msr(ApicRegister::SelfIPI), 0x88));
    EXPECT_EQ(apic_.acknowledge(), 0x88);
    EXPECT_FALSE(apic_.write_msr(msr(ApicRegister::SelfIPI), 0x188));
    EXPECT_FALSE(apic_.read_msr(msr(ApicRegister::SelfIPI)));
}

TEST_F(LocalApicTest, ModesFollowTheDiagram) {
    EXPECT_FALSE(apic_.write_msr(apic_base, 0xfee00500));  // x2APIC but off
    EXPECT_FALSE(apic_.write_msr(apic_base, 0xfee00901));  // reserved bit
    EXPECT_FALSE(apic_.write_msr(apic_base, 1ull << 52 | 0xfee00900));
    EXPECT_TRUE(apic_.write_msr(apic_base, 0xfee00900));
    EXPECT_FALSE(apic_.read_msr(0x802));  // not yet
    enable_x2apic();
    EXPECT_EQ(apic_.read_msr(0x802), 5u);
    EXPECT_EQ(read(ApicRegister::ID), ~std::uint64_t{0});  // no page any more
    EXPECT_FALSE(apic_.write_msr(apic_base, 0xfee00900));  // not back to xAPIC
    EXPECT_TRUE(apic_.write_msr(apic_base, 0xfee00100));   // but off
    EXPECT_FALSE(apic_.read_msr(0x802));
    EXPECT_EQ(read(ApicRegister::ID), ~std::uint64_t{0});
    EXPECT_FALSE(apic_.write_msr(apic_base, 0xfee00d00));  // not from off to x2APIC
    EXPECT_TRUE(apic_.write_msr(apic_base, 0xfee00900));
    EXPECT_EQ(read(ApicRegister::SVR), 0xffu);  // being off lost the state
}

TEST_F(LocalApicTest, X2apicRefusesWhatIsReserved) {
    enable_x2apic();
    EXPECT_EQ(apic_.read_msr(msr(ApicRegister::LDR)), 1u << 5);
    EXPECT_FALSE(apic_.write_msr(msr(ApicRegister::LDR), 1));
    EXPECT_FALSE(apic_.read_msr(msr(ApicRegister::DFR)));
    EXPECT_FALSE(apic_.write_msr(msr(ApicRegister::DFR), 0));
    EXPECT_FALSE(apic_.read_msr(msr(ApicRegister::ICR_High)));
    EXPECT_FALSE(apic_.read_msr(msr(ApicRegister::EOI)));
    EXPECT_FALSE(apic_.write_msr(msr(ApicRegister::EOI), 1));
    EXPECT_TRUE(apic_.write_msr(msr(ApicRegister::EOI), 0));
    EXPECT_FALSE(apic_.write_msr(msr(ApicRegister::ESR), 1));
    EXPECT_TRUE(apic_.write_msr(msr(ApicRegister::ESR), 0));
    EXPECT_FALSE(apic_.write_msr(msr(ApicRegister::Version), 0));
    EXPECT_FALSE(apic_.write_msr(msr(ApicRegister::TPR), 0x100));
    EXPECT_TRUE(apic_.write_msr(msr(ApicRegister::TPR), 0x20));
    EXPECT_FALSE(apic_.write_msr(msr(ApicRegister::TPR), 1ull << 32));
    EXPECT_FALSE(apic_.write_msr(msr(ApicRegister::LVT_Timer), 0x80000));
    EXPECT_TRUE(apic_.write_msr(msr(ApicRegister::LVT_Timer), 0x400ec));
    EXPECT_FALSE(apic_.read_msr(0x8ff));
    EXPECT_FALSE(apic_.write_msr(0x8ff, 0));
    EXPECT_FALSE(apic_.write_msr(0x800, 0));
}

TEST_F(LocalApicTest, X2apicCommandIsOneWrite) {
    enable_x2apic();
    EXPECT_TRUE(apic_.write_msr(msr(ApicRegister::ICR), 0x123ull << 32 | 0xfd));
    EXPECT_EQ(apic_.read_msr(msr(ApicRegister::ICR)), 0x123ull << 32 | 0xfd);
    ASSERT_EQ(sent_.size(), 1u);
    EXPECT_EQ(sent_[0].message.destination, 0x123u);
    EXPECT_FALSE(apic_.write_msr(msr(ApicRegister::ICR), 0x20fd));
}

TEST_F(LocalApicTest, Destinations) {
    using enum DestinationMode;
    EXPECT_TRUE(apic_.is_addressed_by(5, Physical));
    EXPECT_FALSE(apic_.is_addressed_by(6, Physical));
    EXPECT_TRUE(apic_.is_addressed_by(broadcast_destination, Physical));
    write(ApicRegister::LDR, 0x24000000);
    EXPECT_TRUE(apic_.is_addressed_by(0x04, Logical));
    EXPECT_FALSE(apic_.is_addressed_by(0x03, Logical));
    write(ApicRegister::DFR, 0);  // cluster 2, member 4
    EXPECT_TRUE(apic_.is_addressed_by(0x26, Logical));
    EXPECT_FALSE(apic_.is_addressed_by(0x14, Logical));
    EXPECT_TRUE(apic_.is_addressed_by(0xff, Logical));
    enable_x2apic();
    EXPECT_TRUE(apic_.is_addressed_by(0x30, Logical));
    EXPECT_FALSE(apic_.is_addressed_by(0x10020, Logical));
    EXPECT_TRUE(apic_.is_addressed_by(5, Physical));
}

TEST_F(LocalApicTest, InitKeepsTheModeAndLosesTheRest) {
    enable_x2apic();
    edge(0x40);
    apic_.set_cr8(3);
    apic_.init();
    EXPECT_TRUE(apic_.is_x2apic());
    EXPECT_FALSE(apic_.has_deliverable());
    EXPECT_EQ(apic_.cr8(), 0);
    EXPECT_FALSE(apic_.is_software_enabled());
    apic_.reset();
    EXPECT_FALSE(apic_.is_x2apic());
}

TEST_F(LocalApicTest, OddAccessesAreHarmless) {
    EXPECT_EQ(apic_.read(0x31, 1) & 0xff, 0x00u);
    EXPECT_EQ(apic_.read(0x32, 1) & 0xff, 0x05u);
    EXPECT_EQ(apic_.read(0x34, 4), 0u);
    apic_.write(0x84, 4, 0xff);
    apic_.write(0x80, 1, 0xff);
    EXPECT_EQ(read(ApicRegister::TPR), 0u);
    apic_.write(0x80, 8, 0x1'0000'0020);
    EXPECT_EQ(read(ApicRegister::TPR), 0x20u);
    EXPECT_EQ(apic_.read(0x1000, 4), ~std::uint64_t{0});
}

}  // namespace
}  // namespace undercroft
