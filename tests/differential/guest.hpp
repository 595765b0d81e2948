// SPDX-License-Identifier: Apache-2.0
// A machine around one engine that runs sequences at privilege level 3, with layout.hpp's pages and Linux's
// selectors. Its handlers halt, so that what was delivered can be read from the kernel's stack.

#pragma once

#include "cpu/cpuid.hpp"
#include "cpu/environment.hpp"
#include "cpu/vcpu.hpp"
#include "engine/step/step.hpp"
#include "engine/translate/engine.hpp"
#include "image.hpp"
#include "memory/guest_memory.hpp"
#include "state.hpp"

#include <functional>
#include <memory>
#include <vector>

namespace undercroft::differential {

class QuietEnvironment final : public Environment {
public:
    std::uint64_t read_device(GuestPhysical, unsigned) noexcept override { return ~0ull; }
    void write_device(GuestPhysical, unsigned, std::uint64_t) noexcept override {}
    std::uint64_t read_port(std::uint16_t, unsigned) noexcept override { return ~0ull; }
    void write_port(std::uint16_t, unsigned, std::uint64_t) noexcept override {}
    std::optional<std::uint64_t> read_msr(Vcpu&, std::uint32_t) noexcept override { return std::nullopt; }
    bool write_msr(Vcpu&, std::uint32_t, std::uint64_t) noexcept override { return false; }
    std::optional<std::uint8_t> acknowledge_interrupt(Vcpu&) noexcept override { return std::nullopt; }
    std::uint8_t task_priority(Vcpu&) noexcept override { return 0; }
    void set_task_priority(Vcpu&, std::uint8_t) noexcept override {}
    void report(const Vcpu&, Unusual, std::uint64_t) noexcept override {}
};

class Guest {
public:
    explicit Guest(const Images& images);
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;

    void prepare(const Sequence& sequence);
    // What came of it: the vCPU is in a handler, or at the exit.
    void take(const Sequence& sequence, Ending& result) const;

    Vcpu& vcpu() { return *vcpu_; }
    // Code bytes at `address`, up to the end of the code pages.
    std::span<const std::uint8_t> code_at(std::uint64_t address, std::array<std::uint8_t, 15>& buffer) const;
    const std::byte* frame(unsigned number) const;
    bool in_handler() const { return vcpu_->cpl == 0; }

private:
    std::byte* at(std::uint64_t physical) const { return memory_->writable(GuestPhysical{physical}); }
    std::uint64_t& entry(std::uint64_t table, std::uint64_t index) const;
    std::uint64_t frame_address(unsigned number) const;
    void map(std::uint64_t address, std::uint64_t physical, std::uint64_t flags);
    void map_code(unsigned slot);
    void write_tables();
    void set_registers();

    const Images& images_;
    std::unique_ptr<GuestMemory> memory_;
    CodePages code_pages_;
    QuietEnvironment environment_;
    CpuidTable cpuid_{1'000'000, 1};
    std::unique_ptr<Vcpu> vcpu_;
    std::unique_ptr<Mmu> mmu_;
    std::vector<std::byte> start_;  // the vCPU's state
    std::uint64_t next_table_ = 0x4000;
    unsigned slot_ = 0;
};

// Runs sequences one instruction at a time; `watch` is asked before each whether to go on.
class StepRunner {
public:
    explicit StepRunner(const Images& images) : guest{images} {}
    // False: `watch` did not want to, or it did not end.
    bool run(Sequence& sequence, Ending& result, const std::function<bool(Guest&)>& watch);

    Guest guest;

private:
    StepExecutor executor_;
};

// Runs sequences translated, or directly wherever that is possible.
class TranslateRunner {
public:
    TranslateRunner(const Images& images, translate::DirectUse direct);
    void run(const Sequence& sequence, Ending& result);
    // How often code was executed directly.
    std::uint64_t stays() const;

    Guest guest;

private:
    std::unique_ptr<Engine> engine_;
};

}  // namespace undercroft::differential
