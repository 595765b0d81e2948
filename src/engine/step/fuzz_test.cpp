// SPDX-License-Identifier: Apache-2.0
// Random instruction bytes on random state, in every mode: whatever the guest executes, the host's own state
// survives.
#include "engine/step/testing.hpp"

#include <gtest/gtest.h>

#include <random>

namespace undercroft::test {
namespace {

struct HostControl {
    std::uint32_t mxcsr = 0;
    std::uint16_t x87_control = 0;
    std::uint16_t x87_status = 0;
    std::uint64_t flags = 0;
    bool operator==(const HostControl&) const = default;
};

HostControl host_control() {
    HostControl now;
    asm volatile("stmxcsr %0" : "=m"(now.mxcsr));
    asm volatile("fnstcw %0" : "=m"(now.x87_control));
    asm volatile("fnstsw %0" : "=m"(now.x87_status));
    asm volatile("pushfq; popq %0" : "=r"(now.flags));
    now.flags &= RFLAGS::DF | RFLAGS::AC | RFLAGS::TF | RFLAGS::NT;
    return now;
}

class Fuzz : public ::testing::Test {
protected:
    static constexpr unsigned rounds = 40000;

    void run(void (StepMachine::*enter)()) {
        HostControl before = host_control();
        for (unsigned i = 0; i < rounds; i++) {
            if (i % 2000 == 0) machine_ = std::make_unique<StepMachine>();
            prepare(enter);
            machine_->step();
            if (machine_->vcpu.activity != Activity::Running) machine_ = std::make_unique<StepMachine>();
            ASSERT_EQ(host_control(), before) << "round " << i;
        }
    }

private:
    std::uint64_t value() {
        std::uint64_t raw = random_();
        switch (raw % 4) {
            case 0: return StepMachine::data + (raw >> 8) % 0x20000;
            case 1: return StepMachine::data + ((raw >> 8) % 0x200) * 64;
            case 2: return raw >> (raw >> 58);
            default: return raw;
        }
    }

    void prepare(void (StepMachine::*enter)()) {
        StepMachine& m = *machine_;
        for (std::uint64_t& reg : m.vcpu.gpr) reg = value();
        (m.*enter)();
        m.vcpu.set_rflags((random_() & (RFLAGS::Arithmetic | RFLAGS::DF | RFLAGS::AC)) | RFLAGS::Fixed);
        m.vcpu.debug = DebugRegisters{};
        m.vcpu.interrupt_shadow = 0;
        m.vcpu.paging = {
            CR0::PE | CR0::MP | CR0::ET | CR0::NE | CR0::WP | CR0::PG | (random_() % 8 == 0 ? CR0::AM : 0),
            StepMachine::tables,
            CR4::PAE | CR4::PGE | CR4::OSFXSR | CR4::OSXMMEXCPT | CR4::OSXSAVE | CR4::FSGSBASE,
            EFER::SCE | EFER::LME | EFER::LMA | EFER::NXE};
        m.mmu->flush_all();
        m.vcpu.idtr = {StepMachine::idt, 0xfff};
        m.vcpu.gdtr = {StepMachine::gdt, 0x4f};
        m.vcpu.xcr0 = XCR0::Supported;
        if (random_() % 4 == 0) unmask_exceptions();
        std::uint64_t at =
            random_() % 8 == 0 ? StepMachine::code + 0x1000 - random_() % 16 : StepMachine::code;
        std::uint64_t where = at;
        for (int byte : instruction()) m.put(where++, static_cast<std::uint8_t>(byte));
        m.vcpu.rip = at;
    }

    void unmask_exceptions() {
        auto mxcsr = static_cast<std::uint32_t>(random_() & 0xffff);
        auto control = static_cast<std::uint16_t>(random_() & 0xf7f);
        std::memcpy(machine_->vcpu.xsave.data() + 24, &mxcsr, 4);
        std::memcpy(machine_->vcpu.xsave.data(), &control, 2);
        for (std::size_t i = 160; i < 416; i += 8) {
            std::uint64_t word = random_();
            std::memcpy(machine_->vcpu.xsave.data() + i, &word, 8);
        }
        std::uint64_t components = random_() & 7;
        std::memcpy(machine_->vcpu.xsave.data() + 512, &components, 8);
    }

    // Prefixes, an opcode of any map, random bytes behind.
    std::vector<int> instruction() {
        constexpr int prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x64, 0x65};
        std::vector<int> bytes;
        while (random_() % 3 == 0) bytes.push_back(prefixes[random_() % std::size(prefixes)]);
        if (random_() % 2 == 0) bytes.push_back(0x40 | static_cast<int>(random_() % 16));
        switch (random_() % 8) {
            case 0:
            case 1: break;
            case 2:
            case 3: bytes.push_back(0x0f); break;
            case 4: bytes.insert(bytes.end(), {0x0f, 0x38}); break;
            case 5: bytes.insert(bytes.end(), {0x0f, 0x3a}); break;
            case 6:
                bytes = {0xc4, static_cast<int>((random_() & 0xe0) | (1 + random_() % 3)),
                         static_cast<int>(random_() & 0xff)};
                break;
            default: bytes = {0xc5, static_cast<int>(random_() & 0xff)}; break;
        }
        for (int i = 0; i < 12; i++) bytes.push_back(static_cast<int>(random_() & 0xff));
        return bytes;
    }

    std::mt19937_64 random_{2026};
    std::unique_ptr<StepMachine> machine_;
};

TEST_F(Fuzz, User64) { run(&StepMachine::be_user); }
TEST_F(Fuzz, User32) { run(&StepMachine::be_user32); }
TEST_F(Fuzz, Kernel64) { run(&StepMachine::be_kernel); }

}  // namespace
}  // namespace undercroft::test
