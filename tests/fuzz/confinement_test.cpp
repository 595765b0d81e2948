// SPDX-License-Identifier: Apache-2.0
// The proof of confinement refuses code that does not confine.
#include "confinement.hpp"

#include "engine/step/testing.hpp"

#include <gtest/gtest.h>

namespace undercroft::fuzz {
namespace {

using namespace translate;

constexpr int rcx = 1, rdi = 7;
constexpr Mem checked{.base = scratch0, .index = scratch1};

class Confinement : public ::testing::Test {
protected:
    Confinement() : translator_{std::move(*Translator::create(machine_.vcpu, {}))} {
        block_.mode = AccessMode::SupervisorAc;
        block_.code_begin = block_.frame_entry = block_.host_entry = origin();
    }

    HostCode origin() const { return translator_->memory().assemble(CodeMemory::Part::Hot).here(); }

    // What the proof says of the code, which then leaves the block as it should.
    std::string verdict() {
        as.mov_imm(scratch0, 0x1000);
        as.bind_to(as.jmp(), translator_->thunks().attention);
        std::size_t stub = as.size();
        for (std::size_t jump : stubs_) as.bind(jump);
        if (!stubs_.empty()) {
            as.mov_imm(scratch0, 0x1000);
            as.bind_to(as.jmp(), translator_->thunks().attention);
        }
        block_.code_end = origin() + as.size();
        return unproven(*translator_, block_, std::span{buffer_}.first(stubs_.empty() ? stub : as.size()));
    }

    // Up to the loaded host page: `limit` bytes of offset are allowed.
    // Of 16 bytes at rdi, reached through rcx << scale.
    void indexed_group(unsigned scale) {
        probe(4096 - 16);
        as.lea(scratch1, checked);
        as.lea(scratch0, Mem{.index = rcx, .scale = scale});
        as.alu(Alu::Sub, scratch1, scratch0);
    }

    // Of rcx elements at rdi, of 1 << scale bytes, `most` at most: r11 is the entry's distance.
    void elements(unsigned scale, std::int32_t most, std::int32_t end = 4096, Access access = Access::Write) {
        as.alu_imm(Alu::Cmp, rcx, most);
        stubs_.push_back(as.jcc(Condition::A));
        probe(4095, access, AccessMode::SupervisorAc, offsetof(TlbEntry, distance));
        as.lea(scratch0, Mem{.base = scratch0, .index = rcx, .scale = scale});
        as.alu_imm(Alu::Cmp, scratch0, end);
        stubs_.push_back(as.jcc(Condition::A));
    }
    void rep_stosq() {
        as.alu(Alu::Add, rdi, scratch1);
        for (unsigned byte : {0xf3u, 0x48u, 0xabu}) as.byte(byte);
        as.alu(Alu::Sub, rdi, scratch1);
    }

    // Of 8 bytes at rdi: r11 is the entry's distance.
    void distance(std::size_t field = offsetof(TlbEntry, distance)) {
        probe(4096 - 8, Access::Write, AccessMode::SupervisorAc, field);
    }

    void probe(std::int32_t limit, Access access = Access::Write, AccessMode mode = AccessMode::SupervisorAc,
               std::size_t field = offsetof(TlbEntry, host_page)) {
        constexpr std::int32_t mask = (Tlb::entry_count - 1) * sizeof(TlbEntry);
        std::size_t array = tlb_offset(mode);
        std::size_t tag = access == Access::Write ? offsetof(TlbEntry, write_tag) : 0;
        as.mov(scratch0, rdi);
        as.rorx(scratch1, scratch0, 7);
        as.alu32_imm(Alu::And, scratch1, mask);
        as.alu(Alu::Sub, scratch0, Mem::frame_indexed(scratch1, array + tag));
        as.alu_imm(Alu::Cmp, scratch0, limit);
        stubs_.push_back(as.jcc(Condition::A));
        as.load(scratch1, Mem::frame_indexed(scratch1, array + field));
    }

