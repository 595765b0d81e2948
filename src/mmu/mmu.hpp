// SPDX-License-Identifier: Apache-2.0
// The memory management unit of one vCPU: guest-virtual addresses to host addresses, with the faults.
//
// translate() looks in the software TLB, the second-level TLB, then walks the guest's page tables as hardware
// does (Intel SDM vol. 3A sections 4.5 to 4.7: P, RW, US, XD, reserved bits, CR0.WP, SMEP, SMAP, A and D),
// then asks the pmap for the frame and fills both TLBs. With CR0.PG clear, addresses are physical. Where the
// guest's kernel fills the TLB by itself there is no walk: what GuestFilledTlb does not have is the guest's
// to find.
//
// Called from translated code's helpers: general registers only, no allocation, no exceptions.

#pragma once

#include "memory/guest_memory.hpp"
#include "mmu/code_pages.hpp"
#include "mmu/full_fence.hpp"
#include "mmu/guest_filled_tlb.hpp"
#include "mmu/large_pages.hpp"
#include "mmu/page_walk.hpp"
#include "mmu/paging_state.hpp"
#include "mmu/read_counts.hpp"
#include "mmu/second_level_tlb.hpp"
#include "mmu/tlb.hpp"
#include "mmu/tlb_book.hpp"
#include "x86/address.hpp"
#include "x86/paging.hpp"
#include "x86/trap.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace undercroft {

class TraceRing;

// What lies behind guest-physical addresses that are not RAM.
class DeviceMemory {
public:
    virtual std::uint64_t read_device(GuestPhysical address, unsigned size) noexcept = 0;
    virtual void write_device(GuestPhysical address, unsigned size, std::uint64_t value) noexcept = 0;

protected:
    ~DeviceMemory() = default;
};

// Where an access lands. Valid to the end of the 4 KiB page, for one instruction.
struct Translation {
    GuestPhysical physical;
    // Null: not RAM, goes to DeviceMemory. Only as good as `access` says: what was asked for reading may be a
    // page that everybody sees, and another one after the next write. The software TLB has what may be kept.
    std::byte* host = nullptr;
    bool global = false;  // from a page-table entry with G while CR4.PGE is set: survives flush_non_global()
    bool holds_code = false;  // Access::Write only: after writing through `host`, CodePages::wrote() is owed
};

// Told of every flush, after it was made: the translator keeps shortcuts from virtual addresses to blocks,
// and another process may have a TLB's contents mapped.
class FlushObserver {
public:
    virtual void flushed_all() noexcept = 0;
    virtual void flushed_non_global() noexcept = 0;  // in every address space
    // One page of the current address space, or in every one all of what may be a large page: [start, start +
    // length).
    virtual void flushed_range(GuestVirtual start, std::uint64_t length) noexcept = 0;
    // From one address space (PCID) to another or, if `of_to` is Drop, to the same one.
    virtual void switched_address_space(unsigned from, unsigned to, OldEntries of_to) noexcept = 0;
    // All of an address space that is not the current one.
    virtual void flushed_address_space(unsigned pcid) noexcept = 0;
    // Of forget_frames(); on any thread.
    virtual void frames_forgotten() noexcept = 0;

protected:
    ~FlushObserver() = default;
};

struct MmuStatistics {
    std::array<std::uint64_t, 3>
        tlb_misses{};  // of the software TLB, by Access; it holds no pages to execute
    std::uint64_t second_level_hits = 0;
    std::uint64_t walks = 0;
    std::uint64_t page_faults = 0;
    std::uint64_t device_accesses = 0;
    std::uint64_t code_page_writes = 0;
    std::uint64_t flushes_all = 0;
    std::uint64_t flushes_non_global = 0;
    std::uint64_t flushes_page = 0;
    std::uint64_t address_space_switches = 0;  // with PCID
    std::uint64_t guest_tlb_hits = 0;          // of a guest-filled TLB's first level
    std::uint64_t guest_tlb_writes = 0;
};

class Mmu final : public CodePages::Watcher {
public:
    // Empties `tlb` and watches `code_pages`, which must not mark a page after the Mmu is gone.
    Mmu(GuestMemory& memory, CodePages& code_pages, DeviceMemory& devices, const PagingState& state,
        Tlb& tlb);
    Mmu(const Mmu&) = delete;
    Mmu& operator=(const Mmu&) = delete;

