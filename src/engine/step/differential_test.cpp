// SPDX-License-Identifier: Apache-2.0
// The same random instruction on the host and in the executor: registers, flags, vectors and memory must be
// equal bit by bit.
//
// The native side runs the unchanged bytes between a load and a store of all registers. Register numbers 4
// (rsp) and the memory base are chosen so that the host survives: memory operands are [rbx], which points at
// a block that exists at the same address in both worlds' views of it.
#include "engine/step/testing.hpp"

#include <gtest/gtest.h>

#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <random>
#include <string>

namespace undercroft::test {
namespace {

// What an instruction works on. Assembly in the stub addresses these fields.
struct alignas(64) HostState {
    std::array<std::byte, Vcpu::xsave_size + 64> xsave{};
    std::array<std::uint64_t, 16> gpr{};  // rsp is left out
    std::uint64_t flags = 0;
    std::uint64_t host_stack = 0;
};
constexpr int gpr_at = offsetof(HostState, gpr);
constexpr int flags_at = offsetof(HostState, flags);
constexpr int stack_at = offsetof(HostState, host_stack);

// Code that loads HostState at `state`, executes the instruction, stores it again.
class NativeRunner {
public:
    NativeRunner() {
        void* at =
            ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        EXPECT_NE(at, MAP_FAILED);
        code_ = static_cast<std::uint8_t*>(at);
    }
    NativeRunner(const NativeRunner&) = delete;
    NativeRunner& operator=(const NativeRunner&) = delete;
    ~NativeRunner() { ::munmap(code_, 4096); }

    void run(HostState& state, const std::string& instruction) {
        size_ = 0;
        for (int reg : {0x53, 0x55}) byte(reg);
        for (int reg = 4; reg < 8; reg++) bytes({0x41, 0x50 + reg});
        movabs(0, &state);
        bytes({0x48, 0x89, 0xa0});  // mov [rax+host_stack],rsp
        dword(stack_at);
        bytes({0x50});                    // push rax
        bytes({0xba, 0, 0, 0, 0});        // mov edx,0
        bytes({0x48, 0x89, 0xc1});        // mov rcx,rax
        bytes({0xb8, 7, 0, 0, 0});        // mov eax,7
        bytes({0x48, 0x0f, 0xae, 0x29});  // xrstor64 [rcx]
        bytes({0x48, 0x89, 0xc8});        // mov rax,rcx
        bytes({0xff, 0xb0});              // push [rax+flags]
        dword(flags_at);
        byte(0x9d);  // popf
        for (int reg = 15; reg >= 0; reg--) {
            if (reg != 4) move(0x8b, reg, 0);  // rax last
        }
        for (char c : instruction) byte(static_cast<unsigned char>(c));
        // xchg rax,[rsp]; store through rax
        bytes({0x48, 0x87, 0x04, 0x24});
        for (int reg = 1; reg < 16; reg++) {
            if (reg != 4) move(0x89, reg, 0);
        }
        bytes({0x9c, 0x59});  // pushf; pop rcx
        bytes({0x48, 0x89, 0x88});
        dword(flags_at);
        bytes({0x5a});  // pop rdx: guest rax
        bytes({0x48, 0x89, 0x90});
        dword(gpr_at);
        bytes({0x48, 0x89, 0xc1});                    // mov rcx,rax
        bytes({0xb8, 7, 0, 0, 0});                    // mov eax,7
        bytes({0xba, 0, 0, 0, 0});                    // mov edx,0
        bytes({0x48, 0x0f, 0xae, 0x21});              // xsave64 [rcx]
        bytes({0xdb, 0xe3, 0xc5, 0xf8, 0x77, 0xfc});  // fninit; vzeroupper; cld
        for (int reg = 7; reg >= 4; reg--) bytes({0x41, 0x58 + reg});
        for (int reg : {0x5d, 0x5b, 0xc3}) byte(reg);
        reinterpret_cast<void (*)()>(code_)();
        unsigned host_mxcsr = 0x1f80;
        asm volatile("ldmxcsr %0" : : "m"(host_mxcsr));
    }

private:
    void byte(int value) { code_[size_++] = static_cast<std::uint8_t>(value); }
    void bytes(std::initializer_list<int> values) {
        for (int value : values) byte(value);
    }
    void dword(int value) {
        std::memcpy(code_ + size_, &value, 4);
        size_ += 4;
    }
    void movabs(int reg, const void* value) {
        bytes({0x48, 0xb8 + reg});
        std::memcpy(code_ + size_, &value, 8);
        size_ += 8;
    }
    void move(int opcode, int reg, int base) {
        bytes({0x48 | (reg >> 3) << 2, opcode, 0x80 | (reg & 7) << 3 | base});
        dword(gpr_at + 8 * reg);
    }

