// SPDX-License-Identifier: Apache-2.0
// A miss of the software TLB and what becomes of it, with both recorded.
#include "mmu/mmu.hpp"
#include "trace/ring.hpp"

namespace undercroft {

bool Mmu::translate_traced(GuestVirtual address, Access access, AccessMode mode, Translation& out,
                           Trap& trap) noexcept {
    trace_->record(TraceKind::TlbMiss,
                   {.address = address.value(), .detail = static_cast<std::uint8_t>(access)});
    std::uint64_t hits = statistics_.second_level_hits;
    Mapping mapping;
    if (!look_up(address, access, mode, mapping, trap)) return false;
    FillSource source = statistics_.second_level_hits != hits ? FillSource::SecondLevelTlb
                        : state_.software_tlb                 ? FillSource::GuestFilledTlb
                                                              : FillSource::PageTable;
    finish(address, access, mode, mapping, out);
    std::uint64_t frame = 0;
    if (out.host != nullptr)
        frame = static_cast<std::uint64_t>(out.host - memory_.pool().host(MachineFrame{0})) >> 12;
    trace_->record(TraceKind::TlbFill, {.address = address.value(),
                                        .value = out.physical.page(),
                                        .target = frame,
                                        .detail = static_cast<std::uint8_t>(source)});
    return true;
}

}  // namespace undercroft