    // Translates one address for one kind of access (any length that stays within the page). Sets A and D.
    // False: `trap` is the #PF (or #GP for a non-canonical address) and nothing has changed but A bits.
    [[nodiscard]] bool translate(GuestVirtual address, Access access, AccessMode mode, Translation& out,
                                 Trap& trap) noexcept;

    // Fills the software TLB for reading, and for writing if that needs nothing but the write, without any
    // effect on the guest's tables: for a page that has been accessed since the last flush; or lies in one
    // large page with `beside`, which has been. False: nothing is known of it, or it has no frame of its own.
    [[nodiscard]] bool fill_beside(GuestVirtual page, GuestVirtual beside, AccessMode mode) noexcept;

    // As translate(), but also checks the second page when [address, address + size) crosses one.
    // `size` <= 4096. All faults come before any effect. A non-canonical address in an SS-relative access is
    // #SS: the caller turns the #GP into it.
    [[nodiscard]] bool check(GuestVirtual address, unsigned size, Access access, AccessMode mode,
                             Trap& trap) noexcept;

    // The same, and says where: `second` only when the access crosses a page.
    [[nodiscard]] bool translate_range(GuestVirtual address, unsigned size, Access access, AccessMode mode,
                                       Translation& first, Translation& second, Trap& trap) noexcept;

    // A write of zeroes to all of `page` (its first byte's address): Yes if that is done, because the page
    // has no frame of its own, and needs none for it. No: it remains to be done. False: as of translate().
    //
    // A page that has one keeps it. Its address is kept in many places (TLBs of all vCPUs, shortcuts of
    // walks, checks that a block has done, requests of devices), and most pages are cleared to be written
    // next: they would need another frame then, which has to be cleared as well. What stays zero is found by
    // PageSharing in its next pass.
    enum class Cleared : std::uint8_t { No, Yes };
    [[nodiscard]] bool clear_page(GuestVirtual page, AccessMode mode, Cleared& result, Trap& trap) noexcept;

    // Reads or writes guest memory of any kind (RAM or device, page-crossing or not; size <= 4096). Faults
    // first, then effects. Writes notify CodePages. Device memory is accessed in pieces of at most 8 bytes.
    [[nodiscard]] bool read(GuestVirtual from, void* to, unsigned size, AccessMode mode, Trap& trap) noexcept;
    [[nodiscard]] bool write(GuestVirtual to, const void* from, unsigned size, AccessMode mode,
                             Trap& trap) noexcept;

    // Fetches up to `size` instruction bytes at `from`; stops early at the first unreadable page. Returns how
    // many; if zero `trap` is the fault. (A decoder that needs more raises `trap` of the second page: see
    // `trap` too when fewer than asked were read.)
    unsigned fetch(GuestVirtual from, std::byte* to, unsigned size, AccessMode mode, Trap& trap) noexcept;

    // TLB maintenance, as the guest's instructions ask for it, after they have changed the PagingState.
    void flush_all() noexcept;                       // CR0/CR4/EFER paging bits changed, CR4.PGE toggled
    void flush_non_global() noexcept;                // CR3 write without PCID; INVPCID type 3
    void flush_page(GuestVirtual address) noexcept;  // INVLPG: also global entries

    // MOV to CR3 with CR4.PCIDE set: Keep when bit 63 of the operand was one.
    void switch_address_space(unsigned pcid, OldEntries old) noexcept;
    // INVPCID types 0 and 1; 2 is flush_all().
    void flush_page_of(unsigned pcid, GuestVirtual address) noexcept;
    void flush_address_space(unsigned pcid) noexcept;

    // A TLB that the guest's kernel fills: on from now, and empty, while PagingState says so
    // (docs/softtlb.md).
    void begin_software_tlb() noexcept;
    // VPN -> PFN comes in, VPN -> MFN goes into the software TLB with the next access. Valid words only.
    void write_tlb_entry(std::uint64_t high, std::uint64_t low) noexcept;
    void flush_tlb_entry(std::uint64_t high) noexcept;
    void set_tlb_address_space(unsigned asid) noexcept;
    void flush_tlb_address_space(unsigned asid) noexcept;
    void flush_tlb() noexcept;
    void use_second_level(bool use) noexcept;