    std::uint8_t* code_ = nullptr;
    std::size_t size_ = 0;
};

constexpr std::uint64_t flag_mask = RFLAGS::Arithmetic;

class Differential : public ::testing::Test {
protected:
    // Runs `instruction` `times` times on random state; memory operands must be [rbx + small displacement].
    void compare(const std::string& instruction, unsigned times = 20, std::uint64_t flags = flag_mask) {
        for (unsigned i = 0; i < times; i++) {
            randomize();
            HostState before = host_;
            std::byte* block = machine_.memory->writable(GuestPhysical{StepMachine::data});
            std::array<std::byte, 256> memory_before;
            for (std::byte& byte : memory_before) byte = static_cast<std::byte>(random_());
            std::memcpy(block, memory_before.data(), memory_before.size());
            host_.gpr[3] = reinterpret_cast<std::uint64_t>(block) + 64;
            runner_.run(host_, instruction);
            std::array<std::byte, 256> memory_after;
            std::memcpy(memory_after.data(), block, memory_after.size());
            std::memcpy(block, memory_before.data(), memory_before.size());
            if (host_.gpr[3] == reinterpret_cast<std::uint64_t>(block) + 64)
                host_.gpr[3] = StepMachine::data + 64;

            machine_.be_kernel();
            for (unsigned reg = 0; reg < 16; reg++) {
                if (reg != 4) machine_.vcpu.gpr[reg] = before.gpr[reg];
            }
            machine_.reg(Gpr::Rbx) = StepMachine::data + 64;
            machine_.vcpu.set_rflags(before.flags);
            std::memcpy(machine_.vcpu.xsave.data(), before.xsave.data(), Vcpu::xsave_size);
            std::memcpy(machine_.memory->writable(GuestPhysical{StepMachine::code}), instruction.data(),
                        instruction.size());
            ASSERT_EQ(machine_.step(), StepResult::Done) << hex(instruction);
            expect_equal(instruction, flags);
            EXPECT_EQ(std::memcmp(block, memory_after.data(), memory_after.size()), 0) << hex(instruction);
            if (HasFailure()) return;
        }
    }

    static std::string hex(const std::string& bytes) {
        std::string text;
        for (char c : bytes) {
            text += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
            text += "0123456789abcdef"[c & 15];
            text += ' ';
        }
        return text;
    }
    std::mt19937_64 random_{12345};

private:
    std::uint64_t interesting() {
        constexpr std::uint64_t corners[] = {0,      1,          0x7f,       0x80,  0xff,      0x7fff,
                                             0x8000, 0x7fffffff, 0x80000000, ~0ull, 1ull << 63};
        std::uint64_t value = random_();
        return value % 4 == 0 ? corners[value / 4 % std::size(corners)] : random_();
    }

