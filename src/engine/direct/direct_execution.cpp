// SPDX-License-Identifier: Apache-2.0
#include "engine/direct/direct_execution.hpp"

#include "base/stopwatch.hpp"
#include "cpu/deliver.hpp"
#include "engine/direct/mapped_pages.hpp"
#include "engine/direct/user_state.hpp"
#include "engine/step/debug.hpp"
#include "engine/translate/runtime/frame.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>

namespace undercroft::direct {
namespace {

constexpr std::uint64_t page_mask = ~(page_size - 1);
constexpr std::uint64_t longest_instruction = 15;
// What a stop costs, there and back; and how often user code comes by before it is left alone until the next
// return from the kernel.
constexpr std::uint64_t patience = 40'000;
constexpr unsigned most_pieces = 1000;
constexpr std::uint64_t stop_ticks = 18'000;  // of a stay, what a stop costs when the code did nothing

std::uint64_t now() { return __builtin_ia32_rdtsc(); }

}  // namespace

DirectExecution::DirectExecution(Vcpu& vcpu, const KnownCode& known_code, bool always)
    : known_code_{known_code}, always_{always}, withdrawn_{vcpu} {
    if (always) translate::EngineFrame::of(vcpu).direct_space = translate::EngineFrame::every_address_space;
}

void DirectExecution::show_gear(Vcpu& vcpu) noexcept {
    translate::EngineFrame::of(vcpu).direct_space =
        gear_.is_high(vcpu.paging.cr3) ? vcpu.paging.cr3 : translate::EngineFrame::no_address_space;
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
    std::uint64_t program = vcpu.paging.cr3 ^ vcpu.seg(SegmentName::FS).base << 16;
    gear_.looked(vcpu.paging.cr3, program, now(), entries_into_kernel(vcpu));
    show_gear(vcpu);
}

// System calls and page faults come in bursts, which translated code makes for a tenth of what it costs to
// leave a guest process. So behind one, user code goes on translated for as long as leaving takes, and here
// when nothing has come meanwhile. Until then it comes by at every branch that looks at the attention word.
Next DirectExecution::execute(Vcpu& vcpu) {
    if (vcpu.cpl != 3) return Next::Translate;
    translate::EngineFrame& frame = translate::EngineFrame::of(vcpu);
    if (!always_ && !comes_by_ && !frame.returned_to_user) return Next::Translate;
    std::uint64_t time = now();
    if (frame.returned_to_user) {
        frame.returned_to_user = false;
        pieces_ = 0;
        from_ = interrupted_ ? time : time + patience;
        comes_by_ = true;
    }
    if (!always_) {
        comes_by_ = gear_.is_high(vcpu.paging.cr3) && ++pieces_ < most_pieces;
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
    useful_of_stay_ = mapping_of_stay_ = 0;
    Next end = Next::Translate;
    if (pages == nullptr || !bring_up_to_date(vcpu, *pages)) {
        gear_.shift_down(now());
        return pages != nullptr && pages->process().is_lost() ? without_process(end) : end;
    }
    mapping_of_stay_ = now() - begin;
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
    if (registers) store_state(vcpu, process, *registers);  // else nothing has been executed
    if (process.is_lost()) return without_process(Next::Lost);
    std::uint64_t after = now();
    useful_ticks_ += useful_of_stay_;
    gear_.stayed(after, after - begin, useful_of_stay_, mapping_of_stay_);
    if (single_stepped_) {
        single_stepped_ = false;
        deliver(vcpu, {.vector = Vector::DB, .kind = TrapKind::Trap, .address = Breakpoint::BS});
    }
    return end;
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
    Stopwatch stopwatch{mapping_of_stay_};
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
    // With RF, as the fault has left it, a breakpoint would not stop at the first instruction.
    user_regs_struct onward = registers;
    onward.eflags &= ~RFLAGS::RF;
    return pages.apply() && pages.process().set_registers(onward);
}

std::vector<std::pair<std::string, std::uint64_t>> DirectExecution::statistics() const {
    return {{"stays in direct execution", stays_},
            {"pages missing there", page_faults_},
            {"pages mapped there", mapped_}};
}

}  // namespace undercroft::direct
