// SPDX-License-Identifier: Apache-2.0
// What is mapped in the guest process: by the TLBs, and only as long as they would have it.
#include "engine/direct/direct_execution.hpp"
#include "engine/direct/mapped_pages.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace undercroft::direct {
namespace {

constexpr std::uint64_t page_mask = ~(page_size - 1);
// Mapped with the one that was missing, in both directions: there are copies that go down.
constexpr std::uint64_t pages_around = 32;

}  // namespace

// What was withdrawn since is taken out of the process.
bool DirectExecution::bring_up_to_date(Vcpu& vcpu, MappedPages& pages) {
    bool fresh = pages.owner() != this || pages_ != &pages || withdrawn_.pcid() != vcpu.paging.pcid() ||
                 withdrawn_.is_all();
    forget_changed_code(vcpu, pages);
    if (fresh) {
        pages.begin(this);
        pages_ = &pages;
        in_the_way_ = false;
        unfit_at_.clear();
        unfit_.clear();
        withdrawn_.begin(vcpu.paging.pcid());
        user_pages_seen_ = 0;
        map_known_code(vcpu, pages);
    } else {
        unmap_withdrawn(pages);
    }
    // What translated code has used meanwhile, as far as that is remembered. (All that the software TLB holds
    // takes 16 ms.)
    vcpu.mmu->for_each_new_user_page(user_pages_seen_, [&](std::uint64_t used) {
        if (used >> 47 == 0 && vcpu.tlb.entry(AccessMode::User, used).read_tag == used)
            map_what_is_known(vcpu, pages, used, used);
    });
    return !in_the_way_ && !withdrawn_.is_all() && (!pages.has_changes() || pages.apply());
}

// If the pages are others', they are unmapped next anyway.
void DirectExecution::forget_changed_code(Vcpu& vcpu, MappedPages& pages) {
    CodePages& code = vcpu.mmu->code_pages();
    if (code.changes() == code_changes_) return;
    unfit_at_.clear();
    std::unordered_set<std::uint64_t> changed;
    bool all = false;
    code.for_each_change(
        code_changes_, [&](std::uint64_t pfn) { changed.insert(pfn); }, [&] { all = true; });
    auto has_changed = [&](std::uint64_t pfn) { return all || changed.contains(pfn); };
    std::erase_if(unfit_, has_changed);
    screened_.forget(has_changed);
    pages.unmap_if(
        [&](std::uint64_t, const MappedPage& page) { return page.executable && has_changed(page.pfn); });
}

void DirectExecution::unmap_withdrawn(MappedPages& pages) {
    withdrawn_.for_each_range([&](std::uint64_t start, std::uint64_t length) { pages.unmap(start, length); });
    withdrawn_.for_each_page([&](std::uint64_t pfn) {
        pages.unmap_if(
            [&](std::uint64_t, const MappedPage& page) { return page.writable && page.pfn == pfn; });
    });
    withdrawn_.clear();
}

// Code that the program has executed translated.
void DirectExecution::map_known_code(Vcpu& vcpu, MappedPages& pages) {
    constexpr std::size_t most = 128;
    std::vector<std::uint64_t> code;
    known_code_.add_user_pages(code);
    if (code.size() > most) code.resize(most);
    for (std::uint64_t page : code)
        if (GuestProcess::has_room_at(page)) (void)map_code(vcpu, pages, page);
}

// A page that the software TLB has, or would have without a look into the guest's tables.
void DirectExecution::map_what_is_known(Vcpu& vcpu, MappedPages& pages, std::uint64_t page,
                                        std::uint64_t beside) {
    const TlbEntry& entry = vcpu.tlb.entry(AccessMode::User, page);
    if (entry.read_tag != page &&
        !vcpu.mmu->fill_beside(GuestVirtual{page}, GuestVirtual{beside}, AccessMode::User))
        return;
    if (!GuestProcess::has_room_at(page)) {
        in_the_way_ = true;
        return;
    }
    // Global ones may be flushed in any address space.
    std::uint64_t physical = vcpu.tlb.physical(AccessMode::User, page);
    if (physical >> 63 != 0) return;
    MappedPage as{.pfn = physical,
                  .offset = vcpu.mmu->memory().pool().offset_of(entry.host_page),
                  .writable = entry.write_tag == page};
    const MappedPage* present = pages.find(page);
    if (present != nullptr && (present->executable || *present == as)) return;
    pages.map(page, as);
    ++mapped_;
}

