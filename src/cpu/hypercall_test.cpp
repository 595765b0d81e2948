// SPDX-License-Identifier: Apache-2.0
// The hypercalls of the software-managed TLB, their refusals, and where its misses go.
#include "cpu/deliver.hpp"
#include "cpu/instructions.hpp"
#include "cpu/test_machine.hpp"
#include "x86/software_tlb.hpp"

namespace undercroft::test {
namespace {

using namespace software_tlb;

class Hypercall : public CpuTest {
public:
    static constexpr std::uint64_t next = rip + 3;
    static constexpr std::uint64_t page = 0x12345000;
    static constexpr std::uint64_t handler = window + 0x6000, stack_top = window + kernel_stack;

    void prepare(Call number, std::uint64_t rbx = 0, std::uint64_t rcx = 0, std::uint64_t rdx = 0) {
        vcpu.rip = rip;
        vcpu.reg(Gpr::Rax) = static_cast<std::uint64_t>(number);
        vcpu.reg(Gpr::Rbx) = rbx;
        vcpu.reg(Gpr::Rcx) = rcx;
        vcpu.reg(Gpr::Rdx) = rdx;
    }
    template <class... Arguments>
    bool call(Call number, Arguments... arguments) {
        prepare(number, static_cast<std::uint64_t>(arguments)...);
        return hypercall(vcpu, next, trap);
    }
    void enable() {
        ASSERT_TRUE(call(Call::Enable, window + 0x5000, handler, stack_top));
        EXPECT_EQ(vcpu.rip, window + 0x5000);
        EXPECT_EQ(vcpu.reg(Gpr::Rax), 0u);
        for (std::uint64_t* table : {&vcpu.gdtr.base, &vcpu.idtr.base, &vcpu.tr.base}) *table += window;
        set_stack(4, stack_top);
    }
    template <class... Arguments>
    void refuses_call(Call number, Arguments... arguments) {
        prepare(number, static_cast<std::uint64_t>(arguments)...);
        refuses(Vector::GP, 0, [&] { return hypercall(vcpu, next, trap); });
    }
    template <class... Arguments>
    void is_undefined(Call number, Arguments... arguments) {
        prepare(number, static_cast<std::uint64_t>(arguments)...);
        refuses(Vector::UD, std::nullopt, [&] { return hypercall(vcpu, next, trap); });
    }
    // The kernel touches a page that nobody has mapped.
    void miss() {
        std::uint8_t byte = 0;
        ASSERT_FALSE(vcpu.mmu->read(GuestVirtual{page + 9}, &byte, 1, vcpu.access_mode(), trap));
        deliver(vcpu, trap);
    }
};

TEST_F(Hypercall, UnknownUntilAskedFor) {
    for (Call number : {Call{0}, Call{1}, Call::WriteEntry, Call::FlushAll, Call::End, Call{~0ull}})
        is_undefined(number);
    become_user();
    is_undefined(Call::Enable, window + 8, handler, stack_top);
}

TEST_F(Hypercall, EnableWantsAddressesInTheWindow) {
    for (std::uint64_t bad : {std::uint64_t{0}, std::uint64_t{0x5000}, window - 8, window,
                              window + window_size, ~std::uint64_t{0}}) {
        refuses_call(Call::Enable, bad, handler, stack_top);
        refuses_call(Call::Enable, window + 0x5000, bad, stack_top);
        refuses_call(Call::Enable, window + 0x5000, handler, bad);
    }
    refuses_call(Call::Enable, window + 0x5000, handler, stack_top + 8);
    EXPECT_FALSE(vcpu.paging.software_tlb);
    enable();
    EXPECT_TRUE(vcpu.paging.software_tlb);
}

TEST_F(Hypercall, EveryReservedBitAndRangeIsRefused) {
    enable();
    std::uint64_t low = 0x40000 | EntryLo::User;
    for (unsigned bit = 8; bit < 12; bit++) refuses_call(Call::WriteEntry, page | 1u << bit, low);
    for (unsigned bit = 0; bit < 64; bit++)
        if ((EntryLo::Defined >> bit & 1) == 0) refuses_call(Call::WriteEntry, page, low | 1ull << bit);
    refuses_call(Call::WriteEntry, 0x0000800000000000, low);
    refuses_call(Call::WriteEntry, window, low);
    refuses_call(Call::WriteEntry, window + window_size - 0x1000, low);
    refuses_call(Call::FlushPage, page | 0x100);
    refuses_call(Call::SetAddressSpace, asid_count);
    refuses_call(Call::FlushAddressSpace, asid_count);
    refuses_call(Call::FlushAddressSpace, ~0ull);
    refuses_call(Call::SecondLevel, 2);
    refuses_call(Call::End);
    refuses_call(Call{0});
    EXPECT_TRUE(call(Call::WriteEntry, window + window_size, low));
    EXPECT_EQ(vcpu.rip, next);
}

TEST_F(Hypercall, ProcessesMayCallNothing) {
    enable();
    become_user();
    for (auto number = static_cast<std::uint64_t>(Call::Enable);
         number <= static_cast<std::uint64_t>(Call::End); number++)
        refuses_call(Call{number}, window + 0x5000, handler, stack_top);
}

TEST_F(Hypercall, OnlyIn64BitCode) {
    enable();
    become_user32();
    is_undefined(Call::FlushAll);
}

TEST_F(Hypercall, MissEntersTheHandlerAndItsReturnRetries) {
    enable();
    become_user();
    vcpu.interrupt_flag = 1;
    vcpu.star = std::uint64_t{kernel_code} << 32;
    std::uint64_t user_rsp = vcpu.reg(Gpr::Rsp);
    vcpu.rip = user_start;
    miss();
    EXPECT_EQ(vcpu.rip, handler);
    EXPECT_EQ(vcpu.cpl, 0);
    EXPECT_EQ(vcpu.interrupt_flag, 0);
    EXPECT_EQ(vcpu.seg(SegmentName::CS).selector, kernel_code);
    EXPECT_EQ(vcpu.cr2, page + 9);
    EXPECT_EQ(vcpu.reg(Gpr::Rsp), stack_top - 48);
    EXPECT_EQ(word(kernel_stack - 48), PageFault::U);
    EXPECT_EQ(word(kernel_stack - 40), user_start);
    EXPECT_EQ(word(kernel_stack - 16), user_rsp);
    EXPECT_EQ(vcpu.traps.tlb_miss, 1u);
    ASSERT_TRUE(call(Call::WriteEntry, page, 0x40000 | EntryLo::User));
    vcpu.reg(Gpr::Rsp) += 8;
    ASSERT_TRUE(iret(vcpu, OperandSize::Qword, trap));
    EXPECT_EQ(vcpu.rip, user_start);
    EXPECT_EQ(vcpu.cpl, 3);
    std::uint8_t byte = 0;
    word(0x40008) = 0x4200;
    ASSERT_TRUE(vcpu.mmu->read(GuestVirtual{page + 9}, &byte, 1, AccessMode::User, trap));
    EXPECT_EQ(byte, 0x42);
}

TEST_F(Hypercall, MissOfTheHandlerIsADoubleFault) {
    enable();
    vcpu.star = std::uint64_t{kernel_code} << 32;
    vcpu.rip = window + 0x5000;
    miss();
    EXPECT_EQ(vcpu.rip, handler);
    miss();
    expect_at_handler(Vector::DF);
    EXPECT_EQ(vcpu.traps.tlb_miss, 1u);
}

TEST_F(Hypercall, MissOfTheHandlerWithoutTablesShutsDown) {
    enable();
    vcpu.idtr.base = page;
    vcpu.rip = window + 0x5000;
    miss();
    miss();
    EXPECT_EQ(vcpu.activity, Activity::Shutdown);
}

TEST_F(Hypercall, ForbiddenAccessIsAPageFaultAsEver) {
    enable();
    ASSERT_TRUE(call(Call::WriteEntry, page, 0x40000 | EntryLo::User));
    std::uint8_t byte = 0;
    become_user();
    vcpu.rip = user_start;
    ASSERT_FALSE(vcpu.mmu->write(GuestVirtual{page}, &byte, 1, AccessMode::User, trap));
    EXPECT_EQ(trap.error_code, PageFault::P | PageFault::W | PageFault::U);
    deliver(vcpu, trap);
    expect_at_handler(Vector::PF);
    EXPECT_EQ(vcpu.traps.tlb_miss, 0u);
}

TEST_F(Hypercall, ResetEndsIt) {
    enable();
    reset(vcpu);
    EXPECT_FALSE(vcpu.paging.software_tlb);
    EXPECT_EQ(vcpu.miss_handler.rip, 0u);
}

}  // namespace
}  // namespace undercroft::test
