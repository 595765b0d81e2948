// SPDX-License-Identifier: Apache-2.0
// Translation and TLB maintenance. Accesses are in mmu_access.cpp.

#include "mmu/mmu.hpp"

namespace undercroft {
namespace {

constexpr std::uint64_t page_of(GuestVirtual address) { return address.value() & ~(page_size - 1); }
constexpr std::uint64_t physical_mask = (1ull << physical_address_bits) - 1;

}  // namespace

bool Mmu::translate(GuestVirtual address, Access access, AccessMode mode, Translation& out,
                    Trap& trap) noexcept {
    const TlbEntry& entry = tlb_.entry(mode, address.value());
    std::uint64_t page = page_of(address);
    bool hit =
        access == Access::Read ? entry.read_tag == page : access == Access::Write && entry.write_tag == page;
    if (!hit) return translate_missed(address, access, mode, out, trap);
    std::uint64_t physical = tlb_.physical(mode, address.value());
    out.physical = GuestPhysical{physical << 12 | address.page_offset()};  // the global bit falls off
    out.host = entry.host_page + address.page_offset();
    out.global = physical >> 63 != 0;
    out.holds_code = false;
    return true;
}

bool Mmu::translate_missed(GuestVirtual address, Access access, AccessMode mode, Translation& out,
                           Trap& trap) noexcept {
    if (trace_ != nullptr) [[unlikely]]
        return translate_traced(address, access, mode, out, trap);
    Mapping mapping;
    if (!look_up(address, access, mode, mapping, trap)) return false;
    finish(address, access, mode, mapping, out);
    return true;
}

bool Mmu::clear_page(GuestVirtual page, AccessMode mode, Cleared& result, Trap& trap) noexcept {
    result = Cleared::No;
    if (tlb_.entry(mode, page.value()).write_tag == page.value()) return true;
    Mapping mapping;
    if (!look_up(page, Access::Write, mode, mapping, trap)) return false;
    if (mapping.host_page != nullptr || code_pages_.holds_code(mapping.pfn)) return true;
    CodePages::WriteObserver* observer = code_pages_.write_observer();
    if (observer != nullptr) [[unlikely]]
        observer->grants_write(GuestPhysical{mapping.pfn << 12});
    if (memory_.clear(mapping.pfn)) result = Cleared::Yes;
    return true;
}

// In the second-level TLB, else in the guest's tables. An entry that forbids the access is not believed: the
// guest may have relaxed its tables without INVLPG, and expects at most one fault for it. (SDM vol. 3A
// 4.10.4.3)
bool Mmu::look_up(GuestVirtual address, Access access, AccessMode mode, Mapping& mapping,
                  Trap& trap) noexcept {
    statistics_.tlb_misses[static_cast<unsigned>(access)]++;
    if (!state_.paging()) {
        std::uint64_t pfn = (address.value() & physical_mask) >> 12;
        mapping = {pfn, PageRights::All, memory_.page_to_keep(pfn)};
        return true;
    }
    if (state_.software_tlb) [[unlikely]]
        return find_guest_filled(address, access, mode, mapping, trap);
    if (const SecondLevelEntry* entry = second_level_.find(page_of(address))) {
        bool ready = access != Access::Write || (entry->rights() & PageRights::Dirty) != 0;
        if (ready && permits(entry->rights(), access, mode, state_)) {
            statistics_.second_level_hits++;
            mapping = {entry->pfn(), entry->rights(), entry->host_page};
            return true;
        }
    }
    WalkResult result;
    if (!walk_tables(address, access, mode, WalkEffect::AccessedAndDirty, result, trap)) return false;
    if ((result.rights & PageRights::Large2M) != 0)
        large_pages_.note(address.value(), LargePages::Size::Of2M);
    if ((result.rights & PageRights::Large1G) != 0)
        large_pages_.note(address.value(), LargePages::Size::Of1G);
    mapping = {result.pfn, result.rights, memory_.page_to_keep(result.pfn)};
    second_level_.insert(page_of(address), mapping.pfn, mapping.rights, mapping.host_page);
    return true;
}

// Answers, and fills the software TLB. Its write tag says that a write needs nothing but the write: it is
// allowed, D is set already, there is no code to invalidate.
void Mmu::finish(GuestVirtual address, Access access, AccessMode mode, const Mapping& mapping,
                 Translation& out) noexcept {
    auto [pfn, rights, host_page] = mapping;
    out.physical = GuestPhysical{pfn << 12 | address.page_offset()};
    if (!host_page) host_page = find_frame(pfn, access);
    if (!host_page && access != Access::Write) {  // to be read once
        out.host = const_cast<std::byte*>(memory_.readable(out.physical));
        out.global = (rights & PageRights::Global) != 0;
        out.holds_code = false;
        return;
    }
    out.host = host_page ? host_page + address.page_offset() : nullptr;
    out.global = (rights & PageRights::Global) != 0;
    out.holds_code = false;
    if (access == Access::Execute || !host_page) return;

    bool writable =
        access == Access::Write || ((rights & PageRights::Dirty) != 0 &&
                                    (!state_.paging() || permits(rights, Access::Write, mode, state_)));
    if (writable && code_pages_.holds_code(pfn)) {
        out.holds_code = access == Access::Write;
        writable = false;
    }
    CodePages::WriteObserver* observer = code_pages_.write_observer();
    if (observer != nullptr && (writable || access == Access::Write)) [[unlikely]]
        writable = observer->grants_write(out.physical) && writable;
    bool first = book_.fill(mode, page_of(address), pfn, host_page, writable, out.global);
    if (mode == AccessMode::User) recent_user_pages_[user_fills_++ % recent_count] = page_of(address);
    if (first && code_pages_.is_shared()) [[unlikely]]
        out.holds_code = became_code_meanwhile(pfn) && access == Access::Write;
}

bool Mmu::fill_beside(GuestVirtual page, GuestVirtual beside, AccessMode mode) noexcept {
    constexpr std::uint64_t pages_of_large = 512;
    if (!state_.paging() || state_.software_tlb) return false;
    Mapping mapping;
    if (const SecondLevelEntry* entry = second_level_.find(page.value())) {
        mapping = {.pfn = entry->pfn(), .rights = entry->rights()};
    } else {
        const SecondLevelEntry* near = second_level_.find(page_of(beside));
        bool same = near != nullptr && (near->rights() & PageRights::Large2M) != 0 &&
                    page.page() / pages_of_large == beside.page() / pages_of_large;
        if (!same) return false;
        mapping = {.pfn = near->pfn() - beside.page() + page.page(), .rights = near->rights()};
    }
    mapping.host_page = memory_.page_to_keep(mapping.pfn);
    if (mapping.host_page == nullptr || !permits(mapping.rights, Access::Read, mode, state_)) return false;
    Translation translation;
    finish(page, Access::Read, mode, mapping, translation);
    return true;
}

// The host address that may be kept: for a write, and for a page that is read a lot.
std::byte* Mmu::find_frame(std::uint64_t pfn, Access access) noexcept {
    if (access == Access::Write || (access == Access::Read && reads_.are_enough(pfn)))
        return memory_.writable(GuestPhysical{pfn << 12});
    return memory_.page_to_keep(pfn);
}

// Another vCPU that makes the page code looks for who may write it after it has entered itself as an owner.
bool Mmu::became_code_meanwhile(std::uint64_t pfn) noexcept {
    full_fence();
    if (!code_pages_.holds_code(pfn)) return false;
    book_.drop_writes(pfn);
    return true;
}

bool Mmu::probe(GuestVirtual address, Access access, AccessMode mode, Trap& trap) noexcept {
    if (!state_.paging()) return true;
    Mapping mapping;
    if (state_.software_tlb) return find_guest_filled(address, access, mode, mapping, trap);
    const SecondLevelEntry* entry = second_level_.find(page_of(address));
    if (entry && permits(entry->rights(), access, mode, state_)) return true;
    WalkResult result;
    return walk_tables(address, access, mode, WalkEffect::None, result, trap);
}

bool Mmu::walk_tables(GuestVirtual address, Access access, AccessMode mode, WalkEffect effect,
                      WalkResult& result, Trap& trap) noexcept {
    if (!addressable(address)) {
        trap = Trap::fault(Vector::GP, 0);
        return false;
    }
    statistics_.walks++;
    if (walk_.walk(address, access, mode, effect, result, trap)) return true;
    // A page fault drops what the TLBs hold for the address. (SDM vol. 3A section 4.10.4.1)
    statistics_.page_faults++;
    second_level_.remove(page_of(address));
    book_.flush_page(page_of(address));
    walk_.flush();
    return false;
}

bool Mmu::addressable(GuestVirtual address) const noexcept {
    return !state_.paging() || is_canonical(address.value());
}

void Mmu::flush_all() noexcept {
    serialise();
    statistics_.flushes_all++;
    second_level_.select(state_.pcid());  // CR4.PCIDE may have changed
    second_level_.flush_all();
    walk_.flush();
    book_.flush_all();
    large_pages_.forget_all();
    for (FlushObserver* observer : flush_observers_) observer->flushed_all();
}

void Mmu::flush_non_global() noexcept {
    statistics_.flushes_non_global++;
    second_level_.flush_non_global();
    forget_address_spaces();
}

// The software TLB and the translator's shortcuts hold one address space; of others they remember a part.
void Mmu::switch_address_space(unsigned pcid, OldEntries old) noexcept {
    serialise();
    ++(old == OldEntries::Keep ? statistics_.address_space_switches : statistics_.flushes_non_global);
    unsigned from = second_level_.selected();
    if (old == OldEntries::Drop) second_level_.flush_address_space(pcid);
    second_level_.select(pcid);
    walk_.flush();
    if (pcid == from && old == OldEntries::Keep) return;
    book_.switch_address_space(from, pcid, old);
    for (FlushObserver* observer : flush_observers_) observer->switched_address_space(from, pcid, old);
}

void Mmu::flush_address_space(unsigned pcid) noexcept {
    if (pcid == second_level_.selected()) return switch_address_space(pcid, OldEntries::Drop);
    serialise();
    statistics_.flushes_non_global++;
    second_level_.flush_address_space(pcid);
    forget_address_space(pcid);
}

void Mmu::flush_page_of(unsigned pcid, GuestVirtual address) noexcept {
    flush_page(address);  // of the current address space, too: a large page goes in all of them
    if (pcid == second_level_.selected()) return;
    second_level_.remove_of(pcid, page_of(address));
    forget_address_space(pcid);
}

// What lies before the second-level TLB: of all address spaces, of one that is not the current one.
void Mmu::forget_address_spaces() noexcept {
    serialise();
    walk_.flush();
    book_.flush_non_global();
    for (FlushObserver* observer : flush_observers_) observer->flushed_non_global();
}

void Mmu::forget_address_space(unsigned pcid) noexcept {
    book_.forget_address_space(pcid);
    for (FlushObserver* observer : flush_observers_) observer->flushed_address_space(pcid);
}

void Mmu::flush_page(GuestVirtual address) noexcept {
    serialise();
    statistics_.flushes_page++;
    using Size = LargePages::Size;
    std::uint64_t start = page_of(address);
    std::uint64_t length = page_size;
    for (Size size : {Size::Of2M, Size::Of1G}) {
        if (!large_pages_.may_hold(start, size)) continue;
        length = 1ull << static_cast<unsigned>(size);
        large_pages_.forget(start, size);
    }
    start &= ~(length - 1);
    walk_.flush();
    if (state_.software_tlb) guest_filled_.remove(page_of(address), state_.asid);
    if (length == page_size) {
        second_level_.remove(start);
        book_.flush_page(start);
    } else {
        second_level_.remove_range(start, length);
        book_.flush_range(start, length);
    }
    for (FlushObserver* observer : flush_observers_) observer->flushed_range(GuestVirtual{start}, length);
}

void Mmu::forget_frames() noexcept {
    second_level_.flush_all();
    walk_.flush();
    book_.flush_all();
    for (FlushObserver* observer : flush_observers_) observer->frames_forgotten();
}

void Mmu::page_became_code(std::uint64_t pfn) noexcept { book_.drop_writes(pfn); }
bool Mmu::may_grant_write(std::uint64_t pfn) const noexcept { return book_.may_grant_write(pfn); }
void Mmu::forget_granted_writes() noexcept { book_.drop_all_writes(); }

}  // namespace undercroft
