// SPDX-License-Identifier: Apache-2.0
// For tests: one vCPU in long mode with page tables, GDT, LDT, IDT and TSS in its own RAM, as a small kernel
// would have them, and an environment that records.
//
// Memory is mapped one to one; pages from `user_start` up are the user's. All handlers' addresses tell their
// vector.

#pragma once

#include "cpu/cpuid.hpp"
#include "cpu/deliver.hpp"
#include "cpu/environment.hpp"
#include "cpu/instructions.hpp"
#include "cpu/vcpu.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <vector>

namespace undercroft::test {

class RecordingEnvironment final : public Environment {
public:
    std::uint64_t read_device(GuestPhysical, unsigned) noexcept override { return ~0ull; }
    void write_device(GuestPhysical, unsigned, std::uint64_t) noexcept override {}
    std::uint64_t read_port(std::uint16_t, unsigned) noexcept override { return ~0ull; }
    void write_port(std::uint16_t, unsigned, std::uint64_t) noexcept override {}
    std::optional<std::uint64_t> read_msr(Vcpu&, std::uint32_t index) noexcept override {
        auto found = msrs.find(index);
        return found == msrs.end() ? std::nullopt : std::optional{found->second};
    }
    bool write_msr(Vcpu&, std::uint32_t index, std::uint64_t value) noexcept override {
        if (msrs.count(index) == 0) return false;
        msrs[index] = value;
        return true;
    }
    std::optional<std::uint8_t> acknowledge_interrupt(Vcpu&) noexcept override {
        ++acknowledged;
        if (interrupts.empty()) return std::nullopt;
        std::uint8_t vector = interrupts.back();
        interrupts.pop_back();
        return vector;
    }
    std::uint8_t task_priority(Vcpu&) noexcept override { return priority; }
    void set_task_priority(Vcpu&, std::uint8_t value) noexcept override { priority = value; }
    void report(const Vcpu&, Unusual what, std::uint64_t detail) noexcept override {
        reports.emplace_back(what, detail);
    }

    std::map<std::uint32_t, std::uint64_t> msrs;
    std::vector<std::uint8_t> interrupts;
    unsigned acknowledged = 0;
    std::uint8_t priority = 0;
    std::vector<std::pair<Unusual, std::uint64_t>> reports;
};

// Selectors of the GDT below.
inline constexpr std::uint16_t kernel_code = 0x08, kernel_data = 0x10, user_code32 = 0x1b, user_data = 0x23,
                               user_code = 0x2b, task = 0x30, local = 0x40, spare = 0x50, spare2 = 0x58,
                               conforming = 0x60, kernel_code32 = 0x68, gdt_size = 0x80;

// Descriptors by access byte (bits 47..40) and flags (bits 55..52), flat.
constexpr std::uint64_t flat(std::uint64_t access, std::uint64_t flags) {
    return 0xffff | access << 40 | 0xfull << 48 | flags << 52;
}
inline constexpr std::uint64_t code64_flags = 0xa, code32_flags = 0xc, data_flags = 0xc;

// A vendor's processor for CpuidTable: answers with all features but the vendor's string.
CpuidResult amd_host(std::uint32_t leaf, std::uint32_t subleaf);
CpuidResult intel_host(std::uint32_t leaf, std::uint32_t subleaf);

class CpuTest : public ::testing::Test {
public:
    static constexpr std::uint64_t ram_size = 4 << 20;
    static constexpr std::uint64_t gdt = 0x10000, idt = 0x11000, tss = 0x12000, ldt = 0x13000;
    static constexpr std::uint64_t kernel_stack = 0x20000, ist_stack = 0x30000;  // tops
    static constexpr std::uint64_t user_start = 0x40000, user_stack = 0x50000;
    static constexpr std::uint64_t handlers = 0xffffffff80000000;  // + vector * 16
    static constexpr std::uint64_t tables = 0x100000;              // PML4, PDPT, PD, PT
    static constexpr std::uint64_t rip = 0x5000;

    CpuTest();

    template <class T>
    T& at(std::uint64_t physical) {
        return *reinterpret_cast<T*>(memory->writable(GuestPhysical{physical}));
    }
    std::uint64_t& word(std::uint64_t physical) { return at<std::uint64_t>(physical); }
    std::uint64_t& descriptor(std::uint16_t selector) { return word(gdt + (selector & 0xfff8)); }
    std::uint64_t& page_entry(std::uint64_t address) { return word(tables + 0x3000 + (address >> 12) * 8); }
    void set_stack(unsigned tss_offset, std::uint64_t top) {
        std::memcpy(memory->writable(GuestPhysical{tss + tss_offset}), &top, sizeof top);  // not aligned
    }
    void unmap(std::uint64_t address) {
        page_entry(address) &= ~PageEntry::P;
        vcpu.mmu->flush_all();
    }
    void set_gate(unsigned vector, std::uint64_t type, unsigned dpl = 0, unsigned ist = 0,
                  std::uint16_t selector = kernel_code);

    void become_user();                    // CPL 3, 64-bit, user stack
    void become_user32();                  // CPL 3, compatibility mode
    void enter_legacy(std::uint64_t cr0);  // no long mode, no paging; CS and SS 32-bit flat, or real mode's

    // The instruction is refused with exactly this exception, and nothing in the frame has changed.
    template <class Action>
    void refuses(Vector vector, std::optional<std::uint32_t> error, Action action) {
        std::vector<std::byte> before = frame();
        trap = {};
        EXPECT_FALSE(action());
        EXPECT_EQ(static_cast<int>(trap.vector), static_cast<int>(vector));
        EXPECT_EQ(trap.kind, TrapKind::Fault);
        EXPECT_EQ(trap.has_error_code, error.has_value());
        EXPECT_EQ(trap.error_code, error.value_or(0));
        EXPECT_TRUE(frame() == before) << "state changed";
    }
    std::vector<std::byte> frame() const {
        std::vector<std::byte> bytes(offsetof(Vcpu, xsave));
        std::memcpy(bytes.data(), static_cast<const void*>(&vcpu), bytes.size());
        return bytes;
    }

    // Pushes items so that the last is at the lowest address; sets RSP.
    void put_stack(std::uint64_t top, std::initializer_list<std::uint64_t> items) {
        for (std::uint64_t item : items) word(top -= 8) = item;
        vcpu.reg(Gpr::Rsp) = top;
    }
    std::uint64_t handler_of(unsigned vector) const { return handlers + vector * 16; }
    void expect_at_handler(Vector vector) { EXPECT_EQ(vcpu.rip, handler_of(static_cast<unsigned>(vector))); }
    // Item n of the frame on the handler's stack.
    std::uint64_t pushed(unsigned n) { return word(vcpu.reg(Gpr::Rsp) + n * 8); }

    RecordingEnvironment environment;
    CpuidTable amd{amd_host, 2'000'000, 2};
    CpuidTable intel{intel_host, 2'000'000, 2};
    std::unique_ptr<GuestMemory> memory = std::move(*GuestMemory::create({{GuestPhysical{0}, ram_size}}));
    CodePages code_pages{memory->page_limit()};
    std::unique_ptr<Vcpu> owned = std::make_unique<Vcpu>();
    Vcpu& vcpu = *owned;
    Mmu mmu{*memory, code_pages, environment, vcpu.paging, vcpu.tlb};
    Trap trap;
};

}  // namespace undercroft::test
