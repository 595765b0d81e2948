// SPDX-License-Identifier: Apache-2.0
#include "machine/steal_time.hpp"

#include <atomic>

namespace undercroft {

// Writable memory of the guest's, if it wants the figures. It is looked up each time, since the page may have
// got another frame.
KvmStealTime* StealTime::find(Mmu& mmu) const {
    if ((msr_ & enable) == 0) return nullptr;
    return reinterpret_cast<KvmStealTime*>(mmu.memory().writable(address()));
}

void StealTime::wrote(Mmu& mmu) const { mmu.code_pages().wrote(address(), sizeof(KvmStealTime)); }

bool StealTime::write_msr(Mmu& mmu, std::uint64_t value) {
    if ((value & reserved) != 0) return false;
    msr_ = value;
    turn_begins(mmu, stolen_);
    return true;
}

void StealTime::turn_begins(Mmu& mmu, std::uint64_t stolen) {
    stolen_ = stolen;
    KvmStealTime* shown = find(mmu);
    if (shown == nullptr) return;
    // Before it: who sees that the vCPU runs interrupts it.
    std::uint8_t was = std::atomic_ref{shown->preempted}.exchange(0);
    if ((was & KvmStealTime::FlushTlb) != 0) {
        ++flushes_;
        mmu.flush_all();
    }
    std::atomic_ref version{shown->version};
    std::uint32_t odd = version.load(std::memory_order_relaxed) | 1;
    version.store(odd, std::memory_order_relaxed);
    std::atomic_ref{shown->steal}.store(stolen, std::memory_order_release);
    version.store(odd + 1, std::memory_order_release);
    wrote(mmu);
}

void StealTime::turn_ends(Mmu& mmu) {
    KvmStealTime* shown = find(mmu);
    if (shown == nullptr) return;
    std::atomic_ref{shown->preempted}.store(KvmStealTime::Preempted, std::memory_order_release);
    wrote(mmu);
}

}  // namespace undercroft
