// SPDX-License-Identifier: Apache-2.0
// CodeExchange: what the vCPUs of one machine, and its devices, tell each other of pages with translated
// code.
//
// Each vCPU has translations of its own, and books of which pages and granules they come from (CodePages).
// Two kinds of notices go from one to another:
//   "this page has become code": the other takes the write tags of the page out of its software TLB;
//   "these bytes have been written": the other discards the translations of them.
// A notice is put into the other's mailbox, and its attention word says so. It is served between two
// instructions of the other's, so before its next serialising instruction completes, which is when a
// processor has to notice (Intel SDM vol. 3A section 9.1.3).
//
// No write is missed:
// * A vCPU that makes a page code enters itself as an owner, then asks everybody who may hold a write tag for
//   it to drop that, and waits until they have passed a point between instructions (Rendezvous): a write
//   whose tag was probed before has happened by then. Only then it reads the bytes.
// * A vCPU that fills a write tag looks for owners after it has noted that it holds one. Both are separated
//   by a fence on both sides, so one of the two sees the other.
// * A vCPU that writes to a page with owners looks at their granules after the write; an owner marks granules
//   before it reads their bytes; a fence separates both, so again one sees the other.

#pragma once

#include "mmu/rendezvous.hpp"
#include "mmu/zeroed_array.hpp"
#include "x86/address.hpp"

#include <array>
#include <atomic>
#include <cstdint>

namespace undercroft {

class CodePages;

class CodeExchange {
public:
    explicit CodeExchange(std::uint64_t page_limit) : owners_{page_limit} {}
    CodeExchange(const CodeExchange&) = delete;
    CodeExchange& operator=(const CodeExchange&) = delete;

    Rendezvous& rendezvous() noexcept { return rendezvous_; }
    void join(unsigned member, CodePages& pages) noexcept { pages_[member] = &pages; }

    bool has_owners(std::uint64_t pfn) const noexcept { return owners(pfn) != 0; }
    bool owns(unsigned member, std::uint64_t pfn) const noexcept { return (owners(pfn) >> member & 1) != 0; }
    // True: others had to be waited for, and `member` has to serve notices before it executes anything. The
    // caller's own write tags are the caller's business. Not for helpers of translated code.
    [[nodiscard]] bool claim(unsigned member, std::uint64_t pfn);
    void release(unsigned member, std::uint64_t pfn) noexcept {
        std::atomic_ref{owners_[pfn]}.fetch_and(~(1ull << member), std::memory_order_release);
    }

    // `writer` has written within the granules `mask` of a page.
    void tell_written(unsigned writer, std::uint64_t pfn, std::uint64_t mask) noexcept;
    // A device has written guest memory, on any thread. To be called before the guest can learn of it. It
    // makes translations stale as a vCPU's writes do, and for the same reasons none is missed.
    void device_wrote(GuestPhysical address, std::uint64_t length) noexcept;
    // Between two instructions of `member`: lets those go on who wait for it, and does what it was told.
    void serve(unsigned member) {
        rendezvous_.pass(member);
        read_mail(member);
    }

    // See Rendezvous. `member` may translate addresses when begin_exclusive() has returned.
    void begin_exclusive(unsigned member) {
        rendezvous_.begin_exclusive(member);
        read_mail(member);
    }
    void end_exclusive(unsigned member) { rendezvous_.end_exclusive(member); }

private:
    // Zero: nothing. More notices than there is room for: everything has to be forgotten.
    struct Mailbox {
        static constexpr unsigned room = 64;
        std::array<std::atomic<std::uint64_t>, room> notice{};
        std::atomic<bool> full{false};
    };

    std::uint64_t owners(std::uint64_t pfn) const noexcept {
        return std::atomic_ref{const_cast<std::uint64_t&>(owners_[pfn])}.load(std::memory_order_relaxed);
    }
    void tell(std::uint64_t members, std::uint64_t pfn, std::uint64_t mask) noexcept;
    void post(unsigned to, std::uint64_t notice) noexcept;
    void read_mail(unsigned member);
    static void deliver(CodePages& pages, std::uint64_t notice);

    Rendezvous rendezvous_;
    ZeroedArray<std::uint64_t> owners_;  // per PFN: a bit for each member that has translations of it
    std::array<CodePages*, Rendezvous::most_members> pages_{};
    std::array<Mailbox, Rendezvous::most_members> mailbox_;
};

}  // namespace undercroft
