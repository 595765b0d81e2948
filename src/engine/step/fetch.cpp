// SPDX-License-Identifier: Apache-2.0
#include "engine/step/fetch.hpp"

#include "base/check.hpp"
#include "cpu/environment.hpp"

#include <algorithm>
#include <cstring>

namespace undercroft {
namespace {

constexpr unsigned longest = 15;

CodeSize code_size_of(const Vcpu& vcpu) {
    if (vcpu.code_64bit()) return CodeSize::Code64;
    return Segment::DB::get(vcpu.seg(SegmentName::CS).attributes) != 0 ? CodeSize::Code32 : CodeSize::Code16;
}

// Changes with every event after which an old translation must not be used.
std::uint64_t flush_state(const MmuStatistics& statistics) {
    return statistics.flushes_all + statistics.flushes_non_global + statistics.flushes_page +
           statistics.address_space_switches + statistics.page_faults;
}

// Whether the slot holds what is at `linear`. Sixteen bytes may be read at `host`.
bool matches(const Instruction& instruction, std::uint64_t linear, CodeSize code_size,
             const std::byte* host) {
    bool same_place = instruction.linear == linear && instruction.code_size == code_size;
    if (!same_place || instruction.execute == nullptr) return false;
    std::uint64_t now[2];
    std::uint64_t then[2];
    std::memcpy(now, host, 16);
    std::memcpy(then, instruction.bytes.data(), 16);
    if (instruction.length < 8) return ((now[0] ^ then[0]) << (64 - 8 * instruction.length)) == 0;
    std::uint64_t tail = (now[1] ^ then[1]) & ~(~0ull << (8 * (instruction.length - 8)));
    return now[0] == then[0] && tail == 0;
}

bool may_execute_at(const Vcpu& vcpu, CodeSize code_size, unsigned length) {
    if (code_size == CodeSize::Code64) return is_canonical(vcpu.rip);
    return vcpu.rip + length - 1 <= vcpu.seg(SegmentName::CS).limit;
}

}  // namespace

InstructionFetcher::InstructionFetcher(NativeCode& native)
    : native_{native},
      decoder_{native},
      cache_{static_cast<Instruction*>(std::calloc(cache_size, sizeof(Instruction)))} {
    CHECK(cache_ != nullptr, "no memory for the decode cache");
}

void InstructionFetcher::clear() {
    for (std::size_t i = 0; i < cache_size; i++) {
        Instruction& cached = cache_.get()[i];
        if (cached.execute != nullptr) cached.execute = nullptr;
    }
    page_ = Page{};
}

bool InstructionFetcher::find_page(Vcpu& vcpu, std::uint64_t linear, Trap& trap) {
    std::uint64_t state = flush_state(vcpu.mmu->statistics());
    std::uint64_t page = linear & ~std::uint64_t{4095};
    bool user = vcpu.cpl == 3;
    if (page_.linear == page && page_.state == state && page_.user == user && page_.mmu == vcpu.mmu)
        return true;
    Translation where;
    page_.linear = ~0ull;
    if (!vcpu.mmu->translate(GuestVirtual{page}, Access::Execute, vcpu.access_mode(), where, trap)) {
        if (trap.vector == Vector::PF) trap.address = linear;
        return false;
    }
    page_ = {vcpu.mmu, page, flush_state(vcpu.mmu->statistics()), where.physical, user};
    return true;
}

const Instruction* InstructionFetcher::fetch(Vcpu& vcpu, Trap& trap) {
    if (!configured_ || configured_for_ != vcpu.cpuid) {
        decoder_.configure(vcpu);
        if (configured_) clear();
        configured_ = true;
        configured_for_ = vcpu.cpuid;
    }
    CodeSize code_size = code_size_of(vcpu);
    if (!may_execute_at(vcpu, code_size, 1)) {
        trap = Trap::fault(Vector::GP, 0);
        return nullptr;
    }
    bool wide = code_size == CodeSize::Code64;
    std::uint64_t linear = wide ? vcpu.rip : (vcpu.seg(SegmentName::CS).base + vcpu.rip) & 0xffffffff;
    if (!find_page(vcpu, linear, trap)) return nullptr;

    const Instruction* instruction = nullptr;
    std::uint64_t offset = linear & 4095;
    const std::byte* page = vcpu.mmu->memory().readable(page_.physical);
    if (page == nullptr || offset > 4096 - 16) {
        instruction = fetch_across_pages(vcpu, linear, code_size, trap);
    } else {
        const std::byte* host = page + offset;
        Instruction& cached = slot(linear);
        if (matches(cached, linear, code_size, host)) {
            instruction = &cached;
        } else {
            std::uint8_t bytes[longest];
            std::memcpy(bytes, host, longest);
            bool incomplete = false;
            instruction = decode(vcpu, linear, code_size, bytes, trap, incomplete);
        }
    }
    if (instruction == nullptr || wide || may_execute_at(vcpu, code_size, instruction->length))
        return instruction;
    trap = Trap::fault(Vector::GP, 0);
    return nullptr;
}

// The last bytes of a page, and code in device memory: the second page is looked at each time.
const Instruction* InstructionFetcher::fetch_across_pages(Vcpu& vcpu, std::uint64_t linear,
                                                          CodeSize code_size, Trap& trap) {
    std::uint8_t bytes[16] = {};
    auto* to = reinterpret_cast<std::byte*>(bytes);
    auto in_page = static_cast<unsigned>(std::min<std::uint64_t>(longest, 4096 - (linear & 4095)));
    unsigned count = vcpu.mmu->fetch(GuestVirtual{linear}, to, in_page, vcpu.access_mode(), trap);
    if (count == 0) return nullptr;
    Instruction& cached = slot(linear);
    if (matches(cached, linear, code_size, to) && cached.length <= count) return &cached;
    bool incomplete = false;
    const Instruction* instruction = decode(vcpu, linear, code_size, {bytes, count}, trap, incomplete);
    if (!incomplete) return instruction;

    count = vcpu.mmu->fetch(GuestVirtual{linear}, to, longest, vcpu.access_mode(), trap);
    if (count == 0) return nullptr;
    if (matches(cached, linear, code_size, to) && cached.length <= count) return &cached;
    incomplete = false;
    return decode(vcpu, linear, code_size, {bytes, count}, trap,
                  incomplete);  // incomplete: `trap` is the second page's
}

const Instruction* InstructionFetcher::decode(Vcpu& vcpu, std::uint64_t linear, CodeSize code_size,
                                              std::span<const std::uint8_t> bytes, Trap& trap,
                                              bool& incomplete) {
    Instruction instruction;
    switch (decoder_.decode(bytes, code_size, instruction)) {
        case DecodeStatus::Ok: break;
        case DecodeStatus::Incomplete: incomplete = true; return nullptr;
        case DecodeStatus::TooLong: trap = Trap::fault(Vector::GP, 0); return nullptr;
        case DecodeStatus::Unknown: {
            unknown_++;
            std::uint64_t detail = 0;
            std::memcpy(&detail, bytes.data(), std::min<std::size_t>(bytes.size(), 8));
            vcpu.environment->report(vcpu, Unusual::UnknownInstruction, detail);
            trap = Trap::fault(Vector::UD);
            return nullptr;
        }
        case DecodeStatus::Undefined: trap = Trap::fault(Vector::UD); return nullptr;
    }
    decoded_++;
    if (generation_ != native_.generation()) {
        generation_ = native_.generation();
        clear();
    }
    instruction.linear = linear;
    Instruction& to = slot(linear);
    to = instruction;
    return &to;
}

}  // namespace undercroft
