// SPDX-License-Identifier: Apache-2.0
// What helpers of translated code use. The rest is in code_exchange_serve.cpp.
#include "mmu/code_exchange.hpp"

#include "mmu/code_notice.hpp"
#include "mmu/code_pages.hpp"
#include "mmu/full_fence.hpp"

namespace undercroft {

void CodeExchange::tell_written(unsigned writer, std::uint64_t pfn, std::uint64_t mask) noexcept {
    full_fence();
    std::uint64_t others = owners(pfn) & ~(1ull << writer);
    for (; others != 0; others &= others - 1) {
        auto other = static_cast<unsigned>(__builtin_ctzll(others));
        if ((pages_[other]->granules(pfn) & mask) != 0) post(other, CodeNotice::written(pfn, mask));
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