    // Of an exit of a block, whose record says that it is done there.
    void count_rounds(Block& block, HostCode there) {
        auto* exit = const_cast<CodeMemory&>(translator_->memory()).record<BlockExit>();
        exit->from = &block;
        exit->counts = true;
        exit->jump = there + 13;
        as.dec32_rip(reinterpret_cast<HostCode>(&exit->rounds_left));
    }

    Block block_;
    Block other_;

private:
    test::StepMachine machine_;
    std::unique_ptr<Translator> translator_;
    std::array<std::byte, 4096> buffer_{};
    std::vector<std::size_t> stubs_;

protected:
    Assembler as{buffer_, origin()};
};

TEST_F(Confinement, AcceptsACheckedAccess) {
    probe(4096 - 8);
    as.store(checked, rax);
    EXPECT_EQ(verdict(), "");
}
TEST_F(Confinement, AcceptsACountOfRounds) {
    count_rounds(block_, origin());
    EXPECT_EQ(verdict(), "");
}
TEST_F(Confinement, RefusesToCountForAnotherBlock) {
    count_rounds(other_, origin());
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesToCountElsewhereThanNoted) {
    count_rounds(block_, origin() + 6);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesToCountOutsideTheRecords) {
    as.dec32_rip(origin());
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, AcceptsTheFrame) {
    as.load(rax, home(scratch0));
    as.store(home(scratch1), rax);
    EXPECT_EQ(verdict(), "");
}
TEST_F(Confinement, AcceptsAnAccessByDistance) {
    distance();
    as.store(Mem{.base = rdi, .index = scratch1}, rax);
    EXPECT_EQ(verdict(), "");
}
TEST_F(Confinement, FollowsTheBaseOfADistance) {
    distance();
    as.lea(rdi, Mem{.base = rdi, .disp = 8});
    as.store(Mem{.base = rdi, .index = scratch1, .disp = -8}, rax);
    EXPECT_EQ(verdict(), "");
}
TEST_F(Confinement, RefusesADistanceFromAnotherBase) {
    distance();
    as.store(Mem{.base = rcx, .index = scratch1}, rax);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAnAccessByDistanceBesideTheChecked) {
    distance();
    as.store(Mem{.base = rdi, .index = scratch1, .disp = 1}, rax);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesTheHostPageForTheDistance) {
    distance(offsetof(TlbEntry, host_page));
    as.store(Mem{.base = rdi, .index = scratch1}, rax);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesTheDistanceForTheHostPage) {
    distance();
    as.store(checked, rax);
    EXPECT_NE(verdict(), "");
}
// A group with an index: r11 stands for the base register.
TEST_F(Confinement, AcceptsAnIndexedGroup) {
    indexed_group(2);
    as.load(rax, Mem{.base = scratch1, .index = rcx, .scale = 2, .disp = 8});
    EXPECT_EQ(verdict(), "");
}
TEST_F(Confinement, RefusesAnotherScale) {
    indexed_group(2);
    as.load(rax, Mem{.base = scratch1, .index = rcx, .scale = 3, .disp = 8});
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAnotherIndex) {
    indexed_group(2);
    as.load(rax, Mem{.base = scratch1, .index = rdi, .scale = 2, .disp = 8});
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAnIndexedAccessBesideTheChecked) {
    indexed_group(2);
    as.lea(rcx, Mem{.base = rcx, .disp = 1});
    as.load(rax, Mem{.base = scratch1, .index = rcx, .scale = 2, .disp = 8});
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, FollowsAnIndexThatMoves) {
    indexed_group(2);
    as.lea(rcx, Mem{.base = rcx, .disp = 1});
    as.load(rax, Mem{.base = scratch1, .index = rcx, .scale = 2, .disp = 4});
    EXPECT_EQ(verdict(), "");
}
// A group's base register goes through a home: the guest's mov r10, rdi and mov rdi, r10.
TEST_F(Confinement, FollowsABaseThroughAHome) {
    distance();
    as.store(home(scratch0), rdi);
    as.mov_imm(rdi, 0);
    as.load(rdi, home(scratch0));
    as.store(Mem{.base = rdi, .index = scratch1}, rax);
    EXPECT_EQ(verdict(), "");
}
TEST_F(Confinement, RefusesABaseFromAHomeThatChanged) {
    distance();
    as.store(home(scratch0), rdi);
    as.store32(home(scratch0), rax);
    as.load(rdi, home(scratch0));
    as.store(Mem{.base = rdi, .index = scratch1}, rax);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAWriteIntoAHome) {
    Mem inside = home(scratch1);
    inside.disp -= 4;
    as.store(inside, rax);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAGuestAddress) {
    as.load(rax, Mem{.base = rdi});
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAnAccessThatIsTooLong) {
    probe(4096 - 4);
    as.store(checked, rax);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAnAccessBesideTheChecked) {
    probe(4096 - 8);
    as.store(Mem{.base = scratch0, .index = scratch1, .disp = 1}, rax);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAWriteAfterACheckForReading) {
    probe(4096 - 8, Access::Read);
    as.store(checked, rax);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAnotherModesTlb) {
    probe(4096 - 8, Access::Write, AccessMode::User);
    as.store(checked, rax);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAProbeWhoseAddressChanged) {
    probe(4096 - 8);
    as.lea(scratch0, Mem{.base = scratch0, .disp = 8});
    as.store(checked, rax);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAHostAddressForTheGuest) {
    probe(4096 - 8);
    as.lea(rax, checked);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAHostAddressInGuestMemory) {
    probe(4096 - 8);
    as.store(checked, scratch1);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, AcceptsAString) {
    elements(3, 512);
    rep_stosq();
    EXPECT_EQ(verdict(), "");
}
TEST_F(Confinement, RefusesAStringWithoutACheck) {
    rep_stosq();
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAStringOfLongerElements) {
    elements(2, 512);
    rep_stosq();
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAStringWhoseEndMayWrap) {
    elements(3, 513);
    rep_stosq();
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAStringPastThePage) {
    elements(3, 512, 4097);
    rep_stosq();
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAStringOfAnotherCount) {
    elements(3, 512);
    as.lea(rcx, Mem{.base = rcx, .disp = 1});
    rep_stosq();
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAStringThatStartsElsewhere) {
    elements(3, 512);
    as.lea(rdi, Mem{.base = rdi, .disp = 8});
    rep_stosq();
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAStringWhereAReadWasChecked) {
    elements(3, 512, 4096, Access::Read);
    rep_stosq();
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesAStringsPointerForTheGuest) {
    elements(3, 512);
    as.alu(Alu::Add, rdi, scratch1);
    for (unsigned byte : {0xf3u, 0x48u, 0xabu}) as.byte(byte);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesFieldsOfTheMonitor) {
    as.store(engine_field(offsetof(EngineFrame, host_rsp)), rax);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesTheHostsThread) {
    for (unsigned byte : {0x64u, 0x48u, 0x8bu, 0x04u, 0x25u, 0u, 0u, 0u, 0u})
        as.byte(byte);  // mov rax, fs:[0]
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesTheHostsStack) {
    as.byte(0x50);  // push rax
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesSystemCalls) {
    as.byte(0x0f);
    as.byte(0x05);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesTheDirectionFlag) {
    as.byte(0xfd);  // std
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesJumpsElsewhere) {
    as.bind_to(as.jmp(), origin() - 64);
    EXPECT_NE(verdict(), "");
}
TEST_F(Confinement, RefusesIndirectJumps) {
    as.op_rr(0, false, 0xff, 4, rax);  // jmp rax
    EXPECT_NE(verdict(), "");
}

}  // namespace
}  // namespace undercroft::fuzz
