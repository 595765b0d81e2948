// SPDX-License-Identifier: Apache-2.0
// Four processors on the same memory: locked instructions lose nothing, also where the operand crosses a
// cache line or a page; fences and serialising instructions order what others see; page walks lose no bit of
// an entry that another processor writes; an area that changes while XRSTOR loads it harms nobody. Source:
// Intel SDM vol. 3A sections 9.1 (locked operations), 4.8 (A and D).
#include "runtime/paging.hpp"
#include "runtime/processors.hpp"

using namespace micro;

FRAGMENT(restore, "mov eax, 7\n mov edx, 0\n xrstor [rdi]");

namespace {

constexpr unsigned count = 4;
constexpr u64 rounds = 20'000;
constexpr u64 crossing_rounds = 500;

alignas(4096) u8 pages[2 * 4096];
volatile u64* counter;
volatile u64 plain = 0;  // under a lock
volatile u32 spinlock = 0;
alignas(16) volatile u64 pair[2];
u64 times;

void by_inc(unsigned) {
    for (u64 n = 0; n < times; ++n) asm volatile("lock incq %0" : "+m"(*counter)::"memory");
}
void by_add(unsigned) {
    for (u64 n = 0; n < times; ++n) asm volatile("lock addl $1, %0" : "+m"(*counter)::"memory");
}
void by_xadd(unsigned) {
    for (u64 n = 0; n < times; ++n) {
        u64 one = 1;
        asm volatile("lock xaddq %0, %1" : "+r"(one), "+m"(*counter)::"memory");
    }
}
void by_cmpxchg(unsigned) {
    for (u64 n = 0; n < times; ++n) {
        for (bool done = false; !done;) {
            u64 seen = *counter;
            asm volatile("lock cmpxchgq %3, %1\n sete %0"
                         : "=q"(done), "+m"(*counter), "+a"(seen)
                         : "r"(seen + 1)
                         : "memory", "cc");
        }
    }
}
void by_bits(unsigned index) {  // each its own bit, to and fro
    for (u64 n = 0; n < times; ++n)
        asm volatile("lock btcq %1, %0" : "+m"(*counter) : "r"(u64{index}) : "memory");
}
void by_xchg(unsigned) {
    for (u64 n = 0; n < times; ++n) {
        u32 held = 1;
        for (;;) {
            asm volatile("xchgl %0, %1" : "+r"(held), "+m"(spinlock)::"memory");
            if (held == 0) break;
            while (spinlock != 0) pause();
        }
        plain = plain + 1;
        spinlock = 0;
    }
}
void by_cmpxchg16b(unsigned) {
    for (u64 n = 0; n < times; ++n) {
        for (bool done = false; !done;) {
            u64 low = pair[0], high = pair[1];
            asm volatile("lock cmpxchg16b %1\n sete %0"
                         : "=q"(done), "+m"(pair), "+a"(low), "+d"(high)
                         : "b"(low + 1), "c"(high - 1)
                         : "memory", "cc");
        }
    }
}

void add_up(const char* name, u64 offset, u64 how_often, void (*work)(unsigned)) {
    counter = reinterpret_cast<volatile u64*>(pages + offset);
    *counter = 0;
    times = how_often;
    check(name, on_all(count, work));
    check_equal(name, *counter, count * how_often);
}

// Page-table entries: processor 0 sets a software bit in each while the others read or write the pages, so A
// and D come in at the same time.
constexpr u64 entries = 256;
u8* common_page;

void touch(unsigned index) {
    for (u64 n = 0; n < entries; ++n) {
        u64 at = window + (n << 12);
        if (index == 0) {
            asm volatile("lock orq %1, %0"
                         : "+m"(*const_cast<u64*>(&entry(at)))
                         : "r"(u64{1} << 9)
                         : "memory");
        } else if (index == 1) {
            (void)*reinterpret_cast<volatile u8*>(at);
        } else {
            asm volatile("lock incq (%0)" ::"r"(at + 8 * index) : "memory");
        }
    }
}

void page_walks() {
    common_page = allocate_page();
    u64 want = reinterpret_cast<u64>(common_page) | kernel_page | PageEntry::A | PageEntry::D | 1u << 9;
    Tally tally{"page walks keep what others write"};
    for (u64 round = 0; round < 20; ++round) {
        for (u64 n = 0; n < entries; ++n) map(window + (n << 12), common_page, kernel_page);
        on_all(count, [](unsigned) { write_cr3(read_cr3()); });
        if (!on_all(count, touch)) return check("page walks", false);
        for (u64 n = 0; n < entries; ++n) tally.expect(entry(window + (n << 12)), want, round, n);
    }
    check_equal("every write arrived", reinterpret_cast<volatile u64*>(common_page)[2], 20 * entries);
}

// Each writes its own word and reads the other's: with a fence between, one of the two sees the other's
// write.
alignas(64) volatile u64 mine[2][8];
volatile u64 seen[2];
volatile u64 arrivals = 0;
volatile u64 neither = 0;

void meet() {  // of two
    u64 before = 1;
    asm volatile("lock xaddq %0, %1" : "+r"(before), "+m"(arrivals)::"memory");
    while (arrivals < (before | 1) + 1) pause();
}

template <int fence>
void write_and_look(unsigned index) {
    mine[index][0] = 1;
    if constexpr (fence == 0) asm volatile("mfence" ::: "memory");
    if constexpr (fence == 1) asm volatile("lock addl $0, (%%rsp)" ::: "memory");
    if constexpr (fence == 2) (void)cpuid(0);
    if constexpr (fence == 3) write_cr3(read_cr3());
    seen[index] = mine[1 - index][0];
}

template <int fence>
void look_often(unsigned index) {
    if (index > 1) return;
    for (u64 round = 0; round < 200; ++round) {
        meet();
        write_and_look<fence>(index);
        meet();
        if (index == 0 && seen[0] == 0 && seen[1] == 0) neither = neither + 1;
        mine[index][0] = 0;
    }
}

void fences() {
    check("mfence", on_all(count, look_often<0>));
    check("a locked instruction", on_all(count, look_often<1>));
    check("cpuid", on_all(count, look_often<2>));
    check("mov cr3", on_all(count, look_often<3>));
    check_equal("one of two sees the other's write", neither, 0);
}

alignas(64) volatile u8 area[1024];
volatile bool stop_spoiling;
u64 restored = 0, refused = 0, odd = 0;

// Header words that XRSTOR refuses, and back.
void restore_while_spoiled(unsigned index) {
    if (index == 1) {
        for (u64 n = 0; !stop_spoiling; ++n) {
            area[520 + n % 56] = 0xff;
            area[27] = 0xff;  // MXCSR's reserved bits
            pause();
            area[520 + n % 56] = 0;
            area[27] = 0;
        }
    }
    if (index != 0) return;
    Registers in;
    in.rdi = reinterpret_cast<u64>(area);
    for (u64 n = 0; n < 3000 || (n < 1'000'000 && (restored == 0 || refused == 0)); ++n) {
        Outcome out = run(restore, in);
        if (out.done())
            ++restored;
        else if (out.vector == static_cast<u64>(Vector::GP))
            ++refused;
        else
            ++odd;
    }
    stop_spoiling = true;
}

}  // namespace

