// SPDX-License-Identifier: Apache-2.0
// StealTime: tells a guest how long one of its vCPUs could have run and did not, and whether it runs now.
//
// The guest says by an MSR where in its memory it wants this. There it also leaves a request: other vCPUs
// need not interrupt one that does not run in order to have its TLB flushed, but note that it is to be done
// before it runs again. Source: Linux Documentation/virt/kvm/x86/msr.rst (MSR_KVM_STEAL_TIME), cpuid.rst
// (KVM_FEATURE_PV_TLB_FLUSH), arch/x86/kernel/kvm.c.
//
// By the thread that runs the vCPU, between two instructions.

#pragma once

#include "mmu/mmu.hpp"

#include <cstddef>
#include <cstdint>

namespace undercroft {

struct KvmStealTime {
    static constexpr std::uint8_t Preempted = 1 << 0;  // it does not run
    static constexpr std::uint8_t FlushTlb = 1 << 1;   // set by the guest, while it does not

    std::uint64_t steal = 0;    // ns
    std::uint32_t version = 0;  // odd while the structure changes
    std::uint32_t flags = 0;
    std::uint8_t preempted = 0;
    std::uint8_t pad[47]{};
};
static_assert(sizeof(KvmStealTime) == 64, "the guest reads this layout");
static_assert(offsetof(KvmStealTime, version) == 8 && offsetof(KvmStealTime, preempted) == 16);

class StealTime {
public:
    std::uint64_t msr() const { return msr_; }
    // False: reserved bits are set. An address that is not RAM gets nothing.
    bool write_msr(Mmu& mmu, std::uint64_t value);

    // `stolen`: in all its time, in ns.
    void turn_begins(Mmu& mmu, std::uint64_t stolen);
    void turn_ends(Mmu& mmu);
    std::uint64_t flushes() const { return flushes_; }  // that were made for other vCPUs

private:
    static constexpr std::uint64_t enable = 1;
    static constexpr std::uint64_t reserved = 0x3e;  // the structure is aligned by its size

    GuestPhysical address() const { return GuestPhysical{msr_ & ~(enable | reserved)}; }
    KvmStealTime* find(Mmu& mmu) const;
    void wrote(Mmu& mmu) const;

    std::uint64_t msr_ = 0;
    std::uint64_t stolen_ = 0;
    std::uint64_t flushes_ = 0;
};

}  // namespace undercroft
