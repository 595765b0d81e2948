// SPDX-License-Identifier: Apache-2.0
#include "engine/direct/withdrawn.hpp"

namespace undercroft::direct {

Withdrawn::Withdrawn(Vcpu& vcpu) : vcpu_{vcpu} {
    vcpu.mmu->add_flush_observer(*this);
    vcpu.mmu->code_pages().add_watcher(this);
}

Withdrawn::~Withdrawn() {
    vcpu_.mmu->remove_flush_observer(*this);
    vcpu_.mmu->code_pages().remove_watcher(this);
}

void Withdrawn::begin(unsigned pcid) noexcept {
    all_ = false;
    pcid_ = pcid;
    range_count_ = page_count_ = 0;
}

void Withdrawn::flushed_all() noexcept { all_ = true; }
void Withdrawn::flushed_non_global() noexcept { all_ = true; }

// A range may be a large page in every address space.
void Withdrawn::flushed_range(GuestVirtual start, std::uint64_t length) noexcept {
    if (length == page_size && vcpu_.paging.pcid() != pcid_) return;
    if (range_count_ == most) {
        all_ = true;
        return;
    }
    range_start_[range_count_] = start.value();
    range_length_[range_count_++] = length;
}

// Entries of other address spaces are kept, until they are flushed or another space is mapped.
void Withdrawn::switched_address_space(unsigned, unsigned to, OldEntries of_to) noexcept {
    if (of_to == OldEntries::Drop && to == pcid_) all_ = true;
}

void Withdrawn::flushed_address_space(unsigned pcid) noexcept {
    if (pcid == pcid_) all_ = true;
}

void Withdrawn::frames_forgotten() noexcept { all_ = true; }

void Withdrawn::page_became_code(std::uint64_t pfn) {
    if (page_count_ == most) {
        all_ = true;
        return;
    }
    pages_[page_count_++] = pfn;
}

bool Withdrawn::may_grant_write(std::uint64_t) const noexcept { return false; }
void Withdrawn::forget_granted_writes() noexcept { all_ = true; }

}  // namespace undercroft::direct
