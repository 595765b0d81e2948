// SPDX-License-Identifier: Apache-2.0
// For tests: a machine with 32 MiB of RAM, recording devices, an MMU, and page tables that are easy to write.

#pragma once

#include "mmu/mmu.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace undercroft::test {

inline constexpr std::uint64_t P = PageEntry::P, RW = PageEntry::RW, US = PageEntry::US, A = PageEntry::A,
                               D = PageEntry::D, PS = PageEntry::PS, G = PageEntry::G, XD = PageEntry::XD;
inline constexpr std::uint64_t KiB = 1024, MiB = 1024 * KiB, GiB = 1024 * MiB;

class RecordingDevices final : public DeviceMemory {
public:
    struct Event {
        std::uint64_t address;
        unsigned size;
        std::uint64_t value;  // written
        bool operator==(const Event&) const = default;
    };
    std::uint64_t read_device(GuestPhysical address, unsigned size) noexcept override {
        reads.push_back({address.value(), size, 0});
        std::uint64_t value = 0;  // each byte is the low byte of its address
        for (unsigned i = 0; i < size; i++) value |= ((address.value() + i) & 0xff) << 8 * i;
        return value;
    }
    void write_device(GuestPhysical address, unsigned size, std::uint64_t value) noexcept override {
        writes.push_back({address.value(), size, value});
    }
    std::vector<Event> reads;
    std::vector<Event> writes;
};

class TestMachine : public CodePages::Listener {
public:
    static constexpr std::uint64_t ram_size = 32 * MiB;
    static constexpr std::uint64_t first_table =
        16 * MiB;  // page tables come from here upwards, the PML4 first

    TestMachine()
        : memory{std::move(*GuestMemory::create({{GuestPhysical{0}, ram_size}}))},
          code_pages{memory->page_limit()},
          tlb{std::make_unique<Tlb>()},
          mmu{*memory, code_pages, devices, state, *tlb} {
        code_pages.set_listener(this);
        state = long_mode();
    }

    // As Linux runs: WP, PGE, SMEP, SMAP, NXE.
    static PagingState long_mode() {
        return {CR0::PE | CR0::PG | CR0::WP, first_table, CR4::PAE | CR4::PGE | CR4::SMEP | CR4::SMAP,
                EFER::LME | EFER::LMA | EFER::NXE};
    }

    std::uint64_t& word(std::uint64_t physical) {
        return *reinterpret_cast<std::uint64_t*>(memory->writable(GuestPhysical{physical}));
    }
    std::byte& byte(std::uint64_t physical) { return *memory->writable(GuestPhysical{physical}); }

    // The entry of `level` (0: page table) for an address under CR3; tables above come into being with
    // `upper` flags.
    std::uint64_t entry_address(std::uint64_t address, unsigned level, std::uint64_t upper = P | RW | US) {
        std::uint64_t table = state.cr3 & 0xfffffff000;
        for (unsigned at = 3; at > level; at--) {
            std::uint64_t& entry = word(table + (address >> (12 + 9 * at) & 0x1ff) * 8);
            if ((entry & P) == 0) {
                entry = next_table_ | upper;
                next_table_ += 4096;
            }
            table = entry & 0xfffffff000;
        }
        return table + (address >> (12 + 9 * level) & 0x1ff) * 8;
    }
    std::uint64_t& entry(std::uint64_t address, unsigned level, std::uint64_t upper = P | RW | US) {
        return word(entry_address(address, level, upper));
    }
    // The page gets a frame, as if it had been written: the software TLB may hold it.
    void map(std::uint64_t address, std::uint64_t physical, std::uint64_t flags = P | RW | US,
             unsigned level = 0) {
        memory->writable(GuestPhysical{physical});
        entry(address, level) = physical | flags | (level != 0 ? PS : 0);
    }

    bool translate(std::uint64_t address, Access access, AccessMode mode) {
        out = {};
        trap = {};
        return mmu.translate(GuestVirtual{address}, access, mode, out, trap);
    }
    // What generated code does: does the software TLB alone allow the access, and where does it go?
    std::byte* probe(std::uint64_t address, unsigned size, Access access, AccessMode mode) {
        const TlbEntry& slot = tlb->entry(mode, address);
        std::uint64_t offset = address - (access == Access::Write ? slot.write_tag : slot.read_tag);
        return offset <= 4096 - size ? slot.host_page + offset : nullptr;
    }

    void code_written(GuestPhysical address, std::uint64_t length) override {
        code_writes.emplace_back(address.value(), length);
    }

    PagingState state;
    std::unique_ptr<GuestMemory> memory;
    CodePages code_pages;
    RecordingDevices devices;
    std::unique_ptr<Tlb> tlb;
    Mmu mmu;
    Translation out;
    Trap trap;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> code_writes;

private:
    std::uint64_t next_table_ = first_table + 4096;
};

inline constexpr std::array<AccessMode, 3> all_modes = {AccessMode::User, AccessMode::Supervisor,
                                                        AccessMode::SupervisorAc};
inline constexpr std::array<Access, 3> all_accesses = {Access::Read, Access::Write, Access::Execute};

}  // namespace undercroft::test