    void randomize() {
        for (std::uint64_t& reg : host_.gpr) reg = interesting();
        host_.flags = (random_() & flag_mask) | RFLAGS::Fixed | RFLAGS::IF;
        host_.xsave.fill(std::byte{0});
        for (std::size_t i = 160; i < 416; i++) host_.xsave[i] = static_cast<std::byte>(random_());
        for (std::size_t i = 576; i < 832; i++) host_.xsave[i] = static_cast<std::byte>(random_());
        std::uint16_t fcw = 0x37f;
        std::uint32_t mxcsr = 0x1f80 | static_cast<std::uint32_t>(random_() & 0x6000);
        std::uint64_t components = 7;
        std::memcpy(host_.xsave.data(), &fcw, 2);
        std::memcpy(host_.xsave.data() + 24, &mxcsr, 4);
        std::memcpy(host_.xsave.data() + 512, &components, 8);
        host_.xsave[4] = std::byte{0xff};  // all x87 registers hold something
        for (std::size_t reg = 0; reg < 8; reg++) {
            for (std::size_t i = 0; i < 8; i++)
                host_.xsave[32 + 16 * reg + i] = static_cast<std::byte>(random_());
            host_.xsave[32 + 16 * reg + 7] |= std::byte{0x80};
            std::uint16_t exponent = static_cast<std::uint16_t>(0x3ff0 + random_() % 32) |
                                     static_cast<std::uint16_t>(random_() & 0x8000);
            std::memcpy(host_.xsave.data() + 32 + 16 * reg + 8, &exponent, 2);
        }
    }

    void expect_equal(const std::string& instruction, std::uint64_t flags) {
        for (unsigned reg = 0; reg < 16; reg++) {
            if (reg == 4) continue;
            EXPECT_EQ(machine_.vcpu.gpr[reg], host_.gpr[reg])
                << "register " << reg << " in " << hex(instruction);
        }
        EXPECT_EQ(machine_.vcpu.rflags() & flags, host_.flags & flags) << hex(instruction);
        auto same = [&](std::size_t from, std::size_t to) {
            return std::memcmp(machine_.vcpu.xsave.data() + from, host_.xsave.data() + from, to - from) == 0;
        };
        EXPECT_TRUE(same(0, 6)) << "x87 control " << hex(instruction);
        EXPECT_TRUE(same(24, 28)) << "mxcsr " << hex(instruction);
        for (std::size_t reg = 0; reg < 8; reg++)
            EXPECT_TRUE(same(32 + 16 * reg, 42 + 16 * reg)) << "st " << hex(instruction);
        EXPECT_TRUE(same(160, 416)) << "xmm " << hex(instruction);
        EXPECT_TRUE(same(576, 832)) << "ymm " << hex(instruction);
    }

