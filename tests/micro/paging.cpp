// SPDX-License-Identifier: Apache-2.0
// The page walk as the processor does it: every fault code from both rings, NX, SMEP, SMAP with AC, WP, U/S
// at every level, reserved bits, accessed and dirty bits, large pages.
//
// Translations that are kept or dropped: translations.cpp. Source: Intel SDM vol. 3A sections 4.5 to 4.8.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

// rdi: the address. In the kernel's copy and the user's copy alike.
FRAGMENT(load, AT "mov rax, [rdi]");
FRAGMENT(store, AT "mov [rdi], rax");
FRAGMENT(modify, AT "add qword ptr [rdi], 1");
FRAGMENT(compare_only, AT "cmp qword ptr [rdi], 1");
FRAGMENT(exchange_fails, "mov eax, 5\n mov ecx, 7\n" AT "lock cmpxchg [rdi], rcx");
FRAGMENT(jump, AT "jmp rdi");
FRAGMENT(load_with_ac, "stac\n" AT "mov rax, [rdi]\n clac");
FRAGMENT(load_with_popf, "push 0x40002\n popfq\n" AT "mov rax, [rdi]\n push 2\n popfq");
FRAGMENT(load_after_clac, "stac\n clac\n" AT "mov rax, [rdi]");
FRAGMENT(store_with_ac, "stac\n" AT "mov [rdi], rax\n clac");
FRAGMENT(push_there, "lea rsp, [rdi + 8]\n" AT "push rax");
FRAGMENT(clear_ac, AT "clac");

