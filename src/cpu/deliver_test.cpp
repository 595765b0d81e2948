// SPDX-License-Identifier: Apache-2.0
// One test per branch of interrupt and exception delivery in long mode.
#include "cpu/test_machine.hpp"

namespace undercroft::test {
namespace {

constexpr Trap external(unsigned vector) {
    return {.vector = static_cast<Vector>(vector), .kind = TrapKind::ExternalInterrupt};
}
constexpr Trap software(unsigned vector, std::uint64_t next = CpuTest::rip + 2) {
    return {.vector = static_cast<Vector>(vector), .kind = TrapKind::SoftwareInterrupt, .return_rip = next};
}

using Deliver = CpuTest;

TEST_F(Deliver, SameLevelPushesTheWholeFrameOnAnAlignedStack) {
    vcpu.reg(Gpr::Rsp) = kernel_stack - 0x805;
    vcpu.set_rflags(RFLAGS::Fixed | RFLAGS::IF | RFLAGS::TF | RFLAGS::NT | RFLAGS::AC | RFLAGS::CF);
    std::uint64_t flags = vcpu.rflags();
    deliver(vcpu, external(0x40));
    EXPECT_EQ(vcpu.rip, handler_of(0x40));
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), ((kernel_stack - 0x805) & ~15ull) - 40);
    EXPECT_EQ(pushed(0), rip);
    EXPECT_EQ(pushed(1), kernel_code);
    EXPECT_EQ(pushed(2), flags);
    EXPECT_EQ(pushed(3), kernel_stack - 0x805);
    EXPECT_EQ(pushed(4), kernel_data);
    EXPECT_EQ(vcpu.rflags(), RFLAGS::Fixed | RFLAGS::AC | RFLAGS::CF) << "IF, TF, NT are clear; AC stays";
    EXPECT_EQ(vcpu.seg(SegmentName::SS).selector, kernel_data) << "SS changes with CPL only";
}

TEST_F(Deliver, TrapGateLeavesInterruptsOn) {
    set_gate(0x40, 15);
    deliver(vcpu, external(0x40));
    EXPECT_EQ(vcpu.interrupt_flag, 1);
}

TEST_F(Deliver, FromUserSwitchesToTheStackOfTheTss) {
    become_user();
    std::uint64_t user_rsp = vcpu.reg(Gpr::Rsp);
    deliver(vcpu, Trap::page_fault(0x1234, 7));
    expect_at_handler(Vector::PF);
    EXPECT_EQ(vcpu.cpl, 0);
    EXPECT_EQ(vcpu.cr2, 0x1234u);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), kernel_stack - 48);
    EXPECT_EQ(pushed(0), 7u) << "the error code";
    EXPECT_EQ(pushed(1), rip);
    EXPECT_EQ(pushed(2), user_code);
    EXPECT_EQ(pushed(3), RFLAGS::Fixed | RFLAGS::IF | RFLAGS::RF) << "faults push RF";
    EXPECT_EQ(pushed(4), user_rsp);
    EXPECT_EQ(pushed(5), user_data);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).selector, kernel_code);
    EXPECT_TRUE(vcpu.code_64bit());
    EXPECT_EQ(vcpu.seg(SegmentName::SS).selector, 0) << "null, with the new CPL as RPL";
}

TEST_F(Deliver, FromCompatibilityMode) {
    become_user32();
    deliver(vcpu, external(0x40));
    EXPECT_TRUE(vcpu.code_64bit());
    EXPECT_EQ(pushed(1), user_code32);
}

TEST_F(Deliver, IstSwitchesStacksAtAnyLevel) {
    set_gate(2, 14, 0, 1);
    deliver(vcpu, external(2));
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), ist_stack - 40);
    EXPECT_EQ(pushed(3), kernel_stack - 0x800);
}

TEST_F(Deliver, ConformingHandlerStaysAtItsLevel) {
    become_user();
    set_gate(0x40, 14, 0, 0, conforming);
    deliver(vcpu, external(0x40));
    EXPECT_EQ(vcpu.rip, handler_of(0x40));
    EXPECT_EQ(vcpu.cpl, 3);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).selector, conforming | 3);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), user_stack - 0x800 - 40);
}

TEST_F(Deliver, SoftwareInterruptPushesTheNextRip) {
    become_user();
    set_gate(0x80, 14, 3);
    deliver(vcpu, software_interrupt(vcpu, static_cast<Vector>(0x80), rip + 2));
    EXPECT_EQ(vcpu.rip, handler_of(0x80));
    EXPECT_EQ(pushed(0), rip + 2);
    EXPECT_EQ(pushed(2) & RFLAGS::RF, 0u);
}

