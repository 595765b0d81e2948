// SPDX-License-Identifier: Apache-2.0
#include "environment.hpp"

#include "base/stopwatch.hpp"
#include "cpu/vcpu.hpp"
#include "device/kvmclock.hpp"
#include "trace/ring.hpp"

#include <algorithm>
#include <mutex>

namespace undercroft {
namespace {

constexpr std::uint64_t kvmclock_enable = 1;  // bit 0 of KVM_SYSTEM_TIME_NEW; the rest is the address

constexpr bool is_local_apic(std::uint32_t index) {
    return Msr{index} == Msr::IA32_APIC_BASE || Msr{index} == Msr::IA32_TSC_DEADLINE ||
           (Msr{index} >= Msr::X2APIC_FIRST && Msr{index} <= Msr::X2APIC_LAST);
}

// Publishes one of kvmclock's structures. Where there is no RAM nothing is written, as on KVM.
template <class Info>
void write_to_guest(Mmu& mmu, GuestPhysical address, const Info& info) {
    publish(info, [&](std::size_t offset, std::span<const std::byte> bytes) {
        if (!mmu.memory().write(address + offset, bytes)) return;
        mmu.code_pages().wrote(address + offset, bytes.size());
    });
}

std::uint32_t version_at(Mmu& mmu, GuestPhysical address) {
    std::uint32_t version = 0;
    if (!mmu.memory().read(address, std::as_writable_bytes(std::span{&version, 1}))) return 0;
    return next_version(version);
}

}  // namespace

std::uint64_t MachineEnvironment::read_port(std::uint16_t port, unsigned size) noexcept {
    Stopwatch stopwatch{statistics_.ticks};
    count(statistics_.port_reads);
    std::uint64_t value = 0;
    {
        std::lock_guard lock{board_.lock()};
        value = board_.read_port(vcpu_.index, port, size);
    }
    record(TraceKind::DeviceRead, DeviceSpace::Port, port, value, stopwatch);
    return value;
}

void MachineEnvironment::write_port(std::uint16_t port, unsigned size, std::uint64_t value) noexcept {
    Stopwatch stopwatch{statistics_.ticks};
    count(statistics_.port_writes);
    {
        std::lock_guard lock{board_.lock()};
        board_.write_port(vcpu_.index, port, size, value);
    }
    record(TraceKind::DeviceWrite, DeviceSpace::Port, port, value, stopwatch);
    output_.settle();
    if (output_.is_full()) vcpu_.request(Attention::Preempt);
}

std::uint64_t MachineEnvironment::read_device(GuestPhysical address, unsigned size) noexcept {
    Stopwatch stopwatch{statistics_.ticks};
    count(statistics_.memory_reads);
    std::uint64_t value = 0;
    {
        std::lock_guard lock{board_.lock()};
        value = board_.read_memory(vcpu_.index, address.value(), size);
    }
    record(TraceKind::DeviceRead, DeviceSpace::Memory, address.value(), value, stopwatch);
    return value;
}

void MachineEnvironment::write_device(GuestPhysical address, unsigned size, std::uint64_t value) noexcept {
    Stopwatch stopwatch{statistics_.ticks};
    count(statistics_.memory_writes);
    {
        std::lock_guard lock{board_.lock()};
        board_.write_memory(vcpu_.index, address.value(), size, value);
    }
    record(TraceKind::DeviceWrite, DeviceSpace::Memory, address.value(), value, stopwatch);
}

LocalApic& MachineEnvironment::local_apic() { return board_.local_apic(vcpu_.index); }

void MachineEnvironment::record(TraceKind kind, DeviceSpace space, std::uint64_t address, std::uint64_t value,
                                const Stopwatch& stopwatch) noexcept {
    if (vcpu_.trace == nullptr) return;
    vcpu_.trace->record(kind, {.address = address,
                               .value = value,
                               .target = stopwatch.elapsed(),
                               .detail = static_cast<std::uint8_t>(space)});
}

std::optional<std::uint64_t> MachineEnvironment::read_msr(Vcpu& vcpu, std::uint32_t index) noexcept {
    Stopwatch stopwatch{statistics_.ticks};
    count(statistics_.msr_accesses);
    auto value = read_device_msr(vcpu, index);
    record(TraceKind::DeviceRead, DeviceSpace::Msr, index, value.value_or(0), stopwatch);
    return value;
}

bool MachineEnvironment::write_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t value) noexcept {
    Stopwatch stopwatch{statistics_.ticks};
    count(statistics_.msr_accesses);
    bool known = write_device_msr(vcpu, index, value);
    record(TraceKind::DeviceWrite, DeviceSpace::Msr, index, value, stopwatch);
    return known;
}

// The local APIC's clock is the host's TSC; the guest speaks of its own.
std::optional<std::uint64_t> MachineEnvironment::read_device_msr(Vcpu& vcpu, std::uint32_t index) {
    if (is_local_apic(index)) {
        std::lock_guard lock{board_.lock()};
        auto value = local_apic().read_msr(index);
        if (Msr{index} == Msr::IA32_TSC_DEADLINE && value && *value != 0) *value += vcpu.tsc_offset;
        return value;
    }
    if (Msr{index} == Msr::KVM_SYSTEM_TIME_NEW) return kvm_system_time_;
    if (Msr{index} == Msr::KVM_WALL_CLOCK_NEW) return kvm_wall_clock_;
    if (Msr{index} == Msr::KVM_STEAL_TIME && offers(Paravirtual::StealTime)) return steal_time_.msr();
    return std::nullopt;
}

