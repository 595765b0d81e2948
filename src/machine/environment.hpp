// SPDX-License-Identifier: Apache-2.0
// What the machine is to its processor (cpu/environment.hpp): ports and device memory over the board's buses,
// the MSRs of the local APIC and of kvmclock, and the log of what the guest did that we lack.
//
// One for each vCPU, called on its thread. Takes the board's lock for each access.

#pragma once

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/stopwatch.hpp"
#include "cpu/environment.hpp"
#include "cpu/paravirtual.hpp"
#include "machine/board.hpp"
#include "machine/console_output.hpp"
#include "machine/steal_time.hpp"
#include "trace/event.hpp"

#include <atomic>
#include <cstdint>
#include <string>

namespace undercroft {

class MachineEnvironment final : public Environment {
public:
    struct Statistics {
        std::uint64_t port_reads = 0;
        std::uint64_t port_writes = 0;
        std::uint64_t memory_reads = 0;
        std::uint64_t memory_writes = 0;
        std::uint64_t msr_accesses = 0;
        std::uint64_t interrupts = 0;
        std::uint64_t ticks = 0;  // host TSC ticks spent in ports, device memory and device MSRs
    };

    // What all vCPUs of a machine have in common.
    struct Shared {
        explicit Shared(const Clock& clock, std::uint32_t offered = Paravirtual::All)
            : start_ticks{clock.ticks()}, paravirtual{offered} {}
        std::uint64_t start_ticks;  // when kvmclock's time began: the one reading that all vCPUs are told
        std::uint32_t paravirtual;  // see cpu/paravirtual.hpp
        Once reported;
    };

    // The vCPU's `mmu` is set before the guest runs.
    MachineEnvironment(Vcpu& vcpu, Board& board, ConsoleOutput& output, const Clock& clock, Shared& shared)
        : vcpu_{vcpu}, board_{board}, output_{output}, clock_{clock}, shared_{shared} {}

    std::uint64_t read_port(std::uint16_t port, unsigned size) noexcept override;
    void write_port(std::uint16_t port, unsigned size, std::uint64_t value) noexcept override;
    std::uint64_t read_device(GuestPhysical address, unsigned size) noexcept override;
    void write_device(GuestPhysical address, unsigned size, std::uint64_t value) noexcept override;
    std::optional<std::uint64_t> read_msr(Vcpu& vcpu, std::uint32_t index) noexcept override;
    bool write_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t value) noexcept override;
    std::optional<std::uint8_t> acknowledge_interrupt(Vcpu& vcpu) noexcept override;
    std::uint8_t task_priority(Vcpu& vcpu) noexcept override;
    void set_task_priority(Vcpu& vcpu, std::uint8_t priority) noexcept override;
    void report(const Vcpu& vcpu, Unusual what, std::uint64_t detail) noexcept override;
    std::uint64_t host_time_stamp() noexcept override { return clock_.ticks(); }

    // For the buses: nobody answers at this port or address.
    void report_unclaimed(std::string_view space, std::uint64_t address, Access access);

    StealTime& steal_time() { return steal_time_; }
    const StealTime& steal_time() const { return steal_time_; }
    const Statistics& statistics() const { return statistics_; }
    // To ports, device memory and device MSRs. Any thread.
    std::uint64_t accesses() const { return accesses_.load(std::memory_order_relaxed); }

private:
    void count(std::uint64_t& accesses_of_kind) {
        ++accesses_of_kind;
        accesses_.store(accesses() + 1, std::memory_order_relaxed);
    }
    void record(TraceKind kind, DeviceSpace space, std::uint64_t address, std::uint64_t value,
                const Stopwatch& stopwatch) noexcept;
    std::optional<std::uint64_t> read_device_msr(Vcpu& vcpu, std::uint32_t index);
    bool write_device_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t value);
    bool write_local_apic(Vcpu& vcpu, std::uint32_t index, std::uint64_t value);
    std::uint64_t system_ns() const { return clock_.to_ns(clock_.ticks() - shared_.start_ticks); }
    LocalApic& local_apic();
    void publish_system_time(const Vcpu& vcpu);
    void publish_wall_clock(const Vcpu& vcpu);
    bool offers(std::uint32_t feature) const { return (shared_.paravirtual & feature) != 0; }
    std::string where() const;  // RIP and the instruction's bytes

    Vcpu& vcpu_;
    Board& board_;
    ConsoleOutput& output_;
    const Clock& clock_;
    Shared& shared_;
    std::uint64_t kvm_system_time_ = 0;
    std::uint64_t kvm_wall_clock_ = 0;
    StealTime steal_time_;
    Statistics statistics_;
    std::atomic<std::uint64_t> accesses_{0};  // written by the thread that executes
};

}  // namespace undercroft