TEST_F(Deliver, SoftwareInterruptMayNotEnterAMorePrivilegedGate) {
    become_user();
    deliver(vcpu, software(0x80));
    expect_at_handler(Vector::GP);
    EXPECT_EQ(pushed(0), 0x80u * 8 + 2) << "no EXT: the program asked for it";
    EXPECT_EQ(pushed(1), rip) << "a fault of the INT instruction";
}

TEST_F(Deliver, SoftwareInterrupt14IsNoPageFault) {
    vcpu.cr2 = 5;
    deliver(vcpu, software(14));
    EXPECT_EQ(vcpu.cr2, 5u);
    EXPECT_EQ(pushed(0), rip + 2) << "no error code";
}

TEST_F(Deliver, DebugNotesItsCauseInDr6) {
    vcpu.debug.dr6 = 0xffff0ff0 | 0x400f;
    vcpu.debug.dr7 |= 1u << 13;
    deliver(vcpu, {.vector = Vector::DB, .kind = TrapKind::Fault, .address = 2});
    EXPECT_EQ(vcpu.debug.dr6, 0xffff0ff0u | 0x4000 | 2) << "BS stays, B0..B3 are new";
    EXPECT_EQ(vcpu.debug.dr7, 0x400u) << "GD is cleared";
    EXPECT_EQ(pushed(2) & RFLAGS::RF, 0u) << "an instruction breakpoint does not push RF";
}

TEST_F(Deliver, EndsShadowAndHalt) {
    vcpu.interrupt_shadow = 1;
    vcpu.activity = Activity::Halted;
    deliver(vcpu, external(0x40));
    EXPECT_EQ(vcpu.interrupt_shadow, 0);
    EXPECT_EQ(vcpu.activity, Activity::Running);
}

TEST_F(Deliver, SetsTheAccessedBitOfTheHandlersSegment) {
    descriptor(kernel_code) = flat(0x9a, code64_flags);
    deliver(vcpu, external(0x40));
    EXPECT_EQ(descriptor(kernel_code), flat(0x9b, code64_flags));
    EXPECT_EQ(vcpu.seg(SegmentName::CS).attributes & 0xff, 0x9b);
}

// Every malformed gate, with the exception and error code that it gives to an external interrupt.
struct Bad {
    const char* what;
    void (*break_it)(CpuTest&);
    Vector vector;
    std::uint32_t error;
};

void PrintTo(const Bad& bad, std::ostream* out) { *out << bad.what; }

class BadGate : public CpuTest, public ::testing::WithParamInterface<Bad> {};

TEST_P(BadGate, Raises) {
    GetParam().break_it(*this);
    deliver(vcpu, external(0x40));
    EXPECT_EQ(vcpu.activity, Activity::Running);
    expect_at_handler(GetParam().vector);
    EXPECT_EQ(pushed(0), GetParam().error);
    EXPECT_EQ(pushed(1), rip);
    EXPECT_EQ(pushed(2), kernel_code);
}

constexpr std::uint64_t gate40 = CpuTest::idt + 0x40 * 16;

