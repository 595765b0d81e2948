// SPDX-License-Identifier: Apache-2.0
// What helpers of translated code use. The rest is in code_exchange_serve.cpp.
#include "mmu/code_exchange.hpp"

#include "mmu/code_notice.hpp"
#include "mmu/code_pages.hpp"
#include "mmu/full_fence.hpp"
#include "x86/paging.hpp"

namespace undercroft {

void CodeExchange::tell_written(unsigned writer, std::uint64_t pfn, std::uint64_t mask) noexcept {
    full_fence();
    tell(owners(pfn) & ~(1ull << writer), pfn, mask);
}

void CodeExchange::device_wrote(GuestPhysical address, std::uint64_t length) noexcept {
    full_fence();
    while (length > 0) {
        std::uint64_t left_in_page = page_size - address.page_offset();
        std::uint64_t now = length < left_in_page ? length : left_in_page;
        if (std::uint64_t members = owners(address.page()); members != 0)
            tell(members, address.page(), CodePages::mask_of(address.page_offset(), now));
        address = address + now;
        length -= now;
    }
}

void CodeExchange::tell(std::uint64_t members, std::uint64_t pfn, std::uint64_t mask) noexcept {
    for (; members != 0; members &= members - 1) {
        auto member = static_cast<unsigned>(__builtin_ctzll(members));
        if ((pages_[member]->granules(pfn) & mask) != 0) post(member, CodeNotice::written(pfn, mask));
    }
}

void CodeExchange::post(unsigned to, std::uint64_t notice) noexcept {
    Mailbox& mailbox = mailbox_[to];
    bool posted = false;
    for (std::atomic<std::uint64_t>& slot : mailbox.notice) {
        std::uint64_t there = slot.load(std::memory_order_seq_cst);
        while (there == 0 && !posted)
            posted = slot.compare_exchange_weak(there, notice, std::memory_order_seq_cst);
        posted = posted || there == notice;  // not read yet, so it will be after this write
        if (posted) break;
    }
    if (!posted) mailbox.full.store(true, std::memory_order_seq_cst);
    rendezvous_.ask(to);
}

}  // namespace undercroft
