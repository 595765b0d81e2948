// SPDX-License-Identifier: Apache-2.0
// LocalApic: one vCPU's interrupt controller and timer, as xAPIC (a page of device memory) and as x2APIC
// (MSRs).
//
// Source: Intel SDM vol. 3A chapter 11. Four files: registers and modes (local_apic.cpp), which interrupt is
// next (local_apic_interrupts.cpp), interprocessor interrupts (local_apic_ipi.cpp), timer
// (local_apic_timer.cpp).
//
// The timer's input clock runs at 1 GHz, so a count is a nanosecond times the divisor. Nothing here waits:
// the machine asks for next_deadline_ticks() and calls run_timer() when it has come.
//
// Left out: SMIs, focus processors, arbitration priority (reads as zero), suppressed EOI broadcasts, the
// CMCI entry; LINT0, LINT1, thermal and performance entries are only stored, as nothing on our board drives
// them. IA32_APIC_BASE stores a new address, but the page stays where the machine has put it. Interrupts
// never become spurious between has_deliverable() and acknowledge(), since both are asked under one lock.

#pragma once

#include "base/clock.hpp"
#include "bus.hpp"
#include "interrupt_message.hpp"
#include "local_apic_registers.hpp"
#include "vector_set.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

namespace undercroft {

enum class ProcessorRole : std::uint8_t { Bootstrap, Application };

class LocalApic final : public Device {
public:
    static constexpr std::uint64_t length = 0x1000;
    static constexpr std::uint64_t timer_hz = 1'000'000'000;

    struct Outputs {
        // Carry an IPI to its targets (see interrupt_routing.hpp). Fixed IPIs to self are done already.
        std::function<void(const Ipi&)> send = [](const Ipi&) {};
        // A level-triggered interrupt was completed: tell the I/O APIC.
        std::function<void(std::uint8_t vector)> end_of_interrupt = [](std::uint8_t) {};
        // has_deliverable() may have become true: set the vCPU's attention bit.
        std::function<void()> pending_changed = [] {};
        // next_deadline_ticks() is another.
        std::function<void()> timer_changed = [] {};
    };

    struct State {
        std::uint64_t base = 0;  // IA32_APIC_BASE
        std::uint32_t tpr = 0;
        std::uint32_t ldr = 0;  // xAPIC's; x2APIC derives it from the ID
        std::uint32_t dfr = 0xffffffff;
        std::uint32_t svr = 0xff;
        std::uint32_t errors = 0;  // since the last write of ESR
        std::uint32_t esr = 0;     // as latched by it
        std::uint64_t icr = 0;
        std::array<std::uint32_t, LVT::count> lvt{LVT::Mask, LVT::Mask, LVT::Mask,
                                                  LVT::Mask, LVT::Mask, LVT::Mask};
        VectorSet isr;
        VectorSet tmr;
        VectorSet irr;
        std::uint32_t divide_configuration = 0;
        std::uint32_t initial_count = 0;
        bool counting = false;           // one-shot or periodic, since count_start
        std::uint64_t count_start = 0;   // ticks
        std::uint64_t expiry_ns = 0;     // the next expiry, after count_start
        std::uint64_t tsc_deadline = 0;  // ticks; 0 is disarmed
    };

    LocalApic(std::uint32_t id, ProcessorRole role, const Clock& clock, Outputs outputs);

    // The xAPIC's page. While the APIC is off or an x2APIC, nothing is there.
    std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

    // RDMSR and WRMSR of IA32_APIC_BASE, IA32_TSC_DEADLINE and 0x800 to 0x8ff. Nothing, or false, is #GP(0).
    std::optional<std::uint64_t> read_msr(std::uint32_t index);
    bool write_msr(std::uint32_t index, std::uint64_t value);

    // CR8 is TPR[7:4]. Only bits 3:0 of the value count; the caller has checked the others.
    std::uint8_t cr8() const { return static_cast<std::uint8_t>(state_.tpr >> 4); }
    void set_cr8(std::uint8_t value);

    // Takes a fixed interrupt. What cannot be taken (software-disabled, illegal vector) is dropped.
    void accept(std::uint8_t vector, TriggerMode trigger);

    // Is there an interrupt that the processor would take now, if RFLAGS.IF is set?
    bool has_deliverable() const;
    // INTA: the vector, now in service. Nothing if there is none.
    std::optional<std::uint8_t> acknowledge();

    // When run_timer() has something to do; nothing while the timer is stopped or masked.
    std::optional<std::uint64_t> next_deadline_ticks() const;
    // Fires what is due by the clock. Early and repeated calls are harmless.
    void run_timer();

    std::uint32_t id() const { return id_; }
    bool is_enabled() const { return (state_.base & ApicBase::EN) != 0; }
    bool is_x2apic() const { return (state_.base & ApicBase::EXTD) != 0; }
    bool is_software_enabled() const { return (state_.svr & SVR::Enable) != 0; }
    std::uint8_t processor_priority() const;
    // Does a message with this destination go to this APIC?
    bool is_addressed_by(std::uint32_t destination, DestinationMode mode) const;

    void reset();  // power-up
    void init();   // INIT: as reset(), but IA32_APIC_BASE stays
    const State& state() const { return state_; }
    void restore(const State& state) { state_ = state; }

private:
    std::optional<std::uint32_t> read_register(std::uint32_t offset);
    bool write_register(std::uint32_t offset, std::uint32_t value);  // false: no such register
    bool write_x2apic(std::uint32_t offset, std::uint64_t value);
    bool write_base(std::uint64_t value);
    void write_spurious_vector(std::uint32_t value);
    void write_lvt(unsigned entry, std::uint32_t value);
    void write_tpr(std::uint32_t value);

    void end_of_interrupt();
    void error(std::uint32_t bits);
    void fire(ApicRegister entry);
    void notice_pending();

    void write_icr(std::uint64_t value);
    std::uint32_t logical_id() const;  // LDR as the guest reads it

    void write_initial_count(std::uint32_t value);
    void write_divide_configuration(std::uint32_t value);
    void write_timer_lvt(std::uint32_t value);
    void write_tsc_deadline(std::uint64_t value);
    std::uint32_t current_count() const;
    void count_from(std::uint64_t count);
    void stop_timer();
    void notice_timer(std::optional<std::uint64_t> before);
    ApicTimerMode timer_mode() const {
        return ApicTimerMode{static_cast<std::uint8_t>(LVT::TimerMode::get(lvt(ApicRegister::LVT_Timer)))};
    }
    std::uint64_t divisor() const { return apic_timer_divisor(state_.divide_configuration); }
    // Since the start of the count: none by a clock that is behind that of who started it.
    std::uint64_t elapsed_ns() const {
        std::uint64_t now = clock_.ticks();
        return now > state_.count_start ? clock_.to_ns(now - state_.count_start) : 0;
    }

    static constexpr unsigned lvt_index(ApicRegister entry) {
        return (static_cast<unsigned>(entry) - static_cast<unsigned>(ApicRegister::LVT_Timer)) / 16;
    }
    const std::uint32_t& lvt(ApicRegister entry) const { return state_.lvt[lvt_index(entry)]; }

    std::uint32_t id_;
    ProcessorRole role_;
    const Clock& clock_;
    Outputs outputs_;
    State state_;
};

}  // namespace undercroft
