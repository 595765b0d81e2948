// SPDX-License-Identifier: Apache-2.0
// Every form of the emitter, disassembled by Zydis: the text must be what the call says.
#include "engine/translate/emit/assembler.hpp"

#include <Zydis/Zydis.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <string>
#include <vector>

namespace undercroft::translate {
namespace {

std::string disassemble(const std::function<void(Assembler&)>& emit) {
    std::array<std::byte, 256> buffer{};
    Assembler as{buffer, buffer.data()};
    emit(as);
    std::string text;
    std::size_t offset = 0;
    while (offset < as.size()) {
        ZydisDisassembledInstruction i;
        auto address = reinterpret_cast<std::uint64_t>(buffer.data()) + offset;
        if (!ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, address, buffer.data() + offset,
                                                as.size() - offset, &i))) {
            return text + "(bad)";
        }
        text += text.empty() ? "" : "; ";
        text += i.text;
        offset += i.info.length;
    }
    return text;
}

struct Case {
    std::string expected;
    std::function<void(Assembler&)> emit;
};

TEST(Assembler, EmitsWhatItSays) {
    const std::vector<Case> cases{
        {"mov rax, gs:[0x0000000000000010]", [](Assembler& a) { a.load(0, Mem::frame(0x10)); }},
        {"mov gs:[0x0000000000001234], r15", [](Assembler& a) { a.store(Mem::frame(0x1234), 15); }},
        {"mov r11, gs:[r11+0x1010]", [](Assembler& a) { a.load(11, Mem::frame_indexed(11, 0x1010)); }},
        {"mov rbx, [r10+r11*1]", [](Assembler& a) { a.load(3, Mem{.base = 10, .index = 11}); }},
        {"mov rbx, [rsp+0x08]", [](Assembler& a) { a.load(3, Mem{.base = 4, .disp = 8}); }},
        {"mov rbx, [r13]", [](Assembler& a) { a.load(3, Mem{.base = 13}); }},
        {"mov rbx, [rbp]", [](Assembler& a) { a.load(3, Mem{.base = 5}); }},
        {"mov rbx, [r12+0x1000]", [](Assembler& a) { a.load(3, Mem{.base = 12, .disp = 0x1000}); }},
        {"lea r10, [rsp-0x08]", [](Assembler& a) { a.lea(10, Mem{.base = 4, .disp = -8}); }},
        {"lea r10d, [rax+rcx*4+0x10]",
         [](Assembler& a) { a.lea32(10, Mem{.base = 0, .index = 1, .scale = 2, .disp = 16}); }},
        {"lea r10, [rcx*8+0x10]", [](Assembler& a) { a.lea(10, Mem{.index = 1, .scale = 3, .disp = 16}); }},
        {"rorx r11, r10, 0x07", [](Assembler& a) { a.rorx(11, 10, 7); }},
        {"rorx rax, rdx, 0x0C", [](Assembler& a) { a.rorx(0, 2, 12); }},
        {"and r11d, 0x7FE0", [](Assembler& a) { a.alu32_imm(Alu::And, 11, 0x7fe0); }},
        {"sub r10, gs:[r11+0x2008]",
         [](Assembler& a) { a.alu(Alu::Sub, 10, Mem::frame_indexed(11, 0x2008)); }},
        {"cmp r10, 0xFF8", [](Assembler& a) { a.alu_imm(Alu::Cmp, 10, 0xff8); }},
        {"cmp r10, r11", [](Assembler& a) { a.alu(Alu::Cmp, 10, 11); }},
        {"cmp dword ptr gs:[0x0000000000000098], 0x00",
         [](Assembler& a) { a.cmp32_imm(Mem::frame(0x98), 0); }},
        {"cmp dword ptr gs:[0x0000000000000098], 0x12345678",
         [](Assembler& a) { a.cmp32_imm_patchable(Mem::frame(0x98), 0x12345678); }},
        {"cmp byte ptr gs:[0x000000000000008C], 0x00", [](Assembler& a) { a.cmp8_imm(Mem::frame(0x8c), 0); }},
        {"mov byte ptr gs:[0x000000000000008A], 0x01",
         [](Assembler& a) { a.store8_imm(Mem::frame(0x8a), 1); }},
        {"mov qword ptr [r10+r11*1], 0xFFFFFFFF81000000",
         [](Assembler& a) {
             a.store_imm(Mem{.base = 10, .index = 11}, static_cast<std::int32_t>(0x81000000));
         }},
        {"mov r11d, 0x81000000", [](Assembler& a) { a.mov_imm(11, 0x81000000); }},
        {"mov r11, 0xFFFFFFFF81000000", [](Assembler& a) { a.mov_imm(11, 0xffffffff81000000); }},
        {"mov r11, 0x123456789ABCDEF0", [](Assembler& a) { a.mov_imm(11, 0x123456789abcdef0); }},
        {"lahf; seto al",
         [](Assembler& a) {
             a.lahf();
             a.seto_al();
         }},
        {"add al, 0x7F; sahf",
         [](Assembler& a) {
             a.add_al_imm(0x7f);
             a.sahf();
         }},
        {"mov gs:[0x0000000000000088], ax", [](Assembler& a) { a.store16(Mem::frame(0x88), 0); }},
        {"movzx eax, word ptr gs:[0x0000000000000088]",
         [](Assembler& a) { a.load16_zero_extended(0, Mem::frame(0x88)); }},
        {"jmp gs:[r11*8+0x1000]",
         [](Assembler& a) {
             Mem slot = Mem::frame(0x1000);
             slot.index = 11;
             slot.scale = 3;
             a.jmp(slot);
         }},
        {"call [r11]", [](Assembler& a) { a.call(Mem{.base = 11}); }},
        {"mov rsi, r11", [](Assembler& a) { a.mov(6, 11); }},
        {"ret", [](Assembler& a) { a.ret(); }},
    };
    for (const Case& c : cases) EXPECT_EQ(disassemble(c.emit), c.expected);
}

TEST(Assembler, JumpsReachWhereTheyAreBound) {
    std::array<std::byte, 64> buffer{};
    Assembler as{buffer, buffer.data()};
    std::size_t site = as.jcc(Condition::A);
    as.nops(7);
    as.bind(site);
    std::int32_t displacement = 0;
    std::memcpy(&displacement, buffer.data() + site, sizeof displacement);
    EXPECT_EQ(displacement, 7);
}

TEST(Assembler, NopsAreNopsOfTheAskedLength) {
    for (std::size_t n = 0; n < 20; ++n) {
        std::array<std::byte, 64> buffer{};
        Assembler as{buffer, buffer.data()};
        as.nops(n);
        EXPECT_EQ(as.size(), n);
        std::string text = disassemble([n](Assembler& a) { a.nops(n); });
        EXPECT_EQ(text.find("(bad)"), std::string::npos) << n;
    }
}

}  // namespace
}  // namespace undercroft::translate
