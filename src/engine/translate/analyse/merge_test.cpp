// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/analyse/merge.hpp"

#include "engine/translate/decode/decoder.hpp"

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

namespace undercroft::translate {
namespace {

std::vector<Instruction> decode(std::initializer_list<unsigned> code) {
    std::vector<std::byte> bytes;
    for (unsigned b : code) bytes.push_back(static_cast<std::byte>(b));
    Decoder decoder;
    std::vector<Instruction> result;
    std::size_t offset = 0;
    while (offset < bytes.size()) {
        Instruction i;
        if (!decoder.decode(std::span{bytes}.subspan(offset), 0x1000 + offset, {}, true, i)) break;
        offset += i.length;
        result.push_back(i);
    }
    return result;
}

TEST(Merge, PushesShareOneCheck) {
    auto block = decode({0x55,    // push rbp
                         0x53,    // push rbx
                         0x50});  // push rax
    AccessGroups groups = merge_accesses(block);
    ASSERT_EQ(groups.count, 1u);
    EXPECT_EQ(groups.group[0].access, Access::Write);
    EXPECT_EQ(groups.group[0].size(), 24u);
    EXPECT_EQ(groups.group[0].bias, 24);
    EXPECT_TRUE(block[0].leads_group);
    for (const Instruction& i : block) EXPECT_EQ(i.group, 0);
}

TEST(Merge, FollowsARegisterThatMovesByConstants) {
    auto block = decode({0x48, 0x8b, 0x07,          // mov rax, [rdi]
                         0x48, 0x83, 0xc7, 0x10,    // add rdi, 16
                         0x48, 0x8b, 0x4f, 0xf8});  // mov rcx, [rdi-8]
    AccessGroups groups = merge_accesses(block);
    ASSERT_EQ(groups.count, 1u);
    EXPECT_EQ(groups.group[0].low, 0);
    EXPECT_EQ(groups.group[0].high, 16);
    EXPECT_EQ(block[2].group, 0);
}

// Rounds of a loop: 64 bytes each, then 512.
TEST(Merge, WalksFurtherBehindAFollowedBranchIfInSmallSteps) {
    auto rounds = [](unsigned step) {
        std::vector<Instruction> block;
        for (unsigned n = 0; n < 20; ++n) {
            for (Instruction& i : decode({0x48, 0x8b, 0x07,                                // mov rax, [rdi]
                                          0x48, 0x81, 0xc7, step & 0xff, step >> 8, 0, 0,  // add rdi, step
                                          0x75, 0xf4}))                                    // jne
                block.push_back(i);
            block.back().follow = Follow::Taken;
        }
        return merge_accesses(block);
    };
    AccessGroups dense = rounds(64);
    EXPECT_EQ(dense.count, 2u);
    EXPECT_EQ(dense.group[0].size(), 15 * 64 + 8u);
    EXPECT_EQ(rounds(512).count, AccessGroups::limit) << "each by itself";
}

TEST(Merge, ForgetsARegisterThatIsWritten) {
    auto block = decode({0x48, 0x8b, 0x7f, 0x08,    // mov rdi, [rdi+8]
                         0x48, 0x8b, 0x7f, 0x08});  // mov rdi, [rdi+8]
    merge_accesses(block);
    EXPECT_EQ(block[0].group, -1);
    EXPECT_EQ(block[1].group, -1);
}

TEST(Merge, AWriteMakesTheSharedCheckOneForWriting) {
    auto block = decode({0x48, 0x8b, 0x07,          // mov rax, [rdi]
                         0x48, 0x89, 0x47, 0x08});  // mov [rdi+8], rax
    AccessGroups groups = merge_accesses(block);
    ASSERT_EQ(groups.count, 1u);
    EXPECT_EQ(groups.group[0].access, Access::Write);
    EXPECT_EQ(groups.group[0].leader_access, Access::Read);
}

TEST(Merge, FollowsCopiesOfARegister) {
    auto block = decode({0x48, 0x8b, 0x07,          // mov rax, [rdi]
                         0x48, 0x8d, 0x77, 0x10,    // lea rsi, [rdi+16]
                         0x48, 0x89, 0xf3,          // mov rbx, rsi
                         0x48, 0xff, 0xc3,          // inc rbx
                         0x48, 0x8b, 0x4b, 0xf7});  // mov rcx, [rbx-9]
    AccessGroups groups = merge_accesses(block);
    ASSERT_EQ(groups.count, 1u);
    EXPECT_EQ(block[4].group, 0);
    EXPECT_EQ(groups.group[0].size(), 16u);
}

TEST(Merge, IndexedAccessesShareACheckWhileBothRegistersAreFollowed) {
    auto block = decode({0x48, 0x8b, 0x04, 0xcf,    // mov rax, [rdi+rcx*8]
                         0x48, 0xff, 0xc1,          // inc rcx
                         0x48, 0x83, 0xc7, 0x04,    // add rdi, 4
                         0x48, 0x8b, 0x14, 0xcf,    // mov rdx, [rdi+rcx*8]
                         0x48, 0x8b, 0x14, 0x4f,    // mov rdx, [rdi+rcx*2]
                         0x48, 0x8b, 0x0c, 0xcf,    // mov rcx, [rdi+rcx*8]
                         0x48, 0x8b, 0x0c, 0xcf});  // mov rcx, [rdi+rcx*8]
    AccessGroups groups = merge_accesses(block);
    EXPECT_EQ(block[0].group, 0);
    EXPECT_EQ(groups.group[0].size(), 20u);
    EXPECT_EQ(block[3].group, 0);
    EXPECT_EQ(block[3].group_shift, 4);
    EXPECT_EQ(block[4].group, -1) << "another scale";
    EXPECT_EQ(block[5].group, 0);
    EXPECT_EQ(block[6].group, -1) << "another index";
}

TEST(Merge, AWriteBehindAWayOutMakesNoReadAWrite) {
    auto block = decode({0x48, 0x8b, 0x07,          // mov rax, [rdi]
                         0x74, 0x00,                // je
                         0x48, 0x89, 0x47, 0x08,    // mov [rdi+8], rax
                         0x48, 0x8b, 0x47, 0x10});  // mov rax, [rdi+16]
    block[1].follow = Follow::Next;
    AccessGroups groups = merge_accesses(block);
    ASSERT_EQ(groups.count, 2u);
    EXPECT_EQ(groups.group[0].access, Access::Read);
    EXPECT_NE(block[2].group, 0);
}

// 0x7ffffff8 and -0x80000000 are eight bytes apart for a sum of 32 bits, and 4 GiB for the processor.
TEST(Merge, FarDisplacementsDoNotMeet) {
    auto block = decode({0x48, 0x89, 0x83, 0xf8, 0xff, 0xff, 0x7f,    // mov [rbx+0x7ffffff8], rax
                         0x48, 0x89, 0x8b, 0x00, 0x00, 0x00, 0x80});  // mov [rbx-0x80000000], rcx
    merge_accesses(block);
    EXPECT_EQ(block[0].group, -1);
    EXPECT_EQ(block[1].group, -1);
}

}  // namespace
}  // namespace undercroft::translate
