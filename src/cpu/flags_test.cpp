// SPDX-License-Identifier: Apache-2.0
// CLI, STI, POPF and kin at every CPL and IOPL; ports.
#include "cpu/test_machine.hpp"

namespace undercroft::test {
namespace {

class Flags : public CpuTest {
public:
    void at(unsigned cpl, unsigned iopl) {
        vcpu.cpl = static_cast<std::uint8_t>(cpl);
        vcpu.set_rflags(RFLAGS::Fixed | std::uint64_t{iopl} << 12);
    }
};

TEST_F(Flags, CliAndStiByIopl) {
    for (unsigned cpl = 0; cpl < 4; ++cpl) {
        for (unsigned iopl = 0; iopl < 4; ++iopl) {
            at(cpl, iopl);
            vcpu.interrupt_shadow = 0;
            if (cpl > iopl) {
                refuses(Vector::GP, 0, [&] { return cli(vcpu, trap); });
                refuses(Vector::GP, 0, [&] { return sti(vcpu, trap); });
                continue;
            }
            ASSERT_TRUE(sti(vcpu, trap));
            EXPECT_EQ(vcpu.interrupt_flag, 1);
            EXPECT_EQ(vcpu.interrupt_shadow, 1);
            vcpu.interrupt_shadow = 0;
            ASSERT_TRUE(sti(vcpu, trap));
            EXPECT_EQ(vcpu.interrupt_shadow, 0) << "no shadow when IF was set";
            ASSERT_TRUE(cli(vcpu, trap));
            EXPECT_EQ(vcpu.interrupt_flag, 0);
        }
    }
}

// What POPF changes, at each CPL, IOPL and operand size.
TEST_F(Flags, Popf) {
    constexpr std::uint64_t always = RFLAGS::Arithmetic | RFLAGS::TF | RFLAGS::DF | RFLAGS::NT;
    for (OperandSize size : {OperandSize::Word, OperandSize::Dword, OperandSize::Qword}) {
        for (unsigned cpl = 0; cpl < 4; ++cpl) {
            for (unsigned iopl = 0; iopl < 4; ++iopl) {
                std::uint64_t mask = always;
                if (size != OperandSize::Word) mask |= RFLAGS::AC | RFLAGS::ID;
                if (cpl <= iopl) mask |= RFLAGS::IF;
                if (cpl == 0) mask |= RFLAGS::IOPL;
                at(cpl, iopl);
                std::uint64_t before = vcpu.rflags();
                ASSERT_TRUE(popf(vcpu, ~0ull, size, trap));
                EXPECT_EQ(vcpu.rflags(), before | mask) << cpl << ' ' << iopl;
                std::uint64_t others = RFLAGS::VIF | RFLAGS::VIP | RFLAGS::RF;
                vcpu.set_rflags(RFLAGS::Fixed | std::uint64_t{iopl} << 12 | others | mask);
                before = vcpu.rflags();
                mask = (mask & ~RFLAGS::IOPL) | (cpl == 0 ? RFLAGS::IOPL : 0);
                bool may_clear_if = cpl <= vcpu.iopl();
                if (!may_clear_if) mask &= ~RFLAGS::IF;
                ASSERT_TRUE(popf(vcpu, 0, size, trap));
                EXPECT_EQ(vcpu.rflags(), (before & ~mask & ~RFLAGS::RF) | RFLAGS::Fixed)
                    << cpl << ' ' << iopl;
            }
        }
    }
}

TEST_F(Flags, PushfHidesVmAndRf) {
    std::uint64_t value = 0;
    vcpu.set_rflags(~0ull);
    ASSERT_TRUE(pushf_value(vcpu, OperandSize::Qword, value, trap));
    EXPECT_EQ(value, 0x3f7fd7u & ~(RFLAGS::VM | RFLAGS::RF));
    ASSERT_TRUE(pushf_value(vcpu, OperandSize::Word, value, trap));
    EXPECT_EQ(value, 0x7fd7u);
}

TEST_F(Flags, ClacAndStac) {
    ASSERT_TRUE(stac(vcpu, trap));
    EXPECT_NE(vcpu.system_flags & RFLAGS::AC, 0u);
    ASSERT_TRUE(clac(vcpu, trap));
    EXPECT_EQ(vcpu.system_flags & RFLAGS::AC, 0u);
    become_user();
    refuses(Vector::UD, {}, [&] { return stac(vcpu, trap); });
    refuses(Vector::UD, {}, [&] { return clac(vcpu, trap); });
}

class Ports : public CpuTest {
public:
    // A bitmap that starts at 0x68 and covers ports up to 0x3f.
    void SetUp() override {
        at<std::uint16_t>(tss + 0x66) = 0x68;
        vcpu.tr.limit = 0x68 + 8;  // one byte after the bitmap, as the manual wants
        become_user();
    }
};

TEST_F(Ports, IoplOpensAll) {
    vcpu.system_flags |= RFLAGS::IOPL;
    EXPECT_TRUE(may_use_port(vcpu, 0xffff, 1, trap));
    vcpu.system_flags &= ~RFLAGS::IOPL;
    vcpu.cpl = 0;
    EXPECT_TRUE(may_use_port(vcpu, 0xffff, 1, trap));
}

TEST_F(Ports, Bitmap) {
    at<std::uint8_t>(tss + 0x68 + 1) = 0x80;  // port 15
    EXPECT_TRUE(may_use_port(vcpu, 14, 1, trap));
    refuses(Vector::GP, 0, [&] { return may_use_port(vcpu, 15, 1, trap); });
    refuses(Vector::GP, 0, [&] { return may_use_port(vcpu, 14, 2, trap); });
    refuses(Vector::GP, 0, [&] { return may_use_port(vcpu, 12, 4, trap); });
    EXPECT_TRUE(may_use_port(vcpu, 16, 4, trap));
    EXPECT_TRUE(may_use_port(vcpu, 0x3f, 1, trap));
    refuses(Vector::GP, 0, [&] { return may_use_port(vcpu, 0x40, 1, trap); });
}

TEST_F(Ports, NoBitmap) {
    vcpu.tr.limit = 0x66;
    refuses(Vector::GP, 0, [&] { return may_use_port(vcpu, 0, 1, trap); });
    vcpu.tr.limit = 0x76;
    vcpu.tr.attributes = 0;
    refuses(Vector::GP, 0, [&] { return may_use_port(vcpu, 0, 1, trap); });
}

}  // namespace
}  // namespace undercroft::test
