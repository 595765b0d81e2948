// SPDX-License-Identifier: Apache-2.0
// A TLB that the guest's kernel fills: looking up without a page walk, and the kernel's writes and flushes.
// docs/softtlb.md is the guest's side of it.
//
// The software TLB and the translator's shortcuts hold nothing that GuestFilledTlb does not have. So whatever
// is displaced there is dropped here.

#include "mmu/mmu.hpp"

#include "x86/software_tlb.hpp"

namespace undercroft {
namespace {

using namespace software_tlb;

constexpr std::uint8_t window_rights = PageRights::Write | PageRights::Dirty | PageRights::Global;

std::uint8_t rights_of(std::uint64_t low) {
    unsigned rights = PageRights::NoExecute;
    if ((low & EntryLo::Execute) != 0) rights = 0;
    if ((low & EntryLo::Write) != 0) rights |= PageRights::Write | PageRights::Dirty;
    if ((low & EntryLo::User) != 0) rights |= PageRights::User;
    if ((low & EntryLo::Global) != 0) rights |= PageRights::Global;
    return static_cast<std::uint8_t>(rights);
}

std::uint32_t error_of(Access access, AccessMode mode) {
    std::uint32_t error = mode == AccessMode::User ? PageFault::U : 0;
    if (access == Access::Write) error |= PageFault::W;
    if (access == Access::Execute) error |= PageFault::I;
    return error;
}

}  // namespace

// A translation that there is not is a #PF with P clear, which cpu/deliver takes to the guest's miss handler;
// one that forbids the access, a #PF as ever.
bool Mmu::find_guest_filled(GuestVirtual address, Access access, AccessMode mode, Mapping& mapping,
                            Trap& trap) noexcept {
    std::uint64_t page = address.value() & EntryHi::Page;
    if (!addressable(address)) {
        trap = Trap::fault(Vector::GP, 0);
        return false;
    }
    if (page - window < window_size) {
        mapping = {.pfn = (page - window) >> 12, .rights = window_rights};
    } else {
        GuestFilledTlb::Found found = guest_filled_.find(page, state_.asid);
        if (found.entry == nullptr) {
            std::uint32_t asid = std::uint32_t{state_.asid} << error_asid_shift;
            trap = Trap::page_fault(address.value(), error_of(access, mode) | asid);
            return false;
        }
        ++(found.in_second_level ? statistics_.second_level_hits : statistics_.guest_tlb_hits);
        mapping = {.pfn = (found.entry->low & EntryLo::Page) >> 12, .rights = rights_of(found.entry->low)};
    }
    if (!permits(mapping.rights, access, mode, state_)) {
        statistics_.page_faults++;
        trap = Trap::page_fault(address.value(), error_of(access, mode) | PageFault::P);
        return false;
    }
    mapping.host_page = memory_.page_to_keep(mapping.pfn);
    return true;
}

void Mmu::begin_software_tlb() noexcept {
    guest_filled_.use_second_level(true);
    flush_all();
}

void Mmu::write_tlb_entry(std::uint64_t high, std::uint64_t low) noexcept {
    statistics_.guest_tlb_writes++;
    std::uint64_t page = high & EntryHi::Page;
    for (std::uint64_t displaced :
         guest_filled_.insert(page, static_cast<unsigned>(high & EntryHi::Asid), low))
        if (displaced != GuestFilledTlb::no_page) drop_page(displaced);
    drop_page(page);
}

void Mmu::flush_tlb_entry(std::uint64_t high) noexcept {
    statistics_.flushes_page++;
    std::uint64_t page = high & EntryHi::Page;
    guest_filled_.remove(page, static_cast<unsigned>(high & EntryHi::Asid));
    drop_page(page);
}

// Nothing is kept of the one before: what is displaced there would have to be looked for.
void Mmu::set_tlb_address_space(unsigned asid) noexcept {
    statistics_.address_space_switches++;
    second_level_.select(asid);
    forget_address_spaces();
}

void Mmu::flush_tlb_address_space(unsigned asid) noexcept {
    guest_filled_.flush_address_space(asid);
    flush_address_space(asid);
}

void Mmu::flush_tlb() noexcept {
    guest_filled_.flush_all();
    flush_all();
}

void Mmu::use_second_level(bool use) noexcept {
    guest_filled_.use_second_level(use);
    flush_all();
}

// From the software TLB, in every mode, and from the translator's shortcuts.
void Mmu::drop_page(std::uint64_t page) noexcept {
    book_.flush_page(page);
    for (FlushObserver* observer : flush_observers_) observer->flushed_range(GuestVirtual{page}, page_size);
}

}  // namespace undercroft