    StepMachine machine_;
    NativeRunner runner_;
    HostState host_;
};

std::string bytes(std::initializer_list<int> values) {
    std::string text;
    for (int value : values) text += static_cast<char>(value);
    return text;
}

// ModRM bytes: a register pair without rsp, or memory at [rbx + 8 * n].
TEST_F(Differential, ArithmeticForms) {
    for (int opcode = 0; opcode < 0x40; opcode++) {
        if ((opcode & 7) > 3) continue;
        for (int rex : {0x48, 0x40, 0x4d}) {
            compare(bytes({rex, opcode, 0xc1}));
            compare(bytes({rex, opcode, 0xfa}));
            if (rex != 0x4d) compare(bytes({rex, opcode, 0x43, 0x10}));
        }
        compare(bytes({0x66, opcode, 0xd1}));
        if ((opcode & 1) == 0) compare(bytes({opcode, 0xe1}));  // ah with cl
        compare(bytes({0x66, opcode, 0x43, 0x08}));
    }
}

TEST_F(Differential, UnaryShiftsAndBits) {
    for (int digit : {0, 1, 2, 3, 4, 5, 7}) {
        for (int opcode : {0xd1, 0xd3}) {
            std::uint64_t flags =
                opcode == 0xd3 ? 0 : flag_mask & ~RFLAGS::AF;  // of counts above one some are undefined
            compare(bytes({0x48, opcode, 0xc0 | digit << 3 | 2}), 20, flags);
            compare(bytes({opcode, 0x43 | digit << 3, 0x20}), 20, flags);
        }
        compare(bytes({0x48, 0xc1, 0xc0 | digit << 3 | 6, 1}), 20, flag_mask & ~RFLAGS::AF);
    }
    for (int digit : {2, 3}) compare(bytes({0x48, 0xf7, 0x43 | digit << 3, 0x20}));
    for (int digit : {4, 5})
        compare(bytes({0x48, 0xf7, 0x43 | digit << 3, 0x20}), 20, RFLAGS::CF | RFLAGS::OF);
    compare(bytes({0x48, 0x0f, 0xaf, 0x43, 0x08}), 20, RFLAGS::CF | RFLAGS::OF);  // imul
    compare(bytes({0x48, 0x69, 0xca, 0x11, 0x22, 0x33, 0x44}), 20, RFLAGS::CF | RFLAGS::OF);
    compare(bytes({0x48, 0x0f, 0xc8}));  // bswap
    compare(bytes({0x49, 0x0f, 0xca}));
    compare(bytes({0x48, 0x0f, 0xba, 0x6b, 0x08, 0x25}), 20, RFLAGS::CF);         // bts [m],imm
    compare(bytes({0x48, 0x0f, 0xbc, 0xca}), 20, RFLAGS::ZF);                     // bsf
    compare(bytes({0xf3, 0x48, 0x0f, 0xbc, 0xca}), 20, RFLAGS::ZF | RFLAGS::CF);  // tzcnt
    compare(bytes({0xf3, 0x48, 0x0f, 0xb8, 0x4b, 0x08}));                         // popcnt
    compare(bytes({0xf2, 0x48, 0x0f, 0x38, 0xf1, 0x4b, 0x08}));                   // crc32
    compare(bytes({0x66, 0xf2, 0x0f, 0x38, 0xf1, 0x4b, 0x08}));
    compare(bytes({0x48, 0x0f, 0x38, 0xf0, 0x4b, 0x08}));                                            // movbe
    compare(bytes({0x48, 0x0f, 0xa4, 0x4b, 0x08, 0x03}), 20, RFLAGS::CF | RFLAGS::ZF | RFLAGS::SF);  // shld
    for (int condition = 0; condition < 16; condition++) {
        compare(bytes({0x48, 0x0f, 0x40 | condition, 0x4b, 0x08}));  // cmov
        compare(bytes({0x0f, 0x90 | condition, 0x43, 0x08}));        // setcc
        compare(bytes({0x0f, 0x90 | condition, 0xc4}));              // setcc ah
    }
    for (int opcode : {0x98, 0x99}) {
        compare(bytes({0x48, opcode}));
        compare(bytes({0x66, opcode}));
    }
}

TEST_F(Differential, Atomics) {
    for (int opcode : {0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31}) {
        compare(bytes({0xf0, 0x48, opcode, 0x4b, 0x08}), 20, flag_mask);
    }
    compare(bytes({0xf0, 0x48, 0x0f, 0xc1, 0x4b, 0x08}));  // xadd
    compare(bytes({0xf0, 0x48, 0x0f, 0xb1, 0x4b, 0x08}));  // cmpxchg
    compare(bytes({0xf0, 0x48, 0x0f, 0xc7, 0x4b, 0x10}));  // cmpxchg16b: rbx is the base and an operand
    compare(bytes({0x87, 0x4b, 0x08}));                    // xchg
    compare(bytes({0x86, 0x63, 0x08}));                    // xchg ah
}

TEST_F(Differential, Bmi) {
    compare(bytes({0xc4, 0xe2, 0xf0, 0xf2, 0x43, 0x08}), 20,
            RFLAGS::ZF | RFLAGS::SF | RFLAGS::CF | RFLAGS::OF);  // andn
    compare(bytes({0xc4, 0xe2, 0xf1, 0xf7, 0x43, 0x08}));        // shlx
    compare(bytes({0xc4, 0xe2, 0xf3, 0xf5, 0x43, 0x08}));        // pdep
    compare(bytes({0xc4, 0xc2, 0xf2, 0xf5, 0xc2}));              // pext rax,rcx,r10
    compare(bytes({0xc4, 0xe2, 0xfb, 0xf6, 0x4b, 0x08}));        // mulx
    compare(bytes({0xc4, 0xe3, 0xfb, 0xf0, 0x43, 0x08, 0x0d}));  // rorx
    compare(bytes({0x66, 0x48, 0x0f, 0x38, 0xf6, 0xca}));        // adcx
}

TEST_F(Differential, Sse) {
    for (int opcode : {0x51, 0x54, 0x57, 0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f, 0x14, 0x15}) {
        compare(bytes({0x0f, opcode, 0xca}));
        compare(bytes({0x66, 0x44, 0x0f, opcode, 0x4b, 0x10}));
        if (opcode >= 0x58 || opcode == 0x51) {
            compare(bytes({0xf2, 0x0f, opcode, 0x4b, 0x08}));
            compare(bytes({0xf3, 0x41, 0x0f, opcode, 0xc9}));
        }
    }
    for (int opcode = 0x60; opcode <= 0x6d; opcode++) compare(bytes({0x66, 0x0f, opcode, 0x53, 0x20}));
    for (int opcode = 0xd1; opcode <= 0xfe; opcode++) {
        if (opcode == 0xd6 || opcode == 0xd7 || opcode == 0xe6 || opcode == 0xe7 || opcode == 0xf0 ||
            opcode == 0xf7)
            continue;
        compare(bytes({0x66, 0x0f, opcode, 0x53, 0x20}), 8);
        compare(bytes({0x66, 0x45, 0x0f, opcode, 0xd7}), 8);
    }
    compare(bytes({0x0f, 0x10, 0x4b, 0x03}));                                   // movups
    compare(bytes({0x0f, 0x29, 0x4b, 0x10}));                                   // movaps store
    compare(bytes({0xf3, 0x0f, 0x10, 0x4b, 0x03}));                             // movss
    compare(bytes({0x66, 0x48, 0x0f, 0x6e, 0xca}));                             // movq xmm,rdx
    compare(bytes({0x66, 0x48, 0x0f, 0x7e, 0xca}));                             // movq rdx,xmm
    compare(bytes({0xf2, 0x48, 0x0f, 0x2a, 0xca}));                             // cvtsi2sd
    compare(bytes({0xf2, 0x48, 0x0f, 0x2c, 0xca}));                             // cvttsd2si
    compare(bytes({0xf2, 0x48, 0x0f, 0x2d, 0x4b, 0x08}));                       // cvtsd2si from memory
    compare(bytes({0xc4, 0xe1, 0xfa, 0x2d, 0x4b, 0x08}));                       // vcvtss2si from memory
    compare(bytes({0x66, 0x0f, 0x2e, 0xca}));                                   // ucomisd
    compare(bytes({0x66, 0x0f, 0xd7, 0xca}));                                   // pmovmskb
    compare(bytes({0x66, 0x0f, 0x38, 0x10, 0x4b, 0x10}));                       // pblendvb, xmm0 implicit
    compare(bytes({0x66, 0x0f, 0x38, 0xdc, 0x4b, 0x10}));                       // aesenc
    compare(bytes({0x0f, 0x38, 0xcb, 0xca}));                                   // sha256rnds2
    compare(bytes({0x66, 0x0f, 0x3a, 0x44, 0xca, 0x11}));                       // pclmulqdq
    compare(bytes({0x66, 0x0f, 0x3a, 0x63, 0x4b, 0x03, 0x0c}), 20, flag_mask);  // pcmpistri, unaligned
    compare(bytes({0x66, 0x0f, 0x3a, 0x61, 0x4b, 0x03, 0x0c}), 20, flag_mask);  // pcmpestri
}

TEST_F(Differential, Avx) {
    compare(bytes({0xc5, 0xf4, 0x58, 0x43, 0x03}));              // vaddps ymm0,ymm1,[m]
    compare(bytes({0xc4, 0x41, 0x34, 0x58, 0xd3}));              // vaddps ymm10,ymm9,ymm11
    compare(bytes({0xc5, 0xf0, 0x58, 0xc2}));                    // vaddps xmm0,xmm1,xmm2: clears the top
    compare(bytes({0xc5, 0xfc, 0x10, 0x43, 0x07}));              // vmovups ymm0,[m]
    compare(bytes({0xc5, 0x7c, 0x11, 0x63, 0x07}));              // vmovups [m],ymm12
    compare(bytes({0xc4, 0xe2, 0x7d, 0x18, 0x43, 0x04}));        // vbroadcastss ymm0,[m]
    compare(bytes({0xc4, 0xe3, 0x75, 0x18, 0x43, 0x10, 0x01}));  // vinsertf128
    compare(bytes({0xc4, 0xe3, 0x75, 0x4a, 0xc2, 0x30}));        // vblendvps ymm0,ymm1,ymm2,ymm3
    compare(bytes({0xc4, 0xe2, 0xf5, 0xb8, 0x43, 0x08}));        // vfmadd231pd
    compare(bytes({0xc4, 0xe3, 0xfd, 0x00, 0xca, 0x1b}));        // vpermq
    compare(bytes({0xc5, 0xf5, 0xfe, 0x43, 0x20}));              // vpaddd
    compare(bytes({0xc5, 0xfd, 0xd7, 0xca}));                    // vpmovmskb ecx,ymm2
    compare(bytes({0xc5, 0xfc, 0x77}));                          // vzeroall
    compare(bytes({0xc5, 0xf8, 0x77}));                          // vzeroupper
    compare(bytes({0xc4, 0xe2, 0x75, 0x8c, 0x43, 0x08}));        // vpmaskmovd ymm0,ymm1,[m]
    compare(bytes({0xc4, 0xe2, 0xf5, 0x8e, 0x43, 0x08}));        // vpmaskmovq [m],ymm1,ymm0
    compare(bytes({0xc4, 0xe2, 0x79, 0x13, 0x4b, 0x08}));        // vcvtph2ps
}

TEST_F(Differential, X87AndMmx) {
    for (int digit = 0; digit < 8; digit++) {
        compare(bytes({0xd8, 0x43 | digit << 3, 0x08}));
        compare(bytes({0xdc, 0x43 | digit << 3, 0x08}));
        compare(bytes({0xd8, 0xc1 | digit << 3}));
    }
    compare(bytes({0xdd, 0x5b, 0x08}));  // fstp m64
    compare(bytes({0xdb, 0x7b, 0x08}));  // fstp m80
    compare(bytes({0xd9, 0xfa}));        // fsqrt
    compare(bytes({0xd9, 0xfe}));        // fsin
    compare(bytes({0xdf, 0xe0}));        // fnstsw ax
    compare(bytes({0xd9, 0x7b, 0x08}));  // fnstcw
    compare(bytes({0xdb, 0xe3}));        // fninit
    compare(bytes({0xdd, 0xc3}));        // ffree
    compare(bytes({0x9b}));              // fwait
    compare(bytes({0xdb, 0xf1}));        // fcomi
    compare(bytes({0x0f, 0xfe, 0xca}));  // paddd mm1,mm2
    compare(bytes({0x0f, 0x6f, 0x4b, 0x08}));
    compare(bytes({0x66, 0x0f, 0x2a, 0xca}));  // cvtpi2pd xmm1,mm2
    compare(bytes({0x0f, 0x77}));              // emms
}

}  // namespace
}  // namespace undercroft::test