bool DirectExecution::map(Vcpu& vcpu, MappedPages& pages, std::uint64_t address, Access access) {
    Translation translation;
    Trap trap;
    Mmu& mmu = *vcpu.mmu;
    if (!mmu.translate(GuestVirtual{address}, access, AccessMode::User, translation, trap)) return false;
    if (translation.host == nullptr || translation.holds_code) return false;
    GuestPhysical physical = translation.physical;
    std::uint64_t page = address & page_mask;
    GuestMemory& memory = mmu.memory();
    if (memory.page_to_keep(physical.page()) == nullptr) {
        // One that everybody shows: it gets a frame of its own, as if it were read a lot.
        if (memory.writable(physical) == nullptr) return false;
    }
    if (access == Access::Execute) return map_code(vcpu, pages, address);
    if (vcpu.tlb.entry(AccessMode::User, page).read_tag != page &&
        (!mmu.translate(GuestVirtual{address}, access, AccessMode::User, translation, trap) ||
         vcpu.tlb.entry(AccessMode::User, page).read_tag != page))
        return false;
    if (access == Access::Write && vcpu.tlb.entry(AccessMode::User, page).write_tag != page) return false;
    std::uint64_t first = page & ~(pages_around * page_size - 1);
    for (std::uint64_t n = 0; n < pages_around; ++n)
        map_what_is_known(vcpu, pages, first + n * page_size, page);
    return pages.find(page) != nullptr;
}

bool DirectExecution::map_code(Vcpu& vcpu, MappedPages& pages, std::uint64_t address) {
    std::uint64_t page = address & page_mask;
    Translation translation;
    Trap trap;
    Mmu& mmu = *vcpu.mmu;
    CodePages& code = mmu.code_pages();
    if (!mmu.translate(GuestVirtual{page}, Access::Execute, AccessMode::User, translation, trap))
        return false;
    std::uint64_t pfn = translation.physical.page();
    std::byte* host = mmu.memory().page_to_keep(pfn);
    if (host == nullptr || translation.global) return false;
    if (unfit_.contains(pfn)) {
        unfit_at_.insert(page >> 12);
        return false;
    }
    // Whoever writes to it from now on tells.
    if (code.claim(pfn)) return false;
    code.mark(GuestPhysical{pfn << 12}, page_size);
    code.about_to_read(GuestPhysical{pfn << 12}, page_size);
    MappedPage as{.pfn = pfn, .offset = mmu.memory().pool().offset_of(host), .executable = true};
    if (!screen(vcpu, pages, address, host, as)) {
        unfit_.insert(pfn);
        unfit_at_.insert(page >> 12);
        return false;
    }
    if (withdrawn_.is_all()) return false;
    unmap_withdrawn(pages);  // it may have been mapped for writing
    pages.map(page, as);
    ++mapped_;
    return true;
}

// Breakpoints watch instructions that must not be executed there. If there are too many of them, those that
// are certain are replaced, in a copy, by one that faults. False: there still are.
bool DirectExecution::screen(Vcpu& vcpu, MappedPages& pages, std::uint64_t address, const std::byte* host,
                             MappedPage& as) {
    constexpr std::byte hlt{0xf4};
    FramePool& pool = vcpu.mmu->memory().pool();
    // Of a neighbour.
    auto code_at = [&](std::uint64_t at) -> ScreenedCode::Page {
        const MappedPage* present = pages.find(at);
        if (present == nullptr || !present->executable || present->patched) return {};
        return {present->pfn, {pool.host(MachineFrame{present->offset >> 12}), page_size}};
    };
    std::uint64_t page = address & page_mask;
    std::vector<std::uint16_t> starts;
    known_code_.add_starts(as.pfn, starts);
    if (address != page) starts.push_back(static_cast<std::uint16_t>(address - page));
    std::sort(starts.begin(), starts.end());
    const auto& [found, across] = screened_.look({as.pfn, {host, page_size}}, code_at(page - page_size),
                                                 code_at(page + page_size), std::move(starts));
    if (across) return false;
    if (found.empty()) return true;
    std::vector<std::uint16_t> all = found.certain;
    all.insert(all.end(), found.suspected.begin(), found.suspected.end());
    if (pages.watch(page, all)) return true;
    if (found.certain.empty() || !pages.watch(page, found.suspected)) return false;
    auto slot = pages.take_patched_page();
    if (!slot) return false;
    std::byte* copy = pages.process().patched_page(*slot);
    std::memcpy(copy, host, page_size);
    for (std::uint16_t offset : found.certain) copy[offset] = hlt;
    as.patched = true;
    as.offset = *slot * page_size;
    return true;
}

}  // namespace undercroft::direct
