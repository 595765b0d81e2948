// SPDX-License-Identifier: Apache-2.0
// Withdrawn: what has been withdrawn of a TLB's contents since they were mapped in a guest process, to be
// unmapped there before it goes on.
//
// Told by helpers of translated code, and by other threads while the vCPU does not execute: no allocation,
// general registers only.

#pragma once

#include "cpu/vcpu.hpp"
#include "mmu/code_pages.hpp"
#include "mmu/mmu.hpp"

#include <array>
#include <cstdint>

namespace undercroft::direct {

class Withdrawn final : public FlushObserver, public CodePages::Watcher {
public:
    explicit Withdrawn(Vcpu& vcpu);  // watches its MMU
    Withdrawn(const Withdrawn&) = delete;
    Withdrawn& operator=(const Withdrawn&) = delete;
    ~Withdrawn();

    // Nothing yet, of this address space.
    void begin(unsigned pcid) noexcept;
    void clear() noexcept { begin(pcid_); }
    unsigned pcid() const noexcept { return pcid_; }

    bool is_all() const noexcept { return all_; }
    template <class Action>
    void for_each_range(Action action) const {
        for (unsigned n = 0; n < range_count_; ++n) action(range_start_[n], range_length_[n]);
    }
    // PFNs that may not be written, wherever they are mapped.
    template <class Action>
    void for_each_page(Action action) const {
        for (unsigned n = 0; n < page_count_; ++n) action(pages_[n]);
    }

    void flushed_all() noexcept override;
    void flushed_non_global() noexcept override;
    void flushed_range(GuestVirtual start, std::uint64_t length) noexcept override;
    void switched_address_space(unsigned from, unsigned to, OldEntries of_to) noexcept override;
    void flushed_address_space(unsigned pcid) noexcept override;
    void frames_forgotten() noexcept override;

    void page_became_code(std::uint64_t pfn) override;
    // What is mapped for writing has a write tag, or had one, in the software TLB's books.
    bool may_grant_write(std::uint64_t pfn) const noexcept override;
    void forget_granted_writes() noexcept override;

private:
    static constexpr unsigned most = 64;

    Vcpu& vcpu_;
    bool all_ = true;
    unsigned pcid_ = 0;
    unsigned range_count_ = 0;
    unsigned page_count_ = 0;
    std::array<std::uint64_t, most> range_start_{};
    std::array<std::uint64_t, most> range_length_{};
    std::array<std::uint64_t, most> pages_{};
};

}  // namespace undercroft::direct
