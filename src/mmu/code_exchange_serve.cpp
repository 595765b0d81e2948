// SPDX-License-Identifier: Apache-2.0
// The parts of CodeExchange that run between two instructions: they may wait.
#include "mmu/code_exchange.hpp"
#include "mmu/code_notice.hpp"
#include "mmu/code_pages.hpp"

namespace undercroft {

bool CodeExchange::claim(unsigned member, std::uint64_t pfn) {
    std::uint64_t mine = 1ull << member;
    if ((std::atomic_ref{owners_[pfn]}.fetch_or(mine, std::memory_order_seq_cst) & mine) != 0) return false;
    std::uint64_t writers = 0;
    for (unsigned other = 0; other < rendezvous_.members(); ++other) {
        if (other == member || !pages_[other]->may_grant_write(pfn)) continue;
        post(other, CodeNotice::became_code(pfn));
        writers |= 1ull << other;
    }
    if (writers == 0) return false;
    rendezvous_.wait_for(member, writers);
    return true;
}

void CodeExchange::read_mail(unsigned member) {
    Mailbox& mailbox = mailbox_[member];
    CodePages& pages = *pages_[member];
    // First: what did not find room was posted after what is in the mailbox now.
    if (mailbox.full.exchange(false, std::memory_order_seq_cst)) {
        for (auto& slot : mailbox.notice) slot.store(0, std::memory_order_seq_cst);
        pages.anything_may_have_changed();
        return;
    }
    for (auto& slot : mailbox.notice) {
        if (slot.load(std::memory_order_relaxed) == 0) continue;
        deliver(pages, slot.exchange(0, std::memory_order_seq_cst));
    }
}

void CodeExchange::deliver(CodePages& pages, std::uint64_t notice) {
    std::uint64_t pfn = CodeNotice::Page::get(notice);
    if (CodeNotice::Written::get(notice) == 0) return pages.other_made_code(pfn);
    std::uint64_t first = CodeNotice::First::get(notice) * CodePages::granule_size;
    std::uint64_t end = (CodeNotice::Last::get(notice) + 1) * CodePages::granule_size;
    pages.other_wrote(GuestPhysical{pfn << 12 | first}, end - first);
}

}  // namespace undercroft
