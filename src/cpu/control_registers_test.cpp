// SPDX-License-Identifier: Apache-2.0
// Control and debug registers, XCR0.
#include "cpu/test_machine.hpp"

namespace undercroft::test {
namespace {

class Control : public CpuTest {
public:
    void refuses_write(unsigned number, std::uint64_t value) {
        refuses(Vector::GP, 0, [&] { return write_control(vcpu, number, value, trap); });
    }
    std::uint64_t read(unsigned number) {
        std::uint64_t value = 0;
        EXPECT_TRUE(read_control(vcpu, number, value, trap));
        return value;
    }
    // Whether the address's translation is still in the software TLB.
    bool cached(std::uint64_t address) {
        return vcpu.tlb.entry(vcpu.system_access_mode(), address).read_tag == address;
    }
    // The software TLB holds pages with a frame of their own.
    void touch(std::uint64_t address) {
        memory->writable(GuestPhysical{address});
        Translation out;
        // Gets a frame: reads of a page without one are not kept.
        ASSERT_NE(memory->writable(GuestPhysical{address}), nullptr);
        ASSERT_TRUE(mmu.translate(GuestVirtual{address}, Access::Read, vcpu.system_access_mode(), out, trap));
        ASSERT_TRUE(cached(address));
    }
};

TEST_F(Control, NumbersAndPrivilege) {
    for (unsigned number : {1u, 5u, 7u, 9u, 15u}) {
        std::uint64_t value = 0;
        refuses(Vector::UD, {}, [&] { return read_control(vcpu, number, value, trap); });
        refuses(Vector::UD, {}, [&] { return write_control(vcpu, number, 0, trap); });
    }
    become_user();
    for (unsigned number : {0u, 2u, 3u, 4u, 8u}) {
        std::uint64_t value = 0;
        refuses(Vector::GP, 0, [&] { return read_control(vcpu, number, value, trap); });
        refuses_write(number, 0);
    }
    refuses(Vector::GP, 0, [&] { return clts(vcpu, trap); });
    refuses(Vector::GP, 0, [&] { return lmsw(vcpu, 1, trap); });
    refuses(Vector::GP, 0, [&] { return invlpg(vcpu, 0, trap); });
    refuses(Vector::GP, 0, [&] { return wbinvd(vcpu, trap); });
}

TEST_F(Control, Cr0) {
    std::uint64_t cr0 = read(0);
    refuses_write(0, cr0 | 1ull << 32);
    refuses_write(0, cr0 & ~CR0::PE);              // PG without PE
    refuses_write(0, cr0 | CR0::NW);               // NW without CD
    refuses_write(0, cr0 & ~(CR0::PG | CR0::PE));  // leaving long mode from 64-bit code
    ASSERT_TRUE(write_control(vcpu, 0, (cr0 | CR0::TS | 1u << 10) & ~CR0::ET, trap));
    EXPECT_EQ(read(0), cr0 | CR0::TS) << "ET is one, reserved bits stay zero";
    ASSERT_TRUE(clts(vcpu, trap));
    EXPECT_EQ(read(0), cr0);
    ASSERT_TRUE(lmsw(vcpu, CR0::MP | CR0::TS, trap));
    EXPECT_EQ(read(0), cr0 | CR0::MP | CR0::TS) << "PE stays";
}

TEST_F(Control, Cr0WpFlushes) {
    touch(0x5000);
    ASSERT_TRUE(write_control(vcpu, 0, read(0) | CR0::TS, trap));
    EXPECT_TRUE(cached(0x5000));
    ASSERT_TRUE(write_control(vcpu, 0, read(0) & ~CR0::WP, trap));
    EXPECT_FALSE(cached(0x5000));
}

TEST_F(Control, IntoAndOutOfLongMode) {
    enter_legacy(CR0::PE | CR0::ET);
    refuses_write(0, CR0::PE | CR0::PG);  // LME clear: left out
    vcpu.paging.efer |= EFER::LME;
    vcpu.paging.cr4 = 0;
    refuses_write(0, CR0::PE | CR0::PG);  // no PAE
    vcpu.paging.cr4 = CR4::PAE;
    vcpu.seg(SegmentName::CS).attributes |= 0x2000;
    refuses_write(0, CR0::PE | CR0::PG);  // CS.L
    vcpu.seg(SegmentName::CS).attributes &= 0xdfff;
    vcpu.tr.attributes = 0x83;
    refuses_write(0, CR0::PE | CR0::PG);  // 16-bit TSS
    vcpu.tr.attributes = 0x8b;
    ASSERT_TRUE(write_control(vcpu, 0, CR0::PE | CR0::PG, trap));
    EXPECT_TRUE(vcpu.long_mode());
    EXPECT_FALSE(vcpu.code_64bit());
    refuses_write(4, 0);  // PAE may not go now
    ASSERT_TRUE(write_control(vcpu, 4, CR4::PAE | CR4::PCIDE, trap));
    refuses_write(0, CR0::PE);
    ASSERT_TRUE(write_control(vcpu, 4, CR4::PAE, trap));
    ASSERT_TRUE(write_control(vcpu, 0, CR0::PE, trap));
    EXPECT_FALSE(vcpu.long_mode());
    EXPECT_NE(vcpu.paging.efer & EFER::LME, 0u);
    refuses_write(4, CR4::PAE | CR4::PCIDE);
}

TEST_F(Control, Cr3) {
    refuses_write(3, tables | 1ull << physical_address_bits);
    refuses_write(3, tables | 1ull << 63);
    touch(0x5000);
    page_entry(0x6000) |= PageEntry::G;
    touch(0x6000);
    ASSERT_TRUE(write_control(vcpu, 3, tables | 0x18, trap));
    EXPECT_EQ(read(3), tables | 0x18);
    EXPECT_FALSE(cached(0x5000));
    EXPECT_TRUE(cached(0x6000)) << "global";
    ASSERT_TRUE(invlpg(vcpu, 0x6000, trap));
    EXPECT_FALSE(cached(0x6000));
    ASSERT_TRUE(invlpg(vcpu, 1ull << 47, trap)) << "non-canonical: nothing";
}

TEST_F(Control, ProcessContexts) {
    constexpr std::uint64_t keep = 1ull << 63;
    std::uint64_t cr4 = read(4);
    ASSERT_TRUE(write_control(vcpu, 3, tables | 8, trap));
    refuses_write(4, cr4 | CR4::PCIDE);  // low bits
    ASSERT_TRUE(write_control(vcpu, 3, tables, trap));
    ASSERT_TRUE(write_control(vcpu, 4, cr4 | CR4::PCIDE, trap));
    ASSERT_TRUE(write_control(vcpu, 3, tables | 1, trap));
    touch(0x5000);
    ASSERT_TRUE(write_control(vcpu, 3, tables | 2 | keep, trap));
    EXPECT_EQ(read(3), tables | 2);
    EXPECT_FALSE(cached(0x5000));
    ASSERT_TRUE(write_control(vcpu, 3, tables | 1 | keep, trap));
    EXPECT_TRUE(cached(0x5000));
    ASSERT_TRUE(write_control(vcpu, 3, tables | 2, trap));
    ASSERT_TRUE(write_control(vcpu, 3, tables | 1, trap));
    EXPECT_FALSE(cached(0x5000));
    for (std::uint64_t wrong : {1ull << 62, 1ull << physical_address_bits, keep | 1ull << 62})
        refuses_write(3, tables | wrong);
    touch(0x5000);
    ASSERT_TRUE(write_control(vcpu, 4, cr4 | CR4::PCIDE, trap)) << "low bits do not matter any more";
    EXPECT_TRUE(cached(0x5000));
    page_entry(0x6000) |= PageEntry::G;
    touch(0x6000);
    ASSERT_TRUE(write_control(vcpu, 4, cr4, trap));
    EXPECT_FALSE(cached(0x5000));
    EXPECT_FALSE(cached(0x6000));
}

TEST_F(Control, Invpcid) {
    enum Type : std::uint64_t { OnePage, OneSpace, Everything, AllButGlobal };
    auto refuses_operands = [&](std::uint64_t type, InvpcidDescriptor descriptor) {
        refuses(Vector::GP, 0, [&] { return invpcid(vcpu, type, descriptor, trap); });
    };
    refuses_operands(4, {});
    refuses_operands(1ull << 32, {});
    refuses_operands(Everything, {.pcid = 0x1000});
    refuses_operands(OnePage, {.address = 1ull << 47});
    refuses_operands(OnePage, {.pcid = 1});  // without PCIDE
    refuses_operands(OneSpace, {.pcid = 1});
    page_entry(0x6000) |= PageEntry::G;
    auto cached_after = [&](std::uint64_t type, InvpcidDescriptor descriptor) {
        touch(0x5000);
        touch(0x6000);
        EXPECT_TRUE(invpcid(vcpu, type, descriptor, trap));
        return (cached(0x5000) ? 1 : 0) + (cached(0x6000) ? 2 : 0);
    };
    EXPECT_EQ(cached_after(OneSpace, {}), 2);
    ASSERT_TRUE(write_control(vcpu, 4, read(4) | CR4::PCIDE, trap));
    ASSERT_TRUE(write_control(vcpu, 3, tables | 5, trap));
    EXPECT_EQ(cached_after(OnePage, {.pcid = 5, .address = 0x5123}), 2);
    EXPECT_EQ(cached_after(OnePage, {.pcid = 5, .address = 0x7000}), 3);
    EXPECT_EQ(cached_after(OneSpace, {.pcid = 5, .address = 1ull << 47}), 2);
    EXPECT_EQ(cached_after(OneSpace, {.pcid = 6}), 3);
    EXPECT_EQ(cached_after(Everything, {.pcid = 6}), 0);
    EXPECT_EQ(cached_after(AllButGlobal, {.pcid = 6}), 2);
    become_user();
    refuses_operands(Everything, {});
}

TEST_F(Control, Cr4) {
    std::uint64_t cr4 = read(4);
    for (std::uint64_t hidden : {CR4::VME, CR4::PVI, CR4::MCE, CR4::LA57}) refuses_write(4, cr4 | hidden);
    refuses_write(4, cr4 | 1ull << 40);
    refuses_write(4, cr4 & ~CR4::PAE);
    touch(0x5000);
    ASSERT_TRUE(write_control(vcpu, 4, cr4 | CR4::OSFXSR | CR4::FSGSBASE | CR4::UMIP, trap));
    EXPECT_TRUE(cached(0x5000));
    for (std::uint64_t bit : {CR4::SMEP, CR4::PSE, CR4::PGE}) {
        touch(0x5000);
        ASSERT_TRUE(write_control(vcpu, 4, read(4) ^ bit, trap));
        EXPECT_FALSE(cached(0x5000)) << bit;
    }
}

TEST_F(Control, Cr2AndCr8) {
    ASSERT_TRUE(write_control(vcpu, 2, ~0ull, trap));
    EXPECT_EQ(read(2), ~0ull);
    ASSERT_TRUE(write_control(vcpu, 8, 7, trap));
    EXPECT_EQ(environment.priority, 7);
    EXPECT_EQ(read(8), 7u);
    refuses_write(8, 16);
}

TEST_F(Control, DebugRegisters) {
    std::uint64_t value = 0;
    ASSERT_TRUE(write_debug(vcpu, 2, 0x1234, trap));
    ASSERT_TRUE(read_debug(vcpu, 2, value, trap));
    EXPECT_EQ(value, 0x1234u);
    ASSERT_TRUE(write_debug(vcpu, 4, 0, trap)) << "DR4 is DR6 while CR4.DE is clear";
    ASSERT_TRUE(read_debug(vcpu, 6, value, trap));
    EXPECT_EQ(value, 0xffff0ff0u);
    ASSERT_TRUE(write_debug(vcpu, 5, 0xffffdfff, trap));
    ASSERT_TRUE(read_debug(vcpu, 7, value, trap));
    EXPECT_EQ(value, 0xffff07ffu);
    refuses(Vector::GP, 0, [&] { return write_debug(vcpu, 7, 1ull << 32, trap); });
    refuses(Vector::GP, 0, [&] { return write_debug(vcpu, 6, 1ull << 32, trap); });
    refuses(Vector::UD, {}, [&] { return read_debug(vcpu, 8, value, trap); });
    vcpu.paging.cr4 |= CR4::DE;
    refuses(Vector::UD, {}, [&] { return read_debug(vcpu, 4, value, trap); });
    become_user();
    refuses(Vector::GP, 0, [&] { return write_debug(vcpu, 0, 0, trap); });
}

TEST_F(Control, GeneralDetect) {
    std::uint64_t value = 0;
    vcpu.debug.dr7 |= 1u << 13;
    refuses(Vector::DB, {}, [&] { return read_debug(vcpu, 0, value, trap); });
    EXPECT_EQ(trap.address, 1u << 13);
    deliver(vcpu, trap);
    EXPECT_EQ(vcpu.debug.dr6 & 0xe00f, 1u << 13);
    EXPECT_NE(pushed(2) & RFLAGS::RF, 0u);
    EXPECT_TRUE(read_debug(vcpu, 0, value, trap)) << "delivery cleared GD";
}

TEST_F(Control, Xcr0) {
    auto set = [&](std::uint64_t value, std::uint32_t index = 0) {
        vcpu.reg(Gpr::Rcx) = index;
        vcpu.reg(Gpr::Rax) = value & 0xffffffff;
        vcpu.reg(Gpr::Rdx) = value >> 32;
        return xsetbv(vcpu, trap);
    };
    refuses(Vector::UD, {}, [&] { return xgetbv(vcpu, trap); });
    refuses(Vector::UD, {}, [&] { return xsetbv(vcpu, trap); });
    vcpu.paging.cr4 |= CR4::OSXSAVE;
    ASSERT_TRUE(set(7));
    ASSERT_TRUE(xgetbv(vcpu, trap));
    EXPECT_EQ(vcpu.reg(Gpr::Rax), 7u);
    for (std::uint64_t bad : {0ull, 2ull, 5ull, 0xfull, 1ull << 63 | 1}) EXPECT_FALSE(set(bad)) << bad;
    EXPECT_FALSE(set(7, 1));
    EXPECT_EQ(vcpu.xcr0, 7u);
    vcpu.reg(Gpr::Rcx) = 1;
    refuses(Vector::GP, 0, [&] { return xgetbv(vcpu, trap); });
    vcpu.reg(Gpr::Rcx) = 0;
    become_user();
    refuses(Vector::GP, 0, [&] { return xsetbv(vcpu, trap); });
    EXPECT_TRUE(xgetbv(vcpu, trap));
}

TEST_F(Control, VectorUnits) {
    auto may = [&](VectorUnit unit) { return may_use_vector_unit(vcpu, unit, trap); };
    refuses(Vector::UD, {}, [&] { return may(VectorUnit::Sse); });
    vcpu.paging.cr4 |= CR4::OSFXSR;
    EXPECT_TRUE(may(VectorUnit::X87) && may(VectorUnit::Mmx) && may(VectorUnit::Sse) &&
                may(VectorUnit::Wait));
    refuses(Vector::UD, {}, [&] { return may(VectorUnit::Avx); });
    vcpu.paging.cr4 |= CR4::OSXSAVE;
    refuses(Vector::UD, {}, [&] { return may(VectorUnit::Avx); });
    vcpu.xcr0 = 7;
    EXPECT_TRUE(may(VectorUnit::Avx));
    vcpu.paging.cr0 |= CR0::TS;
    for (VectorUnit unit : {VectorUnit::X87, VectorUnit::Mmx, VectorUnit::Sse, VectorUnit::Avx}) {
        refuses(Vector::NM, {}, [&] { return may(unit); });
    }
    EXPECT_TRUE(may(VectorUnit::Wait)) << "FWAIT asks for MP, too";
    vcpu.paging.cr0 |= CR0::MP;
    refuses(Vector::NM, {}, [&] { return may(VectorUnit::Wait); });
    vcpu.paging.cr0 = (vcpu.paging.cr0 & ~(CR0::TS | CR0::MP)) | CR0::EM;
    refuses(Vector::NM, {}, [&] { return may(VectorUnit::X87); });
    refuses(Vector::UD, {}, [&] { return may(VectorUnit::Mmx); });
    refuses(Vector::UD, {}, [&] { return may(VectorUnit::Sse); });
}

}  // namespace
}  // namespace undercroft::test