bool MachineEnvironment::write_local_apic(Vcpu& vcpu, std::uint32_t index, std::uint64_t value) {
    if (Msr{index} == Msr::IA32_TSC_DEADLINE && value != 0) {
        value -= vcpu.tsc_offset;
        if (value == 0) value = 1;  // zero would disarm; this is due at once as well
    }
    std::lock_guard lock{board_.lock()};
    return local_apic().write_msr(index, value);
}

bool MachineEnvironment::write_device_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t value) {
    if (is_local_apic(index)) return write_local_apic(vcpu, index, value);
    if (Msr{index} == Msr::KVM_SYSTEM_TIME_NEW) {
        kvm_system_time_ = value;
        if ((value & kvmclock_enable) != 0) publish_system_time(vcpu);
        return true;
    }
    if (Msr{index} == Msr::KVM_WALL_CLOCK_NEW) {
        kvm_wall_clock_ = value;
        publish_wall_clock(vcpu);
        return true;
    }
    if (Msr{index} == Msr::KVM_STEAL_TIME && offers(Paravirtual::StealTime))
        return steal_time_.write_msr(*vcpu.mmu, value);
    return false;
}

// Once is enough: the TSC is constant and nothing stops it. (A guest that writes its TSC afterwards asks
// again.) All vCPUs are told the same reading, or their clocks would differ by its rounding.
void MachineEnvironment::publish_system_time(const Vcpu& vcpu) {
    GuestPhysical address{kvm_system_time_ & ~kvmclock_enable};
    KvmclockReading reading{.tsc = shared_.start_ticks + vcpu.tsc_offset, .system_ns = 0};
    write_to_guest(*vcpu.mmu, address, vcpu_time_info(clock_.hz(), reading, version_at(*vcpu.mmu, address)));
}

void MachineEnvironment::publish_wall_clock(const Vcpu& vcpu) {
    GuestPhysical address{kvm_wall_clock_};
    write_to_guest(*vcpu.mmu, address,
                   wall_clock(clock_.wall_ns(), system_ns(), version_at(*vcpu.mmu, address)));
}

std::optional<std::uint8_t> MachineEnvironment::acknowledge_interrupt(Vcpu&) noexcept {
    std::lock_guard lock{board_.lock()};
    auto vector = local_apic().acknowledge();
    if (vector) ++statistics_.interrupts;
    return vector;
}

std::uint8_t MachineEnvironment::task_priority(Vcpu&) noexcept {
    std::lock_guard lock{board_.lock()};
    return local_apic().cr8();
}

void MachineEnvironment::set_task_priority(Vcpu&, std::uint8_t priority) noexcept {
    std::lock_guard lock{board_.lock()};
    local_apic().set_cr8(priority);
}

// Bytes of RAM only: reading device memory would take the lock, which the caller may hold. And of one page:
// the next one's accessed bit is not ours to set.
std::string MachineEnvironment::where() const {
    constexpr unsigned longest = 15;
    std::uint64_t base = vcpu_.code_64bit() ? 0 : vcpu_.seg(SegmentName::CS).base;
    std::string text = fmt::format("at rip {:#x}:", vcpu_.rip);
    std::uint64_t left_in_page = page_size - ((base + vcpu_.rip) & (page_size - 1));
    for (unsigned i = 0; i < std::min<std::uint64_t>(longest, left_in_page); ++i) {
        Translation at;
        Trap trap;
        GuestVirtual address{base + vcpu_.rip + i};
        bool readable = vcpu_.mmu->translate(address, Access::Execute, vcpu_.access_mode(), at, trap);
        if (!readable || at.host == nullptr) break;
        text += fmt::format(" {:02x}", static_cast<unsigned>(*at.host));
    }
    return text;
}

void MachineEnvironment::report(const Vcpu& vcpu, Unusual what, std::uint64_t detail) noexcept {
    if (!shared_.reported.first(static_cast<std::uint64_t>(what) << 60 ^ detail)) return;
    switch (what) {
        case Unusual::UnknownInstruction: log(LogLevel::Warn, "unknown instruction {}", where()); break;
        case Unusual::UnknownMsrRead:
            log(LogLevel::Info, "unknown MSR {:#x} read {}", detail, where());
            break;
        case Unusual::UnknownMsrWrite:
            log(LogLevel::Info, "unknown MSR {:#x} written, value {:#x}, {}", detail,
                vcpu.reg(Gpr::Rdx) << 32 | (vcpu.reg(Gpr::Rax) & 0xffffffff), where());
            break;
        case Unusual::TripleFault: log(LogLevel::Warn, "triple fault {}", where()); break;
    }
}

void MachineEnvironment::report_unclaimed(std::string_view space, std::uint64_t address, Access access) {
    if (LogLevel::Info > log_level()) return;
    log(LogLevel::Info, "unclaimed {} {:#x} {} {}", space, address,
        access == Access::Write ? "written" : "read", where());
}

}  // namespace undercroft
