// SPDX-License-Identifier: Apache-2.0
// REP MOVS and REP STOS with DF clear: chunk by chunk at the host's speed, registers committed after each. A
// chunk ends with a page, or goes on into next pages that lie behind it in the host's memory, too.
#include "cpu/deliver.hpp"
#include "engine/translate/runtime/callbacks.hpp"
#include "engine/translate/runtime/translator.hpp"

namespace undercroft::translate {
namespace {

// The host address of guest memory for one access kind; null when it is not plain RAM.
struct Window {
    std::byte* host = nullptr;
    bool faulted = false;
    bool kept = false;     // the software TLB had it
    bool cleared = false;  // nothing is to be written: it is zero
};

Window window_at(Vcpu& vcpu, std::uint64_t address, Access access, Trap& trap) {
    AccessMode mode = vcpu.access_mode();
    TlbEntry& entry = vcpu.tlb.entry(mode, address);
    std::uint64_t tag = access == Access::Write ? entry.write_tag : entry.read_tag;
    if (tag == (address & ~0xfffull)) return {.host = entry.host_page + (address & 0xfff), .kept = true};
    Translation translation;
    if (!vcpu.mmu->translate(GuestVirtual{address}, access, mode, translation, trap))
        return {.faulted = true};
    if (access == Access::Write && translation.holds_code) return {};
    return {.host = translation.host};
}

// The same for zeroes that fill a page: it needs no frame for them.
Window window_to_clear(Vcpu& vcpu, std::uint64_t page, Trap& trap) {
    Mmu::Cleared cleared{};
    if (!vcpu.mmu->clear_page(GuestVirtual{page}, vcpu.access_mode(), cleared, trap))
        return {.faulted = true};
    if (cleared == Mmu::Cleared::Yes) return {.cleared = true};
    return window_at(vcpu, page, Access::Write, trap);
}

bool zero_elements(std::uint64_t value, unsigned width) { return value << (64 - 8 * width) == 0; }

void copy_elements(std::byte* to, const std::byte* from, std::uint64_t count, unsigned width) {
    switch (width) {
        case 1: asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory"); break;
        case 2: asm volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(count) : : "memory"); break;
        case 4: asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory"); break;
        default: asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory"); break;
    }
}

void fill_elements(std::byte* to, std::uint64_t value, std::uint64_t count, unsigned width) {
    switch (width) {
        case 1: asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory"); break;
        case 2: asm volatile("rep stosw" : "+D"(to), "+c"(count) : "a"(value) : "memory"); break;
        case 4: asm volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(value) : "memory"); break;
        default: asm volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(value) : "memory"); break;
    }
}

// How far memory goes on at the same distance behind a page that the software TLB has, up to `bytes` from
// `address`. It has granted the access to these pages, too: going on into them, or not, changes nothing else.
std::uint64_t in_one_piece(Vcpu& vcpu, std::uint64_t address, const std::byte* host, Access access,
                           std::uint64_t bytes) {
    AccessMode mode = vcpu.access_mode();
    std::uint64_t distance = reinterpret_cast<std::uintptr_t>(host) - address;
    std::uint64_t page = address & ~0xfffull;
    for (;;) {
        page += page_size;
        if (page - address >= bytes) return bytes;
        const TlbEntry& next = vcpu.tlb.entry(mode, page);
        std::uint64_t tag = access == Access::Write ? next.write_tag : next.read_tag;
        if (tag != page || next.distance != distance) return page - address;
    }
}

// Elements of a chunk that goes on behind its first page. Interrupts wait for its end.
std::uint64_t elements_further_on(Vcpu& vcpu, const Site& site, const Window& target, const Window& source) {
    constexpr std::uint64_t most = 8 * page_size;
    std::uint64_t left = vcpu.reg(Gpr::Rcx);
    std::uint64_t bytes = left < most / site.size ? left * site.size : most;
    bytes = in_one_piece(vcpu, vcpu.reg(Gpr::Rdi), target.host, Access::Write, bytes);
    if (site.detail == 0) return bytes / site.size;
    // Closely behind its source a target is slow: element by element.
    if (static_cast<std::uint64_t>(target.host - source.host) < bytes) return 0;
    return in_one_piece(vcpu, vcpu.reg(Gpr::Rsi), source.host, Access::Read, bytes) / site.size;
}

std::uint64_t elements_in_page(std::uint64_t address, unsigned width) {
    return (page_size - (address & 0xfff)) / width;
}

}  // namespace

Onward string_instruction(Vcpu& vcpu, Callback& record, std::uint64_t) noexcept {
    auto& site = static_cast<Site&>(record);
    EngineFrame& frame = EngineFrame::of(vcpu);
    auto& translator = *static_cast<Translator*>(frame.engine);
    bool moves = site.detail != 0;
    unsigned width = site.size;
    std::uint64_t& left = vcpu.reg(Gpr::Rcx);
    std::uint64_t& to = vcpu.reg(Gpr::Rdi);
    std::uint64_t& from = vcpu.reg(Gpr::Rsi);
    std::uint64_t before = left;
    // An element counts as an instruction; the block has counted one for all of them, and all behind it.
    auto stopped_here = [&](std::uint64_t traps) {
        frame.instructions += static_cast<std::int64_t>(before - left + traps) - site.remaining;
        vcpu.rip = site.rip;
    };
    while (left != 0) {
        std::uint64_t count = elements_in_page(to, width);
        if (moves) count = count < elements_in_page(from, width) ? count : elements_in_page(from, width);
        count = count < left ? count : left;
        Trap trap;
        Window source;
        if (moves && count != 0) source = window_at(vcpu, from, Access::Read, trap);
        Window target;
        if (count != 0 && !source.faulted) {
            bool clears = !moves && count * width == page_size && zero_elements(vcpu.reg(Gpr::Rax), width);
            target = clears ? window_to_clear(vcpu, to, trap) : window_at(vcpu, to, Access::Write, trap);
        }
        // A source without a frame of its own may have got one as the target.
        if (moves && target.host != nullptr && !source.kept)
            source = window_at(vcpu, from, Access::Read, trap);
        bool page_fault = (source.faulted || target.faulted) && trap.vector == Vector::PF;
        if (page_fault) {
            stopped_here(1);
            deliver(vcpu, trap);
            return translator.go_on_at_rip(vcpu);
        }
        // An element across pages, device memory, code, or an odd fault: one step, then back here.
        if ((target.host == nullptr && !target.cleared) || (moves && source.host == nullptr)) {
            stopped_here(0);
            vcpu.interrupt_shadow = site.in_shadow;
            frame.leave = Leave::Step;
            return {translator.thunks().leave, 0};
        }
        if (count < left && target.kept && (!moves || source.kept)) {
            std::uint64_t further = elements_further_on(vcpu, site, target, source);
            count = further > count ? further : count;
        }
        if (moves)
            copy_elements(target.host, source.host, count, width);
        else if (!target.cleared)
            fill_elements(target.host, vcpu.reg(Gpr::Rax), count, width);
        left -= count;
        to += count * width;
        if (moves) from += count * width;
        if (left != 0 && vcpu.attention.load(std::memory_order_relaxed) != 0) {
            stopped_here(0);
            frame.leave = Leave::Attention;
            return {translator.thunks().leave, 0};
        }
    }
    if (before != 0) frame.instructions += static_cast<std::int64_t>(before) - 1;
    return {site.resume, 0};
}

}  // namespace undercroft::translate
