// SPDX-License-Identifier: Apache-2.0
// The software-managed TLB that a guest may ask for: the words of its interface. docs/softtlb.md says what
// they mean.
//
// Modelled on MIPS (R4000 User's Manual chapter 4): the processor knows no page tables. It has a TLB that the
// kernel fills, a handler that it enters when the TLB has no translation, and a window of addresses that need
// none. Freestanding: a guest's kernel includes it, too.

#pragma once

#include <cstdint>

namespace undercroft::software_tlb {

// All of physical memory, for CPL 0 alone, without the TLB. (MIPS: kseg0)
inline constexpr std::uint64_t window = 0xffff800000000000;
inline constexpr std::uint64_t window_size = 1ull << 40;

inline constexpr unsigned asid_bits = 8;
inline constexpr unsigned asid_count = 1u << asid_bits;

// The first word of an entry: the virtual page's address, and the address space that it is in.
namespace EntryHi {
inline constexpr std::uint64_t Asid = asid_count - 1;
inline constexpr std::uint64_t Reserved = 0xf00;
inline constexpr std::uint64_t Page = ~0xfffull;
}  // namespace EntryHi

// The second word: the physical page's address, and who may do what. Reading is always allowed.
namespace EntryLo {
inline constexpr std::uint64_t Global = 1u << 0;  // in every address space
inline constexpr std::uint64_t Write = 1u << 1;   // MIPS calls it D
inline constexpr std::uint64_t User = 1u << 2;    // also at CPL 3
inline constexpr std::uint64_t Execute = 1u << 3;
inline constexpr std::uint64_t Page = 0xfffffff000;
inline constexpr std::uint64_t Defined = Page | Global | Write | User | Execute;
}  // namespace EntryLo

// The error code of a miss has the address space in bits 23..16, beside the bits of a page fault.
inline constexpr unsigned error_asid_shift = 16;

// Hypercalls: VMCALL or VMMCALL at CPL 0 with the number in RAX, arguments in RBX, RCX, RDX. RAX becomes
// zero.
enum class Call : std::uint64_t {
    Enable =
        0x55430000,     // RBX: where to go on; RCX: the miss handler; RDX: its stack's top. All in the window
    WriteEntry,         // RBX: EntryHi, RCX: EntryLo
    FlushPage,          // RBX: EntryHi. A global entry of the page goes, too
    FlushAddressSpace,  // RBX: ASID. Global entries stay
    FlushAll,
    SetAddressSpace,  // RBX: ASID
    SecondLevel,      // RBX: 0 or 1: whether the monitor remembers more than the TLB holds
    End
};

// CPUID
inline constexpr std::uint32_t signature_leaf = 0x40000100;  // "UndercroftVM" in EBX, ECX, EDX
inline constexpr std::uint32_t features_leaf = 0x40000101;   // EAX: bit 0: this interface
inline constexpr std::uint32_t has_software_tlb = 1u << 0;

}  // namespace undercroft::software_tlb
