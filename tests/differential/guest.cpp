// SPDX-License-Identifier: Apache-2.0
#include "guest.hpp"

#include "base/check.hpp"
#include "x86/paging.hpp"
#include "x86/segment.hpp"

#include <algorithm>
#include <cstring>

namespace undercroft::differential {
namespace {

// Guest-physical: tables from 0x1000, IDT, GDT, TSS, handlers, the kernel's stack, then the frames.
constexpr std::uint64_t ram_size = 1 << 20;
constexpr std::uint64_t tables = 0x1000, idt = 0x20000, gdt = 0x21000, tss = 0x22000, handlers = 0x23000,
                        kernel_stack = 0x26000, exit_page = 0x27000, frames = 0x40000;
constexpr std::uint64_t kernel = 0xffff800000000000;  // where the kernel sees physical memory
constexpr std::uint64_t open = PageEntry::P | PageEntry::RW | PageEntry::US | PageEntry::A | PageEntry::D;
constexpr std::uint64_t no_execute = PageEntry::XD;

// Linux's selectors.
constexpr std::uint16_t kernel_code = 0x10, kernel_data = 0x18, user_data = 0x2b, user_code = 0x33,
                        task = 0x40;
constexpr std::uint64_t descriptor(std::uint64_t access, std::uint64_t flags) {
    return 0xffff | access << 40 | 0xfull << 48 | flags << 52;
}
constexpr std::uint64_t code64 = descriptor(0xfb, 0xa), flat_data = descriptor(0xf3, 0xc);

}  // namespace

Guest::Guest(const Images& images)
    : images_{images},
      memory_{std::move(*GuestMemory::create({{GuestPhysical{0}, ram_size}}))},
      code_pages_{memory_->page_limit()},
      vcpu_{std::make_unique<Vcpu>()} {
    write_tables();
    set_registers();
    start_.resize(offsetof(Vcpu, mmu));
    std::memcpy(start_.data(), static_cast<const void*>(vcpu_.get()), start_.size());
}

std::uint64_t& Guest::entry(std::uint64_t table, std::uint64_t index) const {
    return *reinterpret_cast<std::uint64_t*>(at(table + 8 * (index & 511)));
}

// Neighbours in the image are none in physical memory.
std::uint64_t Guest::frame_address(unsigned number) const {
    if (number < code_frames) return frames + (4 * slot_ + 2 * number) * page;
    return frames + (64 - 2 * number) * page;
}

const std::byte* Guest::frame(unsigned number) const { return at(frame_address(number)); }

void Guest::map(std::uint64_t address, std::uint64_t physical, std::uint64_t flags) {
    std::uint64_t table = tables;
    for (unsigned shift : {39u, 30u, 21u}) {
        std::uint64_t& next = entry(table, address >> shift);
        if (next == 0) {
            next = next_table_ | open;
            next_table_ += page;
            CHECK(next_table_ < idt);
        }
        table = next & 0xffffffffff000;
    }
    entry(table, address >> 12) = physical | flags;
}

void Guest::map_code(unsigned slot) {
    slot_ = slot;
    for (const Place& place : places) {
        for (unsigned n = 0; n < code_frames; ++n) map(place.code + n * page, frame_address(n), open);
    }
}

void Guest::write_tables() {
    for (std::uint64_t physical = 0; physical < ram_size; physical += page)
        map(kernel + physical, physical, open & ~PageEntry::US);
    map_code(0);
    for (const Place& place : places) {
        map(place.exit(), exit_page, open & ~PageEntry::RW);
        for (const DataPage& each : data_pages) {
            std::uint64_t rights = each.rights == Rights::Write ? open : open & ~PageEntry::RW;
            if (place.has_data)
                map(place.moved(each.address), frame_address(each.frame), rights | no_execute);
        }
    }
    *at(exit_page) = std::byte{0xf4};
    std::memset(at(handlers), 0xf4, 256 * 16);

    auto put = [&](std::uint64_t to, std::uint64_t value) { std::memcpy(at(to), &value, 8); };
    for (std::uint64_t vector = 0; vector < 256; ++vector) {
        std::uint64_t to = kernel + handlers + 16 * vector;
        std::uint64_t level = vector == 3 || vector == 4 ? 3 : 0;
        put(idt + 16 * vector, (to & 0xffff) | std::uint64_t{kernel_code} << 16 |
                                   (0x8eull | level << 5) << 40 | (to >> 16 & 0xffff) << 48);
        put(idt + 16 * vector + 8, to >> 32);
    }
    put(gdt + kernel_code, descriptor(0x9b, 0xa));
    put(gdt + kernel_data, descriptor(0x93, 0xc));
    put(gdt + 0x20, descriptor(0xfb, 0xc));
    put(gdt + 0x28, flat_data);
    put(gdt + 0x30, code64);
    constexpr std::uint64_t base = kernel + tss;
    put(gdt + task, 0x00008b0000000067 | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56);
    put(gdt + task + 8, base >> 32);
    put(tss + 4, kernel + kernel_stack);
    put(tss + 0x60, 0x68ull << 48);  // no permission bitmap
}

void Guest::set_registers() {
    Vcpu& vcpu = *vcpu_;
    reset(vcpu);
    vcpu.environment = &environment_;
    vcpu.cpuid = &cpuid_;
    vcpu.paging = {CR0::PE | CR0::MP | CR0::ET | CR0::NE | CR0::WP | CR0::AM | CR0::PG, tables,
                   CR4::PAE | CR4::PGE | CR4::OSFXSR | CR4::OSXMMEXCPT | CR4::OSXSAVE | CR4::FSGSBASE |
                       CR4::UMIP | CR4::SMEP,
                   EFER::SCE | EFER::LME | EFER::LMA | EFER::NXE};
    mmu_ = std::make_unique<Mmu>(*memory_, code_pages_, environment_, vcpu.paging, vcpu.tlb);
    vcpu.mmu = mmu_.get();
    vcpu.xcr0 = XCR0::Supported;
    vcpu.gdtr = {kernel + gdt, 0x7f};
    vcpu.idtr = {kernel + idt, 0xfff};
    for (Segment& segment : vcpu.segment) segment = Descriptor::expand(flat_data, 0);
    vcpu.seg(SegmentName::CS) = Descriptor::expand(code64, user_code);
    vcpu.seg(SegmentName::SS) = Descriptor::expand(flat_data, user_data);
    vcpu.tr = {task, 0x8b, 0x67, kernel + tss};
    vcpu.cpl = 3;
}

void Guest::prepare(const Sequence& sequence) {
    Vcpu& vcpu = *vcpu_;
    std::memcpy(static_cast<void*>(&vcpu), start_.data(), start_.size());
    if (sequence.slot % code_slots != slot_) {
        map_code(sequence.slot % code_slots);
        for (const Place& place : places) {
            for (unsigned n = 0; n < code_frames; ++n) mmu_->flush_page(GuestVirtual{place.code + n * page});
        }
    }
    if (sequence.flush != 0) mmu_->flush_all();
    for (unsigned n = 0; n < frame_count; ++n) {
        std::byte* to = at(frame_address(n));
        if (n >= code_frames) {
            images_.prepare(sequence, n, to);
            continue;
        }
        // What has not changed stays translated.
        Page wanted;
        images_.prepare(sequence, n, wanted.data());
        for (std::size_t granule = 0; granule < page; granule += 64) {
            if (std::memcmp(to + granule, wanted.data() + granule, 64) == 0) continue;
            std::memcpy(to + granule, wanted.data() + granule, 64);
            code_pages_.wrote(GuestPhysical{frame_address(n) + granule}, 64);
        }
    }
    vcpu.gpr = sequence.initial.gpr;
    vcpu.rip = sequence.initial.rip;
    vcpu.set_rflags(sequence.initial.rflags);
    vcpu.seg(SegmentName::FS).base = sequence.initial.fs;
    vcpu.seg(SegmentName::GS).base = sequence.initial.gs;
    vcpu.xsave = sequence.initial.xsave;
}

void Guest::take(const Sequence& sequence, Ending& result) const {
    const Vcpu& vcpu = *vcpu_;
    result = Ending{};
    result.state.gpr = vcpu.gpr;
    result.state.fs = vcpu.seg(SegmentName::FS).base;
    result.state.gs = vcpu.seg(SegmentName::GS).base;
    result.state.xsave = vcpu.xsave;
    for (unsigned n = 0; n < frame_count; ++n) result.hash[n] = hash_frame(sequence, n, frame(n));
    if (vcpu.cpl != 0) {
        result.vector = no_fault;
        result.state.rip = vcpu.rip;
        result.state.rflags = vcpu.rflags();
        return;
    }
    std::uint64_t handler = vcpu.rip - (kernel + handlers);
    if (handler >= 256 * 16) return;
    result.vector = static_cast<std::uint32_t>(handler / 16);
    bool has_error = (0x227d00 >> result.vector & 1) != 0 && result.vector < 32;
    std::array<std::uint64_t, 6> frame_words{};
    std::memcpy(frame_words.data(), at(vcpu.reg(Gpr::Rsp) - kernel),
                sizeof frame_words - (has_error ? 0 : 8));
    const std::uint64_t* word = frame_words.data();
    if (has_error) result.error = static_cast<std::uint32_t>(*word++);
    result.address = result.vector == 14 ? vcpu.cr2 : 0;
    result.state.rip = word[0];
    result.state.rflags = word[2];
    result.state.gpr[4] = word[3];
    // The exit is HLT, which is refused.
    if (result.vector == 13 && is_exit(result.state.rip)) result.vector = no_fault, result.error = 0;
}

std::span<const std::uint8_t> Guest::code_at(std::uint64_t address,
                                             std::array<std::uint8_t, 15>& buffer) const {
    std::size_t count = 0;
    for (; count < buffer.size() && is_code(address + count); ++count) {
        std::uint64_t where = address + count;
        buffer[count] =
            static_cast<std::uint8_t>(frame(static_cast<unsigned>(frame_of(where)))[where % page]);
    }
    return {buffer.data(), count};
}

}  // namespace undercroft::differential
