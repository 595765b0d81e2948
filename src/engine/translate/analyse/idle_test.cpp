// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/analyse/idle.hpp"

#include "engine/translate/decode/decoder.hpp"

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

namespace undercroft::translate {
namespace {

// `code` as one round, at a place where supervisor code runs.
bool waits(std::initializer_list<unsigned> code) {
    std::vector<std::byte> bytes;
    for (unsigned b : code) bytes.push_back(static_cast<std::byte>(b));
    Assumptions assumptions;
    assumptions.vector_usable = true;
    Decoder decoder;
    std::vector<Instruction> round;
    for (std::size_t offset = 0; offset < bytes.size(); offset += round.back().length) {
        Instruction i;
        bool decoded =
            decoder.decode(std::span{bytes}.subspan(offset), 0x1000 + offset, assumptions, false, i);
        EXPECT_TRUE(decoded);
        round.push_back(i);
    }
    return only_waits(round);
}

TEST(Idle, NothingAtAll) {
    EXPECT_TRUE(waits({0xeb, 0xfe}));                    // 1: jmp 1b
    EXPECT_TRUE(waits({0xf3, 0x90, 0xeb, 0xfc}));        // 1: pause; jmp 1b
    EXPECT_TRUE(waits({0x0f, 0xae, 0xe8, 0xeb, 0xfb}));  // 1: lfence; jmp 1b
}

TEST(Idle, PollsMemory) {
    EXPECT_TRUE(waits({0x83, 0x3f, 0x00, 0x74, 0xfb}));              // cmp dword [rdi], 0; je
    EXPECT_TRUE(waits({0x8b, 0x07, 0x85, 0xc0, 0x74, 0xfa}));        // mov eax, [rdi]; test eax, eax; je
    EXPECT_TRUE(waits({0x0f, 0xba, 0x27, 0x03, 0x72, 0xfa}));        // bt dword [rdi], 3; jc
    EXPECT_TRUE(waits({0x48, 0x0f, 0xa3, 0x0f, 0x72, 0xfa}));        // bt [rdi], rcx; jc
    EXPECT_TRUE(waits({0x8b, 0x04, 0x0f, 0x39, 0xf0, 0x72, 0xf9}));  // mov eax, [rdi+rcx]; cmp eax, esi; jb
    EXPECT_TRUE(waits({0x65, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0xeb, 0xf6}));  // mov eax, gs:[0]; jmp
    EXPECT_TRUE(waits({0x48, 0x8b, 0x07, 0xf6, 0x40, 0x08, 0x04, 0x74, 0xf7}))
        << "through a pointer in memory";  // mov rax, [rdi]; test byte [rax+8], 4; je
}

TEST(Idle, ComputesFromWhatItReads) {
    // movzx eax, word [rdi]; and eax, 3; xor eax, esi; shr eax, 4; setz cl; movzx ecx, cl; cmp ecx, eax; je
    EXPECT_TRUE(waits({0x0f, 0xb7, 0x07, 0x83, 0xe0, 0x03, 0x31, 0xf0, 0xc1, 0xe8, 0x04,
                       0x0f, 0x94, 0xc1, 0x0f, 0xb6, 0xc9, 0x39, 0xc1, 0x74, 0xeb}));
    // mov eax, 1; mov ecx, [rdi]; test ecx, ecx; cmovz eax, ecx; test eax, eax; je
    EXPECT_TRUE(waits({0xb8, 1, 0, 0, 0, 0x8b, 0x0f, 0x85, 0xc9, 0x0f, 0x44, 0xc1, 0x85, 0xc0, 0x74, 0xf0}));
}

TEST(Idle, NotIfARegisterIsCarriedRound) {
    EXPECT_FALSE(waits({0xff, 0xc8, 0x75, 0xfc}));                          // dec eax; jne
    EXPECT_FALSE(waits({0x48, 0x83, 0xc0, 0x01, 0xeb, 0xfa}));              // add rax, 1; jmp
    EXPECT_FALSE(waits({0x48, 0x8d, 0x40, 0x01, 0xeb, 0xfa}));              // lea rax, [rax+1]; jmp
    EXPECT_FALSE(waits({0x48, 0x8b, 0x00, 0x48, 0x85, 0xc0, 0x75, 0xf8}));  // mov rax, [rax]; test; jne
    EXPECT_FALSE(waits({0x89, 0xc8, 0x8b, 0x0f, 0xeb, 0xfa}))
        << "through another";  // mov eax, ecx; mov ecx, [rdi]
    EXPECT_FALSE(waits({0x85, 0xff, 0x0f, 0x44, 0xc1, 0xeb, 0xf9}))
        << "kept or not";  // test edi, edi; cmovz eax, ecx: the same again, but it reads eax
}

TEST(Idle, RegistersArePartly) {
    EXPECT_TRUE(waits({0x8a, 0x07, 0x84, 0xc0, 0x74, 0xfa}));              // mov al, [rdi]; test al, al; je
    EXPECT_TRUE(waits({0x31, 0xc0, 0x8a, 0x07, 0x85, 0xc0, 0x74, 0xf8}));  // xor eax, eax; mov al, [rdi]; ...
    EXPECT_TRUE(waits({0x8a, 0x27, 0x38, 0xc4, 0x74, 0xfa}));              // mov ah, [rdi]; cmp ah, al; je
    EXPECT_TRUE(waits({0x8a, 0x07, 0x85, 0xc0, 0x74, 0xfa}));              // mov al, [rdi]; test eax, eax; je
    EXPECT_FALSE(waits({0x88, 0xc4, 0x8a, 0x07, 0xeb, 0xfa}));             // mov ah, al; mov al, [rdi]
    EXPECT_TRUE(waits({0x66, 0x8b, 0x07, 0x66, 0x85, 0xc0, 0x74, 0xf8}));  // mov ax, [rdi]; test ax, ax
    EXPECT_FALSE(waits({0x48, 0x89, 0xc1, 0x66, 0x8b, 0x07, 0xeb, 0xf8}));  // mov rcx, rax; mov ax, [rdi]
    EXPECT_FALSE(waits({0x28, 0xe0, 0x8a, 0x27, 0xeb, 0xfa})) << "not cleared";  // sub al, ah; mov ah, [rdi]
}

TEST(Idle, NotIfAFlagIsCarriedRound) {
    EXPECT_FALSE(waits({0x0f, 0x92, 0xc1, 0x38, 0xc8, 0xeb, 0xf9}));  // setc cl; cmp al, cl; jmp
    EXPECT_FALSE(waits({0x74, 0x00, 0x83, 0x3f, 0x00, 0xeb, 0xf9}));  // je; cmp dword [rdi], 0; jmp
    EXPECT_TRUE(waits({0x74, 0x00, 0x8b, 0x07, 0xeb, 0xfa}))
        << "nobody writes it";  // je; mov eax, [rdi]; jmp
    // SHL leaves the flags alone when cl is zero; BT leaves ZF alone.
    EXPECT_FALSE(waits({0x8b, 0x07, 0xd3, 0xe0, 0x74, 0xfa}));  // mov eax, [rdi]; shl eax, cl; je
    EXPECT_TRUE(waits({0x0f, 0xba, 0x27, 0x03, 0x74, 0xfa}));   // bt dword [rdi], 3; je
    EXPECT_FALSE(waits({0x0f, 0xba, 0x27, 0x03, 0x74, 0, 0x3c, 1, 0xeb, 0xf6}));  // bt; je; cmp al, 1; jmp
}

TEST(Idle, NotIfItStores) {
    EXPECT_FALSE(waits({0x89, 0x07, 0xeb, 0xfc}));              // mov [rdi], eax
    EXPECT_FALSE(waits({0x83, 0x27, 0xff, 0xeb, 0xfb}));        // and dword [rdi], -1
    EXPECT_FALSE(waits({0x0f, 0x94, 0x07, 0xeb, 0xfb}));        // setz [rdi]
    EXPECT_FALSE(waits({0x87, 0x07, 0xeb, 0xfc}));              // xchg [rdi], eax
    EXPECT_FALSE(waits({0xf0, 0x0f, 0xb1, 0x0f, 0x75, 0xfa}));  // lock cmpxchg [rdi], ecx; jne
    EXPECT_FALSE(waits({0x0f, 0xba, 0x2f, 0x03, 0xeb, 0xfa}));  // bts dword [rdi], 3
    EXPECT_FALSE(waits({0x48, 0x0f, 0xab, 0x0f, 0xeb, 0xfa}));  // bts [rdi], rcx
    EXPECT_FALSE(waits({0x50, 0x58, 0xeb, 0xfc}));              // push rax; pop rax
    EXPECT_FALSE(waits({0xe8, 0xfb, 0xff, 0xff, 0xff}));        // 1: call 1b
}

TEST(Idle, NotIfTheProcessorChangesOrAnswersAnew) {
    EXPECT_FALSE(waits({0x0f, 0x31, 0xeb, 0xfc}));        // rdtsc
    EXPECT_FALSE(waits({0x0f, 0xc7, 0xf0, 0xeb, 0xfb}));  // rdrand eax
    EXPECT_FALSE(waits({0xe4, 0x64, 0xeb, 0xfc}));        // in al, 0x64
    EXPECT_FALSE(waits({0x0f, 0x32, 0xeb, 0xfc}));        // rdmsr
    EXPECT_FALSE(waits({0x0f, 0xa2, 0xeb, 0xfc}));        // cpuid
    EXPECT_FALSE(waits({0xfb, 0x90, 0xfa, 0xeb, 0xfb}));  // sti; nop; cli
    EXPECT_FALSE(waits({0xf4, 0xeb, 0xfd}));              // hlt
    EXPECT_FALSE(waits({0x0f, 0x01, 0xf8, 0xeb, 0xfb}));  // swapgs
    EXPECT_FALSE(waits({0xd9, 0xe8, 0xeb, 0xfc}));        // fld1
    EXPECT_FALSE(waits({0x0f, 0x58, 0xc1, 0xeb, 0xfb}));  // addps xmm0, xmm1
    EXPECT_FALSE(waits({0x0f, 0x28, 0x07, 0xeb, 0xfb}));  // movaps xmm0, [rdi]: not looked at
    EXPECT_FALSE(waits({0xf3, 0x41, 0x90, 0xeb, 0xfb}));  // xchg r8d, eax, though it looks like PAUSE
    EXPECT_FALSE(waits({0xff, 0xe0}));                    // jmp rax
    EXPECT_FALSE(waits({0xe2, 0xfe}));                    // 1: loop 1b
}

}  // namespace
}  // namespace undercroft::translate
