// SPDX-License-Identifier: Apache-2.0
// The hypervisor's leaves and kvmclock: the pages it fills are consistent, its time runs forward at the speed
// of other clocks. Source: Linux Documentation/virt/kvm/x86/msr.rst, cpuid.rst;
// arch/x86/include/asm/pvclock-abi.h.

#include "runtime/apic.hpp"
#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(write_msr, AT "wrmsr");

namespace {

struct TimeInfo {
    u32 version;
    u32 pad0;
    u64 tsc_timestamp;
    u64 system_time;
    u32 tsc_to_system_mul;
    std::int8_t tsc_shift;
    u8 flags;
    u8 pad[2];
};
static_assert(sizeof(TimeInfo) == 32, "pvclock_vcpu_time_info");

struct WallClock {
    u32 version;
    u32 sec;
    u32 nsec;
};

constexpr u8 tsc_stable = 1;

u64 nanoseconds(const volatile TimeInfo& info) {
    u64 delta = rdtsc() - info.tsc_timestamp;
    const int shift = info.tsc_shift;
    delta = shift >= 0 ? delta << shift : delta >> -shift;
    u64 high, low;
    asm("mul %3" : "=d"(high), "=a"(low) : "1"(delta), "r"(u64{info.tsc_to_system_mul}));
    return info.system_time + (high << 32 | low >> 32);
}

}  // namespace

void micro_main() {
    check("CPUID says hypervisor", cpuid(1).ecx >> 31 & 1);
    const Cpuid leaf = cpuid(0x40000000);
    if (leaf.ebx != 0x4b4d564b) return skip("no KVM signature");
    check("signature KVMKVMKVM", leaf.ecx == 0x564b4d56 && leaf.edx == 0x4d);
    const u32 features = cpuid(0x40000001).eax;
    check("CLOCKSOURCE2 and STABLE", (features >> 3 & 1) && (features >> 24 & 1));

    auto* page = allocate_page();
    auto& info = *reinterpret_cast<volatile TimeInfo*>(page + 64);
    wrmsr(Msr::KVM_SYSTEM_TIME_NEW, (address(page) + 64) | 1);
    check("version is even and not zero", info.version != 0 && info.version % 2 == 0);
    check("flag: stable", info.flags & tsc_stable);
    check("multiplier", info.tsc_to_system_mul != 0);
    u64 last = nanoseconds(info);
    bool forward = true;
    for (int i = 0; i < 5000; ++i) {
        const u64 now = nanoseconds(info);
        forward = forward && now >= last;
        last = now;
    }
    check("time never goes back", forward);

    // Against the local APIC timer, whose clock is 1 GHz.
    start_apic();
    apic_write(ApicRegister::DivideConfiguration, 0xb);
    apic_write(ApicRegister::LvtTimer, lvt_masked | 0x41);
    apic_write(ApicRegister::InitialCount, 0xffffffff);
    // Each count was read between two readings of the clock, however long those lay apart: so much has passed
    // at least, and so much at most.
    const u64 before_first = nanoseconds(info);
    const u32 first = apic_read(ApicRegister::CurrentCount);
    const u64 after_first = nanoseconds(info);
    eventually([after_first, &info] { return nanoseconds(info) - after_first > 30'000'000; });
    const u64 before_second = nanoseconds(info);
    const u32 second = apic_read(ApicRegister::CurrentCount);
    const u64 after_second = nanoseconds(info);
    const u64 ticks = first - second;
    check("30 ms are 30 million ticks of the APIC timer, within 5 %",
          ticks > (before_second - after_first) / 20 * 19 && ticks < (after_second - before_first) / 20 * 21);

    auto& wall = *reinterpret_cast<volatile WallClock*>(page + 128);
    wrmsr(Msr::KVM_WALL_CLOCK_NEW, address(page) + 128);
    check("wall clock is after 2024",
          wall.version % 2 == 0 && wall.sec > 1704067200 && wall.nsec < 1'000'000'000);
    info.version = 0;
    wrmsr(Msr::KVM_SYSTEM_TIME_NEW, 0);
    check("disabled: nothing is written", info.version == 0);

    Registers in;
    in.rcx = static_cast<u32>(Msr::KVM_SYSTEM_TIME_NEW);
    in.rax = 1, in.rdx = 0x10;  // beyond memory
    const u64 vector = run(write_msr, in).vector;
    check("a page beyond memory does no harm",
          vector == done_vector || vector == static_cast<u64>(Vector::GP));
    wrmsr(Msr::KVM_SYSTEM_TIME_NEW, 0);
}