void micro_main() {
    start_apic();
    for (u32 id = 1; id < count; ++id) check("starts", start_processor(id, serve_work));
    add_up("lock inc", 0, rounds, by_inc);
    add_up("lock add", 64, rounds, by_add);
    add_up("lock xadd", 128, rounds, by_xadd);
    add_up("lock cmpxchg", 192, rounds, by_cmpxchg);
    add_up("lock inc across a cache line", 60, rounds / 10, by_inc);
    add_up("lock inc across a page", 4096 - 4, crossing_rounds, by_inc);
    add_up("lock xadd across a page", 4096 - 1, crossing_rounds, by_xadd);
    add_up("lock cmpxchg across a page", 4096 - 7, crossing_rounds, by_cmpxchg);
    times = rounds + 1;
    counter = reinterpret_cast<volatile u64*>(pages + 256);
    check("lock btc", on_all(count, by_bits));
    check_equal("lock btc", *counter, 0b1111);
    times = rounds;
    check("xchg", on_all(count, by_xchg));
    check_equal("xchg", plain, count * rounds);
    check("cmpxchg16b", on_all(count, by_cmpxchg16b));
    check_equal("cmpxchg16b, low", pair[0], count * rounds);
    check_equal("cmpxchg16b, high", pair[1], 0 - count * rounds);
    page_walks();
    fences();

    enable_avx();
    area[24] = 0x80;
    area[25] = 0x1f;
    stop_spoiling = false;
    check("XRSTOR of what changes", on_all(count, restore_while_spoiled));
    check_equal("loads or refuses", odd, 0);
    check("some were refused", refused != 0);
    check("some were loaded", restored != 0);
}
