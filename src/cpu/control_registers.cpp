// SPDX-License-Identifier: Apache-2.0
// MOV to and from CR0, CR2, CR3, CR4, CR8; CLTS, LMSW.
//
// Source: Intel SDM vol. 2B MOV (control registers); vol. 3A sections 2.5, 4.10.4.1 (what a change flushes)
// and 9.8.5 (into and out of long mode). Left out: paging without long mode, which the MMU does not walk:
// setting PG with EFER.LME clear is #GP(0).
#include "cpu/checks.hpp"
#include "cpu/environment.hpp"
#include "cpu/instructions.hpp"
#include "trace/ring.hpp"

namespace undercroft {
namespace {

constexpr std::uint64_t cr0_writable =
    CR0::PE | CR0::MP | CR0::EM | CR0::TS | CR0::NE | CR0::WP | CR0::AM | CR0::NW | CR0::CD | CR0::PG;

// What CPUID shows: see cpuid.cpp.
constexpr std::uint64_t cr4_writable = CR4::TSD | CR4::DE | CR4::PSE | CR4::PAE | CR4::PGE | CR4::PCE |
                                       CR4::OSFXSR | CR4::OSXMMEXCPT | CR4::UMIP | CR4::FSGSBASE |
                                       CR4::PCIDE | CR4::OSXSAVE | CR4::SMEP | CR4::SMAP;
constexpr std::uint64_t cr3_keep_entries = 1ull << 63;  // with PCIDE, of the operand; never in the register
constexpr std::uint64_t cr3_pcid = 0xfff;

bool may_switch_paging(const Vcpu& vcpu, std::uint64_t value, Trap& trap) noexcept {
    bool was_on = vcpu.paging.paging();
    bool is_on = (value & CR0::PG) != 0;
    if (!was_on && is_on) {
        constexpr unsigned tss_16bit = 3;  // busy
        bool good = (vcpu.paging.efer & EFER::LME) != 0 && (vcpu.paging.cr4 & CR4::PAE) != 0 &&
                    Segment::L::get(vcpu.seg(SegmentName::CS).attributes) == 0 &&
                    Segment::Type::get(vcpu.tr.attributes) != tss_16bit;
        if (!good) return raise(trap, Vector::GP, 0);
    }
    bool needed = vcpu.code_64bit() || (vcpu.paging.cr4 & CR4::PCIDE) != 0;
    if (was_on && !is_on && needed) return raise(trap, Vector::GP, 0);
    return true;
}

bool write_cr0(Vcpu& vcpu, std::uint64_t value, Trap& trap) noexcept {
    if (value >> 32 != 0) return raise(trap, Vector::GP, 0);
    if ((value & CR0::PG) != 0 && (value & CR0::PE) == 0) return raise(trap, Vector::GP, 0);
    if ((value & CR0::NW) != 0 && (value & CR0::CD) == 0) return raise(trap, Vector::GP, 0);
    if (!may_switch_paging(vcpu, value, trap)) return false;
    std::uint64_t old = vcpu.paging.cr0;
    vcpu.paging.cr0 = (value & cr0_writable) | CR0::ET;
    if ((value & CR0::PG) != 0) {
        vcpu.paging.efer |= (vcpu.paging.efer & EFER::LME) << 2;  // LMA follows LME
    } else {
        vcpu.paging.efer &= ~EFER::LMA;
    }
    if (((old ^ value) & (CR0::PG | CR0::WP | CR0::PE)) != 0) vcpu.mmu->flush_all();
    return true;
}

bool write_cr3(Vcpu& vcpu, std::uint64_t value, Trap& trap) noexcept {
    bool tagged = (vcpu.paging.cr4 & CR4::PCIDE) != 0;
    bool keep = tagged && (value & cr3_keep_entries) != 0;
    if (keep) value &= ~cr3_keep_entries;
    if (vcpu.long_mode() && value >> physical_address_bits != 0) return raise(trap, Vector::GP, 0);
    if (vcpu.trace != nullptr) [[unlikely]]
        vcpu.trace->record(TraceKind::AddressSpace, {.value = value});
    vcpu.address_spaces.loaded(value);
    vcpu.paging.cr3 = value;
    if (tagged)
        vcpu.mmu->switch_address_space(vcpu.paging.pcid(), keep ? OldEntries::Keep : OldEntries::Drop);
    else
        vcpu.mmu->flush_non_global();
    return true;
}

bool write_cr4(Vcpu& vcpu, std::uint64_t value, Trap& trap) noexcept {
    if ((value & ~cr4_writable) != 0) return raise(trap, Vector::GP, 0);
    if (vcpu.long_mode() && (value & CR4::PAE) == 0) return raise(trap, Vector::GP, 0);
    std::uint64_t changed = vcpu.paging.cr4 ^ value;
    if ((changed & value & CR4::PCIDE) != 0 && (!vcpu.long_mode() || (vcpu.paging.cr3 & cr3_pcid) != 0))
        return raise(trap, Vector::GP, 0);
    vcpu.paging.cr4 = value;
    constexpr std::uint64_t paging_bits = CR4::PSE | CR4::PAE | CR4::PGE | CR4::PCIDE | CR4::SMEP | CR4::SMAP;
    if ((changed & paging_bits) != 0) vcpu.mmu->flush_all();
    return true;
}

}  // namespace

bool read_control(Vcpu& vcpu, unsigned number, std::uint64_t& value, Trap& trap) noexcept {
    bool exists = number == 0 || (number >= 2 && number <= 4) || number == 8;
    if (!exists) return raise(trap, Vector::UD);
    if (!require_cpl0(vcpu, trap)) return false;
    switch (number) {
        case 0: value = vcpu.paging.cr0; break;
        case 2: value = vcpu.cr2; break;
        case 3: value = vcpu.paging.cr3; break;
        case 4: value = vcpu.paging.cr4; break;
        default: value = vcpu.environment->task_priority(vcpu); break;
    }
    return true;
}

bool write_control(Vcpu& vcpu, unsigned number, std::uint64_t value, Trap& trap) noexcept {
    bool exists = number == 0 || (number >= 2 && number <= 4) || number == 8;
    if (!exists) return raise(trap, Vector::UD);
    if (!require_cpl0(vcpu, trap)) return false;
    switch (number) {
        case 0: return write_cr0(vcpu, value, trap);
        case 2: vcpu.cr2 = value; return true;
        case 3: return write_cr3(vcpu, value, trap);
        case 4: return write_cr4(vcpu, value, trap);
        default: break;
    }
    if (value > 15) return raise(trap, Vector::GP, 0);
    vcpu.environment->set_task_priority(vcpu, static_cast<std::uint8_t>(value));
    return true;
}

bool clts(Vcpu& vcpu, Trap& trap) noexcept {
    if (!require_cpl0(vcpu, trap)) return false;
    vcpu.paging.cr0 &= ~CR0::TS;
    return true;
}

// LMSW loads PE, MP, EM and TS, and can set PE but not clear it.
bool lmsw(Vcpu& vcpu, std::uint16_t value, Trap& trap) noexcept {
    if (!require_cpl0(vcpu, trap)) return false;
    constexpr std::uint64_t status_word = CR0::MP | CR0::EM | CR0::TS;
    std::uint64_t kept = vcpu.paging.cr0 & ~status_word;
    return write_cr0(vcpu, kept | (value & (status_word | CR0::PE)), trap);
}

}  // namespace undercroft
