// SPDX-License-Identifier: Apache-2.0
// What a processor is connected to: ports, device memory, the local APIC, model-specific registers of
// devices, and the log.
//
// The machine implements it; cpu/ and engine/ know no device. Called by the thread that runs the vCPU,
// outside translated code, with the guest's vector state saved in the vCPU.

#pragma once

#include "mmu/mmu.hpp"

#include <cstdint>
#include <optional>

namespace undercroft {

struct Vcpu;

// Something the guest did that we lack or that deserves a line: logged once per kind and detail, with RIP.
enum class Unusual : std::uint8_t { UnknownInstruction, UnknownMsrRead, UnknownMsrWrite, TripleFault };

enum class RandomSource : std::uint8_t { Rdrand, Rdseed };

class Environment : public DeviceMemory {
public:
    virtual std::uint64_t read_port(std::uint16_t port, unsigned size) noexcept = 0;
    virtual void write_port(std::uint16_t port, unsigned size, std::uint64_t value) noexcept = 0;

    // MSRs that belong to devices (local APIC base, x2APIC, TSC deadline, kvmclock). nullopt / false: not
    // known here or a reserved value: #GP.
    virtual std::optional<std::uint64_t> read_msr(Vcpu& vcpu, std::uint32_t index) noexcept = 0;
    virtual bool write_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t value) noexcept = 0;

    // The highest-priority deliverable interrupt, now in service; nullopt: none any more.
    virtual std::optional<std::uint8_t> acknowledge_interrupt(Vcpu& vcpu) noexcept = 0;
    // CR8.
    virtual std::uint8_t task_priority(Vcpu& vcpu) noexcept = 0;
    virtual void set_task_priority(Vcpu& vcpu, std::uint8_t priority) noexcept = 0;

    virtual void report(const Vcpu& vcpu, Unusual what, std::uint64_t detail) noexcept = 0;

    // What no processor computes: the host's time-stamp counter and its random numbers. Translated code may
    // read the counter by itself (unless translate::Options::counted). Lockstep records and replays them.
    virtual std::uint64_t host_time_stamp() noexcept;
    // 8 bytes as RDRAND or RDSEED of this width gives them; nullopt: none available (CF = 0).
    virtual std::optional<std::uint64_t> random(RandomSource source, unsigned size) noexcept;

protected:
    ~Environment() = default;
};

}  // namespace undercroft
