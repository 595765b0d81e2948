// SPDX-License-Identifier: Apache-2.0
#include "device/interrupt_routing.hpp"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace undercroft {
namespace {

class RoutingTest : public testing::Test {
protected:
    RoutingTest() {
        for (LocalApic* apic : apics_) apic->write(0xf0, 4, 0x1ff);
    }
    template <class Message>
    std::vector<std::uint32_t> targets(const Message& message) {
        std::vector<std::uint32_t> ids;
        route(apics_, message, [&](LocalApic& apic) { ids.push_back(apic.id()); });
        return ids;
    }
    using Ids = std::vector<std::uint32_t>;

    FakeClock clock_;
    LocalApic a_{0, ProcessorRole::Bootstrap, clock_, {}};
    LocalApic b_{1, ProcessorRole::Application, clock_, {}};
    LocalApic c_{2, ProcessorRole::Application, clock_, {}};
    std::array<LocalApic*, 3> apics_{&a_, &b_, &c_};
};

TEST_F(RoutingTest, Destinations) {
    EXPECT_EQ(targets(InterruptMessage{.destination = 1}), Ids{1});
    EXPECT_EQ(targets(InterruptMessage{.destination = 9}), Ids{});
    EXPECT_EQ(targets(InterruptMessage{.destination = broadcast_destination}), (Ids{0, 1, 2}));
    EXPECT_EQ(targets(Ipi{.message = {.destination = 2}, .source = 2}), Ids{2});
}

TEST_F(RoutingTest, Shorthands) {
    EXPECT_EQ(targets(Ipi{.shorthand = Shorthand::Self, .source = 1}), Ids{1});
    EXPECT_EQ(targets(Ipi{.shorthand = Shorthand::AllIncludingSelf, .source = 1}), (Ids{0, 1, 2}));
    EXPECT_EQ(targets(Ipi{.shorthand = Shorthand::AllExcludingSelf, .source = 1}), (Ids{0, 2}));
    b_.write_msr(0x1b, 0xfee00000);  // off
    EXPECT_EQ(targets(Ipi{.shorthand = Shorthand::AllIncludingSelf, .source = 0}), (Ids{0, 2}));
}

TEST_F(RoutingTest, LowestPriorityHasOneTarget) {
    InterruptMessage message{.destination = broadcast_destination,
                             .delivery_mode = DeliveryMode::LowestPriority};
    EXPECT_EQ(targets(message), Ids{0});
    a_.set_cr8(2);
    b_.set_cr8(1);
    EXPECT_EQ(targets(message), Ids{2});
    c_.accept(0x40, TriggerMode::Edge);
    c_.acknowledge();
    EXPECT_EQ(targets(message), Ids{1});
    b_.write(0xf0, 4, 0xff);  // software-disabled
    EXPECT_EQ(targets(message), Ids{0});
}

}  // namespace
}  // namespace undercroft
