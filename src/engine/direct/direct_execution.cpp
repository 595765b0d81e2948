// SPDX-License-Identifier: Apache-2.0
#include "engine/direct/direct_execution.hpp"

#include "cpu/deliver.hpp"
#include "engine/direct/mapped_pages.hpp"
#include "engine/direct/sensitive.hpp"
#include "engine/direct/user_state.hpp"
#include "engine/translate/runtime/frame.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>

namespace undercroft::direct {
namespace {

constexpr std::uint64_t page_mask = ~(page_size - 1);
constexpr std::uint64_t longest_instruction = bytes_behind;
// What a stop costs, there and back; and how often user code comes by before it is left alone until the next
// return from the kernel.
constexpr std::uint64_t patience = 40'000;
constexpr unsigned most_pieces = 1000;
constexpr unsigned pages_ahead = 32;             // mapped with the one that was missing
constexpr std::uint64_t single_step = 1u << 14;  // BS in DR6
constexpr std::uint64_t stop_ticks = 18'000;     // of a stay, what a stop costs when the code did nothing

std::uint64_t now() { return __builtin_ia32_rdtsc(); }

}  // namespace

DirectExecution::DirectExecution(Vcpu& vcpu, const KnownCode& known_code, bool always)
    : known_code_{known_code}, always_{always}, withdrawn_{vcpu} {
    if (always) translate::EngineFrame::of(vcpu).direct_space = translate::EngineFrame::every_address_space;
}

void DirectExecution::show_gear(Vcpu& vcpu) noexcept {
    translate::EngineFrame::of(vcpu).direct_space =
        gear_.is_high(space_of(vcpu)) ? vcpu.paging.cr3 : translate::EngineFrame::no_address_space;
}

std::uint64_t DirectExecution::entries_into_kernel(const Vcpu& vcpu) noexcept {
    std::uint64_t sum = vcpu.traps.system_call;
    for (std::uint64_t count : vcpu.traps.exception) sum += count;
    return sum;
}

void DirectExecution::before_attention(Vcpu& vcpu) noexcept {
    bool interrupts_translated = vcpu.cpl == 3 && !comes_by_ &&
                                 !translate::EngineFrame::of(vcpu).returned_to_user &&
                                 vcpu.attention.load(std::memory_order_relaxed) != 0;
    if (!interrupts_translated || always_) return;
    // Of programs that follow each other with the same page table, each has its TLS elsewhere.
    std::uint64_t program = space_of(vcpu) ^ vcpu.seg(SegmentName::FS).base << 16;
    gear_.looked(space_of(vcpu), program, now(), entries_into_kernel(vcpu));
    show_gear(vcpu);
}

// System calls and page faults come in bursts, which translated code makes for a tenth of what it costs to
// leave a guest process. So behind one, user code goes on translated for as long as leaving takes, and here
// when nothing has come meanwhile. Until then it comes by at every branch that looks at the attention word.
Next DirectExecution::execute(Vcpu& vcpu) {
    if (vcpu.cpl != 3) return Next::Translate;
    translate::EngineFrame& frame = translate::EngineFrame::of(vcpu);
    std::uint64_t time = now();
    if (frame.returned_to_user) {
        frame.returned_to_user = false;
        pieces_ = 0;
        from_ = interrupted_ ? time : time + patience;
        comes_by_ = true;
    }
    if (!always_) {
        if (!comes_by_) return Next::Translate;
        comes_by_ = gear_.is_high(space_of(vcpu)) && ++pieces_ < most_pieces;
        if (!comes_by_) return Next::Translate;
    }
    if ((always_ || time >= from_) && !unfit_at_.contains(vcpu.rip >> 12)) {
        pieces_ = 0;
        Next next = stay(vcpu);
        interrupted_ = next == Next::Attention;
        if (!always_) show_gear(vcpu);
        if (next != Next::Translate) return next;
    }
    vcpu.request(Attention::Resync);
    return Next::Translate;
}

void DirectExecution::end_turn() {
    if (MappedPages* pages = MappedPages::present_of_thread()) pages->processor().leave();
}

// Somebody has killed it. Unless it had the vCPU's state, it is only another one that is wanted.
Next DirectExecution::without_process(Next next) {
    pages_ = nullptr;
    MappedPages::forget_of_thread();
    return next;
}

Next DirectExecution::stay(Vcpu& vcpu) {
    if (!is_ordinary(vcpu)) return Next::Translate;
    MappedPages* pages = MappedPages::of_thread(vcpu.mmu->memory().pool().file());
    std::uint64_t begin = now();
    useful_of_stay_ = 0;
    Next end = Next::Translate;
    if (pages == nullptr || !bring_up_to_date(vcpu, *pages)) {
        gear_.shift_down(now());
        return pages != nullptr && pages->process().is_lost() ? without_process(end) : end;
    }
    GuestProcess& process = pages->process();
    pages->processor().keep(begin);
    bool loaded = load_registers(vcpu, process);
    if (loaded) load_vectors(vcpu, process);
    if (process.is_lost()) return without_process(end);
    if (!loaded) return end;
    ++stays_;
    vcpu.elsewhere.begin(process.pid());
    std::optional<user_regs_struct> registers;
    end = run(vcpu, *pages, registers);
    vcpu.elsewhere.end();
    if (process.is_lost()) return without_process(Next::Lost);
    if (!registers) return end;  // nothing has been executed
    store_state(vcpu, process, *registers);
    if (process.is_lost()) return without_process(Next::Lost);
    std::uint64_t after = now();
    useful_ticks_ += useful_of_stay_;
    gear_.stayed(after, after - begin, useful_of_stay_);
    if (single_stepped_) {
        single_stepped_ = false;
        deliver(vcpu, {.vector = Vector::DB, .kind = TrapKind::Trap, .address = single_step});
    }
    return end;
}

// What was withdrawn since is taken out of the process.
bool DirectExecution::bring_up_to_date(Vcpu& vcpu, MappedPages& pages) {
    bool fresh = pages.owner() != this || pages_ != &pages || withdrawn_.pcid() != vcpu.paging.pcid() ||
                 withdrawn_.is_all();
    if (fresh) {
        pages.begin(this);
        pages_ = &pages;
        in_the_way_ = false;
        unfit_at_.clear();
        unfit_.clear();
        code_changes_ = vcpu.mmu->code_pages().changes();
        withdrawn_.begin(vcpu.paging.pcid());
        user_pages_seen_ = 0;
        map_known_code(vcpu, pages);
    } else {
        unmap_withdrawn(pages);
        unmap_changed_code(vcpu, pages);
    }
    // What translated code has used meanwhile, as far as that is remembered. (All that the software TLB holds
    // takes 16 ms.)
    vcpu.mmu->for_each_new_user_page(user_pages_seen_, [&](std::uint64_t used) {
        if (used >> 47 == 0 && vcpu.tlb.entry(AccessMode::User, used).read_tag == used)
            map_what_is_known(vcpu, pages, used, used);
    });
    return !in_the_way_ && !withdrawn_.is_all() && (!pages.has_changes() || pages.apply());
}

void DirectExecution::unmap_changed_code(Vcpu& vcpu, MappedPages& pages) {
    auto is_of = [](std::uint64_t pfn) {
        return [pfn](const MappedPage& page) { return page.executable && page.pfn == pfn; };
    };
    CodePages& code = vcpu.mmu->code_pages();
    if (code.changes() == code_changes_) return;
    unfit_at_.clear();
    code.for_each_change(
        code_changes_,
        [&](std::uint64_t pfn) {
            unfit_.erase(pfn);
            pages.unmap_if(is_of(pfn));
        },
        [&] {
            unfit_.clear();
            pages.unmap_if([](const MappedPage& page) { return page.executable; });
        });
}

void DirectExecution::unmap_withdrawn(MappedPages& pages) {
    withdrawn_.for_each_range([&](std::uint64_t start, std::uint64_t length) { pages.unmap(start, length); });
    withdrawn_.for_each_page([&](std::uint64_t pfn) {
        pages.unmap_if([&](const MappedPage& page) { return page.writable && page.pfn == pfn; });
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
    MappedPage as{.pfn = vcpu.tlb.physical(AccessMode::User, page) & ~(1ull << 63),
                  .offset = vcpu.mmu->memory().pool().offset_of(entry.host_page),
                  .writable = entry.write_tag == page};
    const MappedPage* present = pages.find(page);
    if (present != nullptr && (present->executable || *present == as)) return;
    pages.map(page, as);
    ++mapped_;
}

// `registers`: as the code has left them. The process may not take them again: code can load selectors and
// bases that the host lets nobody set.
Next DirectExecution::run(Vcpu& vcpu, MappedPages& pages, std::optional<user_regs_struct>& registers) {
    GuestProcess& process = pages.process();
    while (vcpu.attention.load(std::memory_order_seq_cst) == 0) {
        std::uint64_t begin = now();
        GuestProcess::Stop stop = process.run();
        std::uint64_t time = now() - begin;
        if (time > stop_ticks) useful_of_stay_ += time - stop_ticks;
        registers = process.registers();
        switch (stop.event) {
            case GuestProcess::Event::Lost: return Next::Lost;
            case GuestProcess::Event::Interrupted: break;
            case GuestProcess::Event::PageFault:
                if (handle_page_fault(vcpu, pages, *registers, stop.address)) break;
                return Next::Translate;
            case GuestProcess::Event::SystemCall:
                // The translator makes it: back to before it.
                registers->rip -= 2;
                registers->rax = registers->orig_rax;
                return Next::Translate;
            case GuestProcess::Event::Signal:
                if (stop.signal == SIGTRAP) see_to_trap(vcpu, *registers, stop.code);
                return Next::Translate;
        }
    }
    return Next::Attention;
}

// What a breakpoint watches is the translator's, and so are INT3 and INT1, from before them; a single step,
// as user code has set TF by itself, is done. (RIP is at an INT1 where the host is itself a guest, and else
// behind it.)
void DirectExecution::see_to_trap(Vcpu& vcpu, user_regs_struct& registers, int code) {
    single_stepped_ = code == TRAP_TRACE;
    if (single_stepped_ || code == TRAP_HWBKPT) return;
    constexpr std::byte int3{0xcc};
    constexpr std::byte int1{0xf1};
    auto is_at = [&](std::uint64_t address, std::byte opcode) {
        std::byte found{};
        Trap trap;
        return vcpu.mmu->read(GuestVirtual{address}, &found, 1, AccessMode::User, trap) && found == opcode;
    };
    if (code != SI_KERNEL) {
        if (!is_at(registers.rip, int1)) registers.rip -= 1;
    } else {
        registers.rip -= is_at(registers.rip - 1, int3) ? 1 : 2;  // else CD 03
    }
}

// False: the translator has to see to it.
bool DirectExecution::handle_page_fault(Vcpu& vcpu, MappedPages& pages, const user_regs_struct& registers,
                                        std::uint64_t address) {
    ++page_faults_;
    std::uint64_t page = address & page_mask;
    if (!GuestProcess::has_room_at(page)) return false;
    const MappedPage* present = pages.find(page);
    // A fetch is at RIP, or behind it on the next page.
    bool fetches =
        (present == nullptr || !present->executable) &&
        (address == registers.rip || (address == page && page - registers.rip < longest_instruction));
    Access access = fetches ? Access::Execute : present != nullptr ? Access::Write : Access::Read;
    bool mapped = map(vcpu, pages, address, access);
    if (!mapped && fetches && address != registers.rip && present == nullptr)
        mapped = map(vcpu, pages, address, Access::Read);
    // What has not changed anything would fault again, and again.
    if (!mapped || !pages.has_changes()) return false;
    // Both come with other vCPUs.
    if (withdrawn_.is_all() || vcpu.mmu->code_pages().changes() != code_changes_) return false;
    return pages.apply() && pages.process().set_registers(registers);
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
    for (unsigned n = 0; n < pages_ahead; ++n) map_what_is_known(vcpu, pages, page + n * page_size, page);
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
    if (host == nullptr) return false;
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
    auto bytes_of = [&](const MappedPage* at) -> std::span<const std::byte> {
        if (at == nullptr || !at->executable || at->patched) return {};
        return {pool.host(MachineFrame{at->offset >> 12}), page_size};
    };
    std::uint64_t page = address & page_mask;
    std::span<const std::byte> code{host, page_size};
    std::span<const std::byte> last = bytes_of(pages.find(page - page_size));
    std::span<const std::byte> next = bytes_of(pages.find(page + page_size));
    std::vector<std::uint16_t> starts;
    known_code_.add_starts(as.pfn, starts);
    if (address != page) starts.push_back(static_cast<std::uint16_t>(address - page));
    std::sort(starts.begin(), starts.end());
    SensitiveInstructions found =
        sensitive_instructions({.before = last.empty() ? last : last.last(bytes_before),
                                .code = code,
                                .behind = next.empty() ? next : next.first(bytes_behind),
                                .starts = starts});
    if (!last.empty()) {
        // One that begins at the end of the page before.
        SensitiveInstructions across = sensitive_instructions(
            {.before = last.subspan(page_size - bytes_before - bytes_behind, bytes_before),
             .code = last.last(bytes_behind),
             .behind = code.first(bytes_behind)});
        if (!across.empty()) return false;
    }
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

std::vector<std::pair<std::string, std::uint64_t>> DirectExecution::statistics() const {
    return {{"stays in direct execution", stays_},
            {"pages missing there", page_faults_},
            {"pages mapped there", mapped_}};
}

}  // namespace undercroft::direct
