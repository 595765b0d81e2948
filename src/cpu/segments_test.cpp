// SPDX-License-Identifier: Apache-2.0
// Loads of segment, task and table registers, and the instructions that only look.
#include "cpu/test_machine.hpp"

namespace undercroft::test {
namespace {

using Segments = CpuTest;

TEST_F(Segments, NullDataSegmentsClearTheBase) {
    for (SegmentName name : {SegmentName::DS, SegmentName::ES, SegmentName::FS, SegmentName::GS}) {
        vcpu.seg(name).base = 0x1234;
        ASSERT_TRUE(load_segment(vcpu, name, 3, trap));
        EXPECT_EQ(vcpu.seg(name).selector, 3);
        EXPECT_EQ(vcpu.seg(name).base, 0u);
        EXPECT_EQ(vcpu.interrupt_shadow, 0);
    }
}

TEST_F(Segments, DataSegmentFromGdtAndLdt) {
    descriptor(spare) = 0x1200'f200'3456'0fffull | 0xffull << 56;
    ASSERT_TRUE(load_segment(vcpu, SegmentName::FS, spare | 3, trap));
    EXPECT_EQ(vcpu.seg(SegmentName::FS).base, 0xff003456u);
    EXPECT_EQ(vcpu.seg(SegmentName::FS).limit, 0xfffu);
    EXPECT_EQ(descriptor(spare) >> 40 & 0xff, 0xf3u) << "accessed";
    refuses(Vector::GP, 0xc, [&] { return load_segment(vcpu, SegmentName::FS, 0xf, trap); });
    ASSERT_TRUE(lldt(vcpu, local, trap));
    word(ldt + 8) = flat(0xf3, data_flags);
    ASSERT_TRUE(load_segment(vcpu, SegmentName::FS, 0xf, trap));
    EXPECT_EQ(vcpu.seg(SegmentName::FS).selector, 0xf);
}

TEST_F(Segments, DataSegmentRights) {
    refuses(Vector::UD, {}, [&] { return load_segment(vcpu, SegmentName::CS, kernel_code, trap); });
    refuses(Vector::GP, gdt_size, [&] { return load_segment(vcpu, SegmentName::DS, gdt_size, trap); });
    refuses(Vector::GP, task, [&] { return load_segment(vcpu, SegmentName::DS, task, trap); });
    refuses(Vector::GP, kernel_data,
            [&] { return load_segment(vcpu, SegmentName::DS, kernel_data | 3, trap); });
    descriptor(spare) = flat(0x99, code64_flags);  // execute-only
    refuses(Vector::GP, spare, [&] { return load_segment(vcpu, SegmentName::DS, spare, trap); });
    descriptor(spare) = flat(0x13, data_flags);
    refuses(Vector::NP, spare, [&] { return load_segment(vcpu, SegmentName::DS, spare, trap); });
    become_user();
    refuses(Vector::GP, kernel_data, [&] { return load_segment(vcpu, SegmentName::DS, kernel_data, trap); });
    EXPECT_TRUE(load_segment(vcpu, SegmentName::DS, conforming | 3, trap))
        << "readable, conforming: any level";
    EXPECT_TRUE(load_segment(vcpu, SegmentName::DS, user_code, trap)) << "readable code";
}

TEST_F(Segments, StackSegment) {
    ASSERT_TRUE(load_segment(vcpu, SegmentName::SS, kernel_data, trap));
    EXPECT_EQ(vcpu.interrupt_shadow, 1);
    vcpu.interrupt_shadow = 0;
    ASSERT_TRUE(load_segment(vcpu, SegmentName::SS, 0, trap)) << "null, in 64-bit code below CPL 3";
    refuses(Vector::GP, 0, [&] { return load_segment(vcpu, SegmentName::SS, 3, trap); });
    refuses(Vector::GP, kernel_data,
            [&] { return load_segment(vcpu, SegmentName::SS, kernel_data | 3, trap); });
    refuses(Vector::GP, user_data & ~3u,
            [&] { return load_segment(vcpu, SegmentName::SS, user_data & ~3, trap); });
    refuses(Vector::GP, kernel_code, [&] { return load_segment(vcpu, SegmentName::SS, kernel_code, trap); });
    refuses(Vector::GP, gdt_size, [&] { return load_segment(vcpu, SegmentName::SS, gdt_size, trap); });
    descriptor(spare) = flat(0x13, data_flags);
    refuses(Vector::SS, spare, [&] { return load_segment(vcpu, SegmentName::SS, spare, trap); });
    become_user();
    refuses(Vector::GP, 0, [&] { return load_segment(vcpu, SegmentName::SS, 3, trap); });
}

TEST_F(Segments, DescriptorOutOfMemoryIsAPageFault) {
    vcpu.gdtr.base = 0x200000;
    refuses(Vector::PF, 0, [&] { return load_segment(vcpu, SegmentName::DS, kernel_data, trap); });
}

TEST_F(Segments, Ltr) {
    vcpu.tr = {};
    word(gdt + task + 8) = 0xffff8000;
    ASSERT_TRUE(ltr(vcpu, task, trap));
    EXPECT_EQ(vcpu.tr.base, 0xffff8000'00000000 | tss);
    EXPECT_EQ(vcpu.tr.limit, 0x67u);
    EXPECT_EQ(descriptor(task) >> 40 & 0xff, 0x8bu) << "busy";
    EXPECT_EQ(vcpu.tr.attributes & 0xff, 0x8b);
    refuses(Vector::GP, task, [&] { return ltr(vcpu, task, trap); });  // busy
    refuses(Vector::GP, 0, [&] { return ltr(vcpu, 3, trap); });
    refuses(Vector::GP, 0xc, [&] { return ltr(vcpu, 0xc, trap); });
    refuses(Vector::GP, local, [&] { return ltr(vcpu, local, trap); });
    vcpu.gdtr.limit = task + 14;
    refuses(Vector::GP, task, [&] { return ltr(vcpu, task, trap); });
    vcpu.gdtr.limit = gdt_size - 1;
    descriptor(task) = 0x67 | tss << 16 | 0x09ull << 40;
    refuses(Vector::NP, task, [&] { return ltr(vcpu, task, trap); });
    become_user();
    refuses(Vector::GP, 0, [&] { return ltr(vcpu, task, trap); });
}

TEST_F(Segments, Lldt) {
    ASSERT_TRUE(lldt(vcpu, local, trap));
    EXPECT_EQ(vcpu.ldtr.base, ldt);
    EXPECT_EQ(vcpu.ldtr.limit, 0xffu);
    refuses(Vector::GP, task, [&] { return lldt(vcpu, task, trap); });
    descriptor(local) &= ~(1ull << 47);
    refuses(Vector::NP, local, [&] { return lldt(vcpu, local, trap); });
    word(gdt + local + 8) = 1ull << 40;
    refuses(Vector::GP, local, [&] { return lldt(vcpu, local, trap); });
    ASSERT_TRUE(lldt(vcpu, 0, trap));
    EXPECT_FALSE(vcpu.ldtr.present());
}

TEST_F(Segments, LoadTable) {
    ASSERT_TRUE(load_table(vcpu, TableName::Idt, 0x123, 0xffff800000000000, trap));
    EXPECT_EQ(vcpu.idtr.base, 0xffff800000000000u);
    EXPECT_EQ(vcpu.idtr.limit, 0x123);
    refuses(Vector::GP, 0, [&] { return load_table(vcpu, TableName::Gdt, 7, 1ull << 47, trap); });
    become_user();
    refuses(Vector::GP, 0, [&] { return load_table(vcpu, TableName::Gdt, 7, 0, trap); });
}

TEST_F(Segments, Umip) {
    EXPECT_TRUE(may_store_system_register(vcpu, trap));
    vcpu.paging.cr4 |= CR4::UMIP;
    EXPECT_TRUE(may_store_system_register(vcpu, trap));
    become_user();
    refuses(Vector::GP, 0, [&] { return may_store_system_register(vcpu, trap); });
    vcpu.paging.cr4 &= ~CR4::UMIP;
    EXPECT_TRUE(may_store_system_register(vcpu, trap));
}

TEST_F(Segments, Swapgs) {
    vcpu.seg(SegmentName::GS).base = 1;
    vcpu.kernel_gs_base = 2;
    ASSERT_TRUE(swapgs(vcpu, trap));
    EXPECT_EQ(vcpu.seg(SegmentName::GS).base, 2u);
    EXPECT_EQ(vcpu.kernel_gs_base, 1u);
    become_user();
    refuses(Vector::GP, 0, [&] { return swapgs(vcpu, trap); });
    become_user32();
    refuses(Vector::UD, {}, [&] { return swapgs(vcpu, trap); });
}

TEST_F(Segments, Fsgsbase) {
    refuses(Vector::UD, {}, [&] { return may_use_fsgsbase(vcpu, trap); });
    vcpu.paging.cr4 |= CR4::FSGSBASE;
    become_user();
    EXPECT_TRUE(may_use_fsgsbase(vcpu, trap));
    ASSERT_TRUE(write_segment_base(vcpu, SegmentName::FS, 0x7fff'0000'0000, trap));
    EXPECT_EQ(vcpu.seg(SegmentName::FS).base, 0x7fff'0000'0000u);
    refuses(Vector::GP, 0, [&] { return write_segment_base(vcpu, SegmentName::FS, 1ull << 47, trap); });
    become_user32();
    refuses(Vector::UD, {}, [&] { return write_segment_base(vcpu, SegmentName::FS, 0, trap); });
}

// The value, or nothing when ZF is clear.
std::optional<std::uint64_t> ask(Vcpu& vcpu, SegmentQuery query, std::uint16_t selector) {
    std::uint64_t value = 0;
    Trap trap;
    EXPECT_TRUE(query_segment(vcpu, query, selector, value, trap));
    return (vcpu.arithmetic_flags() & RFLAGS::ZF) != 0 ? std::optional{value} : std::nullopt;
}

TEST_F(Segments, Queries) {
    EXPECT_EQ(ask(vcpu, SegmentQuery::Lar, kernel_code), 0xa09b00u);
    EXPECT_EQ(ask(vcpu, SegmentQuery::Lsl, kernel_code), 0xffffffffu);
    EXPECT_EQ(ask(vcpu, SegmentQuery::Lar, task), 0x8900u);
    EXPECT_EQ(ask(vcpu, SegmentQuery::Lsl, task), 0x67u);
    EXPECT_FALSE(ask(vcpu, SegmentQuery::Lar, 0));
    EXPECT_FALSE(ask(vcpu, SegmentQuery::Lar, gdt_size));
    EXPECT_FALSE(ask(vcpu, SegmentQuery::Lar, kernel_data | 3)) << "RPL above DPL";
    EXPECT_TRUE(ask(vcpu, SegmentQuery::Verr, kernel_code));
    EXPECT_FALSE(ask(vcpu, SegmentQuery::Verw, kernel_code));
    EXPECT_TRUE(ask(vcpu, SegmentQuery::Verw, kernel_data));
    EXPECT_FALSE(ask(vcpu, SegmentQuery::Verr, task));
    descriptor(spare) = flat(0x8c, 0);  // call gate: LAR only
    EXPECT_TRUE(ask(vcpu, SegmentQuery::Lar, spare));
    EXPECT_FALSE(ask(vcpu, SegmentQuery::Lsl, spare));
    descriptor(spare) = flat(0x8e, 0);  // interrupt gate: neither
    EXPECT_FALSE(ask(vcpu, SegmentQuery::Lar, spare));
    become_user();
    EXPECT_FALSE(ask(vcpu, SegmentQuery::Lar, kernel_code));
    EXPECT_TRUE(ask(vcpu, SegmentQuery::Lar, conforming));
    EXPECT_TRUE(ask(vcpu, SegmentQuery::Lsl, user_data));
}

}  // namespace
}  // namespace undercroft::test
