// SPDX-License-Identifier: Apache-2.0
// For tests: a processor in 64-bit mode with 4 MiB of identity-mapped RAM, an IDT whose handlers can be told
// apart, and an environment that records.
//
// Layout: page tables at 0x1000, IDT at 0x8000, GDT at 0x9000, TSS at 0xa000, handlers at 0x10000 + 16 *
// vector, stacks at 0x1f000 (kernel) and 0x2f000 (the guest's), code at 0x100000, data at 0x200000. Device
// memory lies at 0x400000.

#pragma once

#include "base/check.hpp"
#include "cpu/cpuid.hpp"
#include "cpu/environment.hpp"
#include "cpu/vcpu.hpp"
#include "engine/step/step.hpp"
#include "memory/guest_memory.hpp"

#include <cstring>
#include <initializer_list>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace undercroft::test {

class RecordingEnvironment final : public Environment {
public:
    struct Event {
        std::uint64_t address;
        unsigned size;
        std::uint64_t value;
        bool operator==(const Event&) const = default;
    };
    std::uint64_t read_device(GuestPhysical address, unsigned size) noexcept override {
        reads.push_back({address.value(), size, device_value});
        return std::exchange(device_value, device_value + device_step);
    }
    void write_device(GuestPhysical address, unsigned size, std::uint64_t value) noexcept override {
        writes.push_back({address.value(), size, value});
    }
    std::uint64_t read_port(std::uint16_t port, unsigned size) noexcept override {
        port_reads.push_back({port, size, device_value});
        return device_value;
    }
    void write_port(std::uint16_t port, unsigned size, std::uint64_t value) noexcept override {
        port_writes.push_back({port, size, value});
    }
    std::optional<std::uint64_t> read_msr(Vcpu&, std::uint32_t) noexcept override { return std::nullopt; }
    bool write_msr(Vcpu&, std::uint32_t, std::uint64_t) noexcept override { return false; }
    std::optional<std::uint8_t> acknowledge_interrupt(Vcpu&) noexcept override { return interrupt; }
    std::uint8_t task_priority(Vcpu&) noexcept override { return 0; }
    void set_task_priority(Vcpu&, std::uint8_t) noexcept override {}
    void report(const Vcpu&, Unusual what, std::uint64_t) noexcept override { reports.push_back(what); }

    std::uint64_t device_value = 0x8877665544332211;
    std::uint64_t device_step = 0;  // between reads of device memory
    std::optional<std::uint8_t> interrupt;
    std::vector<Event> reads, writes, port_reads, port_writes;
    std::vector<Unusual> reports;
};

class StepMachine {
public:
    static constexpr std::uint64_t ram_size = 4 << 20;
    static constexpr std::uint64_t tables = 0x1000, idt = 0x8000, gdt = 0x9000, tss = 0xa000,
                                   handlers = 0x10000, kernel_stack = 0x1f000, stack = 0x2f000,
                                   code = 0x100000, data = 0x200000, device = 0x400000;
    static constexpr std::uint16_t kernel_code = 0x08, kernel_data = 0x10, user_code32 = 0x1b,
                                   user_data = 0x23, user_code = 0x2b, task = 0x30;

    StepMachine()
        : memory{std::move(*GuestMemory::create({{GuestPhysical{0}, ram_size}}))},
          code_pages{memory->page_limit()},
          vcpu_{std::make_unique<Vcpu>()},
          vcpu{*vcpu_} {
        write_tables();
        reset(vcpu);
        vcpu.environment = &environment;
        vcpu.cpuid = &cpuid;
        vcpu.paging = {CR0::PE | CR0::MP | CR0::ET | CR0::NE | CR0::WP | CR0::PG, tables,
                       CR4::PAE | CR4::PGE | CR4::OSFXSR | CR4::OSXMMEXCPT | CR4::OSXSAVE | CR4::FSGSBASE,
                       EFER::SCE | EFER::LME | EFER::LMA | EFER::NXE};
        mmu = std::make_unique<Mmu>(*memory, code_pages, environment, vcpu.paging, vcpu.tlb);
        vcpu.mmu = mmu.get();
        vcpu.xcr0 = XCR0::Supported;
        vcpu.gdtr = {gdt, 0x4f};
        vcpu.idtr = {idt, 0xfff};
        for (Segment& segment : vcpu.segment) segment = Descriptor::expand(flat_data, kernel_data);
        vcpu.tr = {task, 0x8b, 0x67, tss};
        be_kernel();
    }

    void be_kernel() {
        vcpu.cpl = 0;
        vcpu.seg(SegmentName::CS) = Descriptor::expand(flat_code64, kernel_code);
        vcpu.seg(SegmentName::SS) = Descriptor::expand(flat_data, kernel_data);
        vcpu.reg(Gpr::Rsp) = stack;
        vcpu.rip = code;
    }
    void be_user() {
        vcpu.cpl = 3;
        vcpu.seg(SegmentName::CS) = Descriptor::expand(flat_code64 | 3ull << 45, user_code);
        vcpu.seg(SegmentName::SS) = Descriptor::expand(flat_data | 3ull << 45, user_data);
        vcpu.reg(Gpr::Rsp) = stack;
        vcpu.rip = code;
    }
    // 32-bit code of a user process.
    void be_user32() {
        be_user();
        vcpu.seg(SegmentName::CS) = Descriptor::expand(flat_code32 | 3ull << 45, user_code32);
        for (SegmentName name : {SegmentName::DS, SegmentName::ES, SegmentName::SS}) {
            vcpu.seg(name) = Descriptor::expand(flat_data | 3ull << 45, user_data);
        }
    }