const Bad bad_gates[] = {
    Bad{"beyond the limit", [](CpuTest& t) { t.vcpu.idtr.limit = 0x40 * 16 + 14; }, Vector::GP, 0x203},
    Bad{"call gate", [](CpuTest& t) { t.set_gate(0x40, 12); }, Vector::GP, 0x203},
    Bad{"task gate", [](CpuTest& t) { t.set_gate(0x40, 5); }, Vector::GP, 0x203},
    Bad{"type with S", [](CpuTest& t) { t.word(gate40) |= 1ull << 44; }, Vector::GP, 0x203},
    Bad{"absent", [](CpuTest& t) { t.word(gate40) &= ~(1ull << 47); }, Vector::NP, 0x203},
    Bad{"null segment", [](CpuTest& t) { t.set_gate(0x40, 14, 0, 0, 0); }, Vector::GP, 1},
    Bad{"segment beyond the GDT", [](CpuTest& t) { t.set_gate(0x40, 14, 0, 0, gdt_size); }, Vector::GP,
        gdt_size | 1},
    Bad{"segment in no LDT", [](CpuTest& t) { t.set_gate(0x40, 14, 0, 0, 0xc); }, Vector::GP, 0xd},
    Bad{"data segment", [](CpuTest& t) { t.set_gate(0x40, 14, 0, 0, kernel_data); }, Vector::GP,
        kernel_data | 1},
    Bad{"less privileged segment", [](CpuTest& t) { t.set_gate(0x40, 14, 0, 0, user_code); }, Vector::GP,
        0x29},
    Bad{"32-bit segment", [](CpuTest& t) { t.set_gate(0x40, 14, 0, 0, kernel_code32); }, Vector::GP,
        kernel_code32 | 1},
    Bad{"absent segment",
        [](CpuTest& t) {
            t.descriptor(spare) = flat(0x1b, code64_flags);
            t.set_gate(0x40, 14, 0, 0, spare);
        },
        Vector::NP, spare | 1},
    Bad{"IST beyond the TSS",
        [](CpuTest& t) {
            t.set_gate(0x40, 14, 0, 1);
            t.vcpu.tr.limit = 42;
        },
        Vector::TS, task | 1},
    Bad{"non-canonical handler", [](CpuTest& t) { t.word(gate40 + 8) = 0x8000; }, Vector::GP, 1},
    Bad{"non-canonical stack",
        [](CpuTest& t) {
            t.set_gate(0x40, 14, 0, 1);
            t.set_stack(36, 0x0000'8000'0000'1000);
        },
        Vector::SS, 1},
    Bad{"unmapped stack",
        [](CpuTest& t) {
            t.set_gate(0x40, 14, 0, 1);
            t.set_stack(36, 0x200000 + 0x1000);
        },
        Vector::PF, PageFault::W}};

INSTANTIATE_TEST_SUITE_P(All, BadGate, ::testing::ValuesIn(bad_gates));

TEST_F(Deliver, PageFaultOnTheStackNamesTheFirstPush) {
    set_gate(0x40, 14, 0, 1);
    set_stack(36, ist_stack + 0x10);  // SS and RSP in one page, the rest below
    unmap(ist_stack - 0x1000);
    deliver(vcpu, external(0x40));
    expect_at_handler(Vector::PF);
    EXPECT_EQ(vcpu.cr2, ist_stack - 8);
}

TEST_F(Deliver, BenignThenFaultIsServedInTurn) {
    set_gate(6, 12);
    deliver(vcpu, Trap::fault(Vector::UD));
    expect_at_handler(Vector::GP);
    EXPECT_EQ(pushed(0), 6u * 8 + 3);
}

TEST_F(Deliver, ContributoryTwiceIsADoubleFault) {
    set_gate(13, 12);
    vcpu.idtr.limit = 0xfff;
    deliver(vcpu, Trap::fault(Vector::GP, 0));
    expect_at_handler(Vector::DF);
    EXPECT_EQ(pushed(0), 0u);
    EXPECT_EQ(pushed(1), rip);
}

TEST_F(Deliver, PageFaultThenContributoryIsADoubleFault) {
    set_gate(14, 12);
    deliver(vcpu, Trap::page_fault(0x777, 0));
    expect_at_handler(Vector::DF);
}

TEST_F(Deliver, PageFaultTwiceIsADoubleFault) {
    set_gate(14, 14, 0, 1);
    set_stack(36, 0x201000);
    deliver(vcpu, Trap::page_fault(0x777, 0));
    expect_at_handler(Vector::DF);
    EXPECT_EQ(vcpu.cr2, 0x201000u - 8) << "the second fault's address";
}

TEST_F(Deliver, ContributoryThenPageFaultIsServedInTurn) {
    set_gate(13, 14, 0, 1);
    set_stack(36, 0x201000);
    deliver(vcpu, Trap::fault(Vector::GP, 0));
    expect_at_handler(Vector::PF);
}

TEST_F(Deliver, FaultDuringADoubleFaultShutsDown) {
    set_gate(14, 12);
    set_gate(8, 12);
    deliver(vcpu, Trap::page_fault(0x777, 0));
    EXPECT_EQ(vcpu.activity, Activity::Shutdown);
    EXPECT_NE(vcpu.attention.load(), 0u);
    EXPECT_EQ(attend(vcpu), Attended::Shutdown);
    ASSERT_EQ(environment.reports.size(), 1u);
    EXPECT_EQ(environment.reports[0].first, Unusual::TripleFault);
}

TEST_F(Deliver, SmapDoesNotLetTheFrameOntoUserPages) {
    vcpu.paging.cr4 |= CR4::SMAP;
    mmu.flush_all();
    set_gate(0x40, 14, 0, 1);
    set_stack(36, user_stack);
    vcpu.system_flags |= RFLAGS::AC;
    deliver(vcpu, external(0x40));
    expect_at_handler(Vector::PF);
}

}  // namespace
}  // namespace undercroft::test