namespace {

namespace Pf = PageFault;
using namespace PageEntry;

constexpr u64 there = window;
u8* page;

// An INT $0x81 for those who jump there.
void fill(u8* at) {
    for (unsigned i = 0; i < 4096; i += 2) at[i] = 0xcd, at[i + 1] = 0x81;
}

Registers to(u64 address) {
    Registers in;
    in.rdi = address;
    return in;
}

void faults(const char* name, const void* code, const void* at, u64 address, u64 error,
            Ring ring = Ring::Kernel) {
    expect_page_fault(name, run(code, to(address), ring), error, address, at, ring);
}

// RIP of a fetch that faults is its target.
void fetch_faults(const char* name, u64 address, u64 error, Ring ring = Ring::Kernel) {
    const auto* rip = reinterpret_cast<const void*>(ring == Ring::User ? address - user_alias : address);
    expect_page_fault(name, run(jump, to(address), ring), error, address, rip, ring);
}

void works(const char* name, const void* code, u64 address, Ring ring = Ring::Kernel) {
    expect_done(name, run(code, to(address), ring));
}

void absent() {
    for (unsigned level = 1; level <= 4; ++level) {
        map(there, page, user_page);
        volatile u64& e = entry(there, level);
        const u64 saved = e;
        e = saved & ~P;
        write_cr3(read_cr3());
        faults("absent, load", load, load_at, there, 0);
        faults("absent, store", store, store_at, there, Pf::W);
        faults("absent, read-modify-write", modify, modify_at, there, Pf::W);
        faults("absent, user load", load, load_at, there, Pf::U, Ring::User);
        faults("absent, user store", store, store_at, there, Pf::U | Pf::W, Ring::User);
        fetch_faults("absent, fetch", there, Pf::I);
        fetch_faults("absent, user fetch", there, Pf::I | Pf::U, Ring::User);
        e = saved;
    }
}

void rights() {
    map(there, page, P);
    works("read-only, load", load, there);
    faults("read-only, store", store, store_at, there, Pf::P | Pf::W);
    faults("read-only, read-modify-write", modify, modify_at, there, Pf::P | Pf::W);
    faults("read-only, failing cmpxchg", exchange_fails, exchange_fails_at, there, Pf::P | Pf::W);
    works("read-only, cmp", compare_only, there);
    faults("supervisor page, user load", load, load_at, there, Pf::P | Pf::U, Ring::User);
    faults("supervisor page, user store", store, store_at, there, Pf::P | Pf::W | Pf::U, Ring::User);
    fetch_faults("supervisor page, user fetch", there, Pf::P | Pf::I | Pf::U, Ring::User);
    write_cr0(read_cr0() & ~CR0::WP);
    works("read-only without WP, store", store, there);
    map(there, page, P | US);
    works("user read-only without WP, store", store, there);
    faults("user read-only without WP, user store", store, store_at, there, Pf::P | Pf::W | Pf::U,
           Ring::User);
    write_cr0(read_cr0() | CR0::WP);
    faults("user read-only with WP, store", store, store_at, there, Pf::P | Pf::W);

    fill(page);
    map(there, page, user_page | XD);
    works("NX, load", load, there);
    fetch_faults("NX, fetch", there, Pf::P | Pf::I);
    fetch_faults("NX, user fetch", there, Pf::P | Pf::I | Pf::U, Ring::User);
    map(there, page, user_page);
    works("executable, fetch", jump, there);
    works("executable, user fetch", jump, there, Ring::User);

    // Every level must grant.
    for (unsigned level = 2; level <= 4; ++level) {
        volatile u64& e = entry(there, level);
        const u64 saved = e;
        e = saved & ~RW;
        write_cr3(read_cr3());
        faults("upper level read-only", store, store_at, there, Pf::P | Pf::W);
        e = saved & ~US;
        write_cr3(read_cr3());
        faults("upper level supervisor", load, load_at, there, Pf::P | Pf::U, Ring::User);
        e = saved | XD;
        write_cr3(read_cr3());
        fetch_faults("upper level NX", there, Pf::P | Pf::I);
        e = saved;
        write_cr3(read_cr3());
    }
}

void smep_and_smap() {
    const Cpuid features = cpuid(7);
    map(there, page, user_page);
    if (features.ebx >> 7 & 1) {
        write_cr4(read_cr4() | CR4::SMEP);
        fetch_faults("SMEP, fetch of a user page", there, Pf::P | Pf::I);
        works("SMEP, user fetch", jump, there, Ring::User);
        works("SMEP, load of a user page", load, there);
        write_cr4(read_cr4() & ~CR4::SMEP);
        works("without SMEP, fetch of a user page", jump, there);
    } else {
        skip("SMEP");
    }
    if (!(features.ebx >> 20 & 1)) return skip("SMAP");
    write_cr4(read_cr4() | CR4::SMAP);
    faults("SMAP, load", load, load_at, there, Pf::P);
    faults("SMAP, store", store, store_at, there, Pf::P | Pf::W);
    faults("SMAP, push", push_there, push_there_at, there, Pf::P | Pf::W);
    works("SMAP, load with stac", load_with_ac, there);
    works("SMAP, load with AC by popf", load_with_popf, there);
    works("SMAP, store with stac", store_with_ac, there);
    faults("SMAP, load after clac", load_after_clac, load_after_clac_at, there, Pf::P);
    works("SMAP, fetch", jump, there);
    works("SMAP, user load", load, there, Ring::User);
    map(there, page, kernel_page);
    works("SMAP, load of a supervisor page", load, there);
    map(there, page, user_page);
    write_cr4(read_cr4() & ~CR4::SMAP);
    works("without SMAP, load", load, there);
    expect_trap("clac in user mode", run(clear_ac, {}, Ring::User), Vector::UD, 0, clear_ac_at, Ring::User);
}

void reserved_bits() {
    map(there, page, user_page);
    faults(
        "address beyond the physical width", load, load_at,
        [] {
            entry(there) = entry(there) | 1ull << 51;
            invlpg(there);
            return there;
        }(),
        Pf::P | Pf::RSVD);
    faults("reserved, user store", store, store_at, there, Pf::P | Pf::W | Pf::U | Pf::RSVD, Ring::User);
    map(there, page, user_page | 7ull << 52 | 7 << 9);
    works("ignored bits are ignored", load, there);
    const u64 saved = entry(there, 4);
    entry(there, 4) = saved | PS;
    write_cr3(read_cr3());
    faults("PS in a PML4 entry", load, load_at, there, Pf::P | Pf::RSVD);
    entry(there, 4) = saved;

    constexpr u64 large = window + (1ull << 38);
    entry(large, 2) = 0x200000 | user_page | PS | 1 << 13;
    faults("low address bits of a 2 MiB page", load, load_at, large, Pf::P | Pf::RSVD);
    entry(large, 2) = 0x200000 | user_page | PS | 1 << 12;
    works("the PAT bit of a 2 MiB page is none", load, large);
    wrmsr(Msr::IA32_EFER, rdmsr(Msr::IA32_EFER) & ~EFER::NXE);
    map(there, page, user_page | XD);
    faults("XD without EFER.NXE", load, load_at, there, Pf::P | Pf::RSVD);
    entry(there) = 0;
    invlpg(there);
    fetch_faults("fetch without NXE has no I bit", there, 0);
    wrmsr(Msr::IA32_EFER, rdmsr(Msr::IA32_EFER) | EFER::NXE);
    map(there, page, user_page);
}

void accessed_and_dirty() {
    const auto clear = [] {
        map(there, page, user_page);
        for (unsigned level = 2; level <= 4; ++level) entry(there, level) = entry(there, level) & ~A;
        write_cr3(read_cr3());
    };
    const auto bits = [](unsigned level = 1) { return entry(there, level) & (A | D); };
    const auto after = [&](const char* name, const void* code, u64 want) {
        clear();
        run(code, to(there));
        check_equal(name, bits(), want);
        for (unsigned level = 2; level <= 4; ++level)
            if (!(entry(there, level) & A)) print_line("FAIL ", name, ": no A at level ", u64{level});
    };
    fill(page);
    after("load sets A", load, A);
    after("store sets A and D", store, A | D);
    after("read-modify-write sets D", modify, A | D);
    after("cmp sets A only", compare_only, A);
    after("failing cmpxchg sets D", exchange_fails, A | D);
    fill(page);
    after("fetch sets A", jump, A);
    clear();
    check_equal("nothing yet", bits(), 0);
    run(load, to(there));
    run(store, to(there));
    check_equal("store after load sets D", bits(), A | D);
    clear();
    map(there, page, P | US);
    run(store, to(there));
    check_equal("faulting store sets no D", bits() & D, 0);
    clear();
    run(store, to(there), Ring::User);
    check_equal("user store sets A and D", bits(), A | D);
    // Cleared while the translation may be kept, then invalidated: set again.
    entry(there) = entry(there) & ~(A | D);
    invlpg(there);
    run(store, to(there));
    check_equal("set again after invlpg", bits(), A | D);
}

void large_pages() {
    constexpr u64 at2m = window + (2ull << 30), at1g = window + (64ull << 30);
    page[0] = 0xcd, page[1] = 0x81;
    const u64 page_address = address(page);
    entry(at2m, 2) = (page_address & ~0x1fffffull) | kernel_page | PS;
    works("2 MiB page, store", store, at2m + (page_address & 0x1fffff));
    check_equal("2 MiB page, A and D", entry(at2m, 2) & (A | D), A | D);
    faults("2 MiB page, user load", load, load_at, at2m + 0x1000, Pf::P | Pf::U, Ring::User);
    if (!(cpuid(0x80000001).edx >> 26 & 1)) return skip("1 GiB pages");
    entry(at1g, 3) = (page_address & ~0x3fffffffull) | P | PS;
    page[0] = 0xcd, page[1] = 0x81;
    works("1 GiB page, load", load, at1g + (page_address & 0x3fffffff));
    works("1 GiB page, fetch", jump, at1g + (page_address & 0x3fffffff));
    check_equal("1 GiB page, A", entry(at1g, 3) & (A | D), A);
    faults("1 GiB page, store to read-only", store, store_at, at1g + page_address, Pf::P | Pf::W);
    entry(at1g, 3) = kernel_page | PS | 1 << 13;
    write_cr3(read_cr3());
    faults("low address bits of a 1 GiB page", load, load_at, at1g, Pf::P | Pf::RSVD);
}

}  // namespace

void micro_main() {
    page = allocate_page();
    absent();
    rights();
    smep_and_smap();
    reserved_bits();
    accessed_and_dirty();
    large_pages();
}
