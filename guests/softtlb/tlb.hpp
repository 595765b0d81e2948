// SPDX-License-Identifier: Apache-2.0
// The privileged instructions of a processor with a software-managed TLB: hypercalls, on this one.

#pragma once

#include "machine.hpp"
#include "x86/software_tlb.hpp"

namespace softtlb {

namespace EntryHi = undercroft::software_tlb::EntryHi;
namespace EntryLo = undercroft::software_tlb::EntryLo;

// Where the window shows a physical address.
template <class T = u8>
T* at_physical(u64 physical) {
    return reinterpret_cast<T*>(undercroft::software_tlb::window + physical);
}
inline u64 physical_of(const void* in_window) {
    return reinterpret_cast<u64>(in_window) - undercroft::software_tlb::window;
}

inline void call_monitor(undercroft::software_tlb::Call call, u64 first = 0, u64 second = 0) {
    u64 number = static_cast<u64>(call);
    asm volatile("vmmcall" : "+a"(number) : "b"(first), "c"(second) : "memory");
}

// The word that names a page of an address space.
constexpr u64 entry_hi(u64 address, unsigned asid) { return (address & EntryHi::Page) | asid; }

inline void write_tlb(u64 high, u64 low) {
    call_monitor(undercroft::software_tlb::Call::WriteEntry, high, low);
}
inline void flush_tlb_page(u64 high) { call_monitor(undercroft::software_tlb::Call::FlushPage, high); }
inline void flush_tlb_address_space(unsigned asid) {
    call_monitor(undercroft::software_tlb::Call::FlushAddressSpace, asid);
}
inline void set_address_space(unsigned asid) {
    call_monitor(undercroft::software_tlb::Call::SetAddressSpace, asid);
}
inline void use_second_level(bool use) {
    call_monitor(undercroft::software_tlb::Call::SecondLevel, use ? 1 : 0);
}

}  // namespace softtlb