    // Places code and goes there.
    void load(std::initializer_list<int> bytes, std::uint64_t at = code) {
        std::uint64_t to = at;
        for (int byte : bytes) *memory->writable(GuestPhysical{to++}) = static_cast<std::byte>(byte);
        vcpu.rip = at;
    }
    StepResult step() { return executor.step(vcpu); }
    StepResult run(std::initializer_list<int> bytes) {
        load(bytes);
        return step();
    }

    template <class T>
    T get(std::uint64_t at) const {
        T value{};
        CHECK(memory->read(GuestPhysical{at}, std::as_writable_bytes(std::span{&value, 1})));
        return value;
    }
    template <class T>
    void put(std::uint64_t at, T value) {
        CHECK(memory->write(GuestPhysical{at}, std::as_bytes(std::span{&value, 1})));
    }
    std::uint64_t& reg(Gpr name) { return vcpu.reg(name); }
    bool flag(std::uint64_t mask) const { return (vcpu.rflags() & mask) != 0; }

    // The vector whose handler RIP is at, -1 if none.
    int vector() const {
        bool in_handlers = vcpu.rip >= handlers && vcpu.rip < handlers + 256 * 16;
        return in_handlers ? static_cast<int>((vcpu.rip - handlers) / 16) : -1;
    }
    // The frame on the handler's stack: error code (if any) first.
    std::uint64_t pushed(unsigned index) const { return get<std::uint64_t>(vcpu.reg(Gpr::Rsp) + 8 * index); }

    // The page-table entry of a 4 KiB page; changes need mmu->flush_all().
    std::uint64_t page_entry(std::uint64_t address) const { return get<std::uint64_t>(entry_at(address)); }
    void set_page_entry(std::uint64_t address, std::uint64_t entry) {
        put(entry_at(address), entry);
        mmu->flush_all();
    }
    void unmap(std::uint64_t address) { set_page_entry(address, 0); }
    void map(std::uint64_t address, std::uint64_t flags) { set_page_entry(address, address | flags); }

    std::unique_ptr<GuestMemory> memory;
    CodePages code_pages;
    RecordingEnvironment environment;
    CpuidTable cpuid{1'000'000, 1};

private:
    static constexpr std::uint64_t flat_code64 = 0x00af9b000000ffff;
    static constexpr std::uint64_t flat_code32 = 0x00cf9b000000ffff;
    static constexpr std::uint64_t flat_data = 0x00cf93000000ffff;

    static constexpr std::uint64_t entry_at(std::uint64_t address) { return 0x4000 + address / 4096 * 8; }

    // PML4 at 0x1000, PDPT at 0x2000, page directory at 0x3000, three page tables from 0x4000: 6 MiB.
    void write_tables() {
        constexpr std::uint64_t open =
            PageEntry::P | PageEntry::RW | PageEntry::US | PageEntry::A | PageEntry::D;
        put<std::uint64_t>(0x1000, 0x2000 | open);
        put<std::uint64_t>(0x2000, 0x3000 | open);
        for (std::uint64_t i = 0; i < 3; i++) put<std::uint64_t>(0x3000 + 8 * i, (0x4000 + 4096 * i) | open);
        for (std::uint64_t page = 0; page < 3 * 512; page++) put(entry_at(page * 4096), page * 4096 | open);
        for (std::uint64_t vector = 0; vector < 256; vector++) {
            std::uint64_t to = handlers + 16 * vector;
            put<std::uint64_t>(idt + 16 * vector,
                               (to & 0xffff) | kernel_code << 16 | 0xee00ull << 32 | (to & 0xffff0000) << 32);
            put<std::uint64_t>(idt + 16 * vector + 8, 0);
        }
        put<std::uint64_t>(gdt + kernel_code, flat_code64);
        put<std::uint64_t>(gdt + kernel_data, flat_data);
        put<std::uint64_t>(gdt + 0x18, flat_code32 | 3ull << 45);
        put<std::uint64_t>(gdt + 0x20, flat_data | 3ull << 45);
        put<std::uint64_t>(gdt + 0x28, flat_code64 | 3ull << 45);
        put<std::uint64_t>(gdt + task, 0x00008b0000000067 | tss << 16);
        put<std::uint64_t>(gdt + task + 8, 0);
        put<std::uint64_t>(tss + 4, kernel_stack);
        put<std::uint16_t>(tss + 0x66, 0x68);  // no permission bitmap
    }

    std::unique_ptr<Vcpu> vcpu_;

public:
    Vcpu& vcpu;
    std::unique_ptr<Mmu> mmu;
    StepExecutor executor;
};

}  // namespace undercroft::test