    // The latest pages of user code that came into the software TLB, newest last. `seen`: the number that the
    // last call has left there; what was displaced meanwhile is left out.
    template <class Action>
    void for_each_new_user_page(std::uint64_t& seen, Action action) const {
        std::uint64_t oldest = user_fills_ < recent_count ? 0 : user_fills_ - recent_count;
        for (std::uint64_t n = seen < oldest ? oldest : seen; n != user_fills_; ++n)
            action(recent_user_pages_[n % recent_count]);
        seen = user_fills_;
    }

    // Nothing here keeps a host address any more. While its vCPU does not execute, on any thread that knows
    // that.
    void forget_frames() noexcept;

    void page_became_code(std::uint64_t pfn) noexcept override;
    bool may_grant_write(std::uint64_t pfn) const noexcept override;

    void add_flush_observer(FlushObserver& observer) { flush_observers_.push_back(&observer); }
    void remove_flush_observer(FlushObserver& observer) { std::erase(flush_observers_, &observer); }
    // Misses and fills are recorded there; null: nowhere.
    void set_trace(TraceRing* trace) noexcept { trace_ = trace; }
    // A serialising instruction: others see its vCPU's writes before what comes behind it. Flushes do, too.
    void serialise() noexcept {
        if (code_pages_.is_shared()) full_fence();
    }
    CodePages& code_pages() noexcept { return code_pages_; }
    GuestMemory& memory() noexcept { return memory_; }
    DeviceMemory& devices() noexcept { return *devices_; }
    void set_devices(DeviceMemory& devices) noexcept { devices_ = &devices; }
    // The next write to each page asks the CodePages' observer again.
    void forget_granted_writes() noexcept override;
    const MmuStatistics& statistics() const { return statistics_; }

private:
    // A translation that the software TLB does not have.
    bool translate_missed(GuestVirtual address, Access access, AccessMode mode, Translation& out,
                          Trap& trap) noexcept;
    [[gnu::cold, gnu::noinline]] bool translate_traced(GuestVirtual address, Access access, AccessMode mode,
                                                       Translation& out, Trap& trap) noexcept;
    // What the guest's tables say of a page, and where its own frame lies; null: it has none, or did not have
    // one, or is not RAM.
    struct Mapping {
        std::uint64_t pfn = 0;
        std::uint8_t rights = 0;
        std::byte* host_page = nullptr;
    };
    bool look_up(GuestVirtual address, Access access, AccessMode mode, Mapping& mapping, Trap& trap) noexcept;
    bool find_guest_filled(GuestVirtual address, Access access, AccessMode mode, Mapping& mapping,
                           Trap& trap) noexcept;
    void finish(GuestVirtual address, Access access, AccessMode mode, const Mapping& mapping,
                Translation& out) noexcept;
    std::byte* find_frame(std::uint64_t pfn, Access access) noexcept;
    bool became_code_meanwhile(std::uint64_t pfn) noexcept;
    bool walk_tables(GuestVirtual address, Access access, AccessMode mode, WalkEffect effect,
                     WalkResult& result, Trap& trap) noexcept;
    // Would translate() succeed? Leaves A and D alone.
    bool probe(GuestVirtual address, Access access, AccessMode mode, Trap& trap) noexcept;
    bool read_slowly(GuestVirtual from, void* to, unsigned size, AccessMode mode, Trap& trap) noexcept;
    bool write_slowly(GuestVirtual to, const void* from, unsigned size, AccessMode mode, Trap& trap) noexcept;
    void read_piece(const Translation& from, std::byte* to, unsigned size) noexcept;
    void write_piece(const Translation& to, const std::byte* from, unsigned size) noexcept;
    bool addressable(GuestVirtual address) const noexcept;
    void forget_address_spaces() noexcept;
    void forget_address_space(unsigned pcid) noexcept;
    void drop_page(std::uint64_t page) noexcept;

    GuestMemory& memory_;
    CodePages& code_pages_;
    DeviceMemory* devices_;
    const PagingState& state_;
    Tlb& tlb_;
    TlbBook book_;
    SecondLevelTlb second_level_;
    GuestFilledTlb guest_filled_;
    LargePages large_pages_;
    ReadCounts reads_;
    PageWalk walk_;
    std::vector<FlushObserver*> flush_observers_;
    TraceRing* trace_ = nullptr;
    static constexpr std::uint64_t recent_count = 256;
    std::uint64_t user_fills_ = 0;
    std::array<std::uint64_t, recent_count> recent_user_pages_{};
    MmuStatistics statistics_;
};

}  // namespace undercroft
