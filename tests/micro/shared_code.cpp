// SPDX-License-Identifier: Apache-2.0
// Code that one processor writes and others run, by the protocols that operating systems rely on.
// Source: Intel SDM vol. 3A section 9.1.3 (cross-modifying code); Linux text_poke_bp(): a breakpoint first,
// all processors serialise, then the rest, then the first byte.
#include "runtime/paging.hpp"
#include "runtime/processors.hpp"

using namespace micro;

namespace {

constexpr unsigned count = 4;
constexpr u64 sync_vector = 0x51;

alignas(4096) u8 code[4096];
alignas(4096) u8 slots[4 * 4096];
u8* alias;  // another mapping of `code`

volatile u32 version = 0;  // what the code returns is at least this
volatile bool finished;
volatile u64 acknowledged;
volatile u64 calls[count], stale[count], wild[count];
volatile u64 breakpoints;

using Function = u32 (*)();

void serialise() { (void)cpuid(0); }

void write_function(volatile u8* to, u32 value) {
    to[0] = 0xb8;  // mov eax, value; ret
    *reinterpret_cast<volatile u32*>(to + 1) = value;
    to[5] = 0xc3;
}

u32 call(const void* function) {
    u32 value;
    asm volatile("call *%1" : "=a"(value) : "r"(function) : "memory");
    return value;
}

void judge(unsigned index, u32 got, u32 least, u32 most) {
    calls[index] = calls[index] + 1;
    if (got < least) stale[index] = stale[index] + 1;
    if (got > most) wild[index] = wild[index] + 1;
}

void call_until_finished(unsigned index) {
    while (!finished) {
        u32 least = version;
        serialise();
        u32 got = call(code + 3);
        judge(index, got, least, version + 1);
        pause();
    }
}

void report(const char* name) {
    u64 all = 0, old = 0, odd = 0;
    for (unsigned n = 1; n < count; ++n) {
        all += calls[n];
        old += stale[n];
        odd += wild[n];
        calls[n] = 0;
        stale[n] = 0;
        wild[n] = 0;
    }
    check_equal(name, old + odd, 0);
    check(name, all > 200);
}

// The operand of the instruction lies in an aligned word: one store changes it.
template <bool through_alias>
void change_operand(unsigned index) {
    if (index != 0) return call_until_finished(index);
    u8* base = through_alias ? alias : code;
    for (u32 value = 1; value <= 1000; ++value) {
        *reinterpret_cast<volatile u32*>(base + 4) = value;
        version = value;
        for (u64 seen = calls[1]; calls[1] == seen && value % 16 == 0;) pause();
    }
    for (unsigned n = 1; n < count; ++n)
        for (u64 seen = calls[n]; calls[n] < seen + 3;) pause();
    finished = true;
}

void on_sync(Frame&) {
    serialise();
    asm volatile("lock incq %0" : "+m"(acknowledged)::"memory");
    end_of_interrupt();
}

void sync_all() {
    serialise();
    acknowledged = 0;
    send_ipi(0, sync_vector | shorthand_others);
    eventually([] { return acknowledged == count - 1; });
}

// As if the old instruction had run: Linux emulates the new or the old one.
void on_breakpoint(Frame& frame) {
    asm volatile("lock incq %0" : "+m"(breakpoints)::"memory");
    frame.gpr[14] = version;
    frame.rip = reinterpret_cast<u64>(code) + 3 + 5;
}

void poke(unsigned index) {
    if (index != 0) return call_until_finished(index);
    volatile u8* at = alias + 3;
    for (u32 value = 1; value <= 100; ++value) {
        at[0] = 0xcc;
        sync_all();
        for (unsigned n = 0; n < 4; ++n) at[1 + n] = static_cast<u8>(value >> 8 * n);
        sync_all();
        at[0] = 0xb8;
        sync_all();
        version = value;
        for (u64 seen = calls[1]; calls[1] == seen;) pause();
    }
    finished = true;
}

// New code in a place that nobody has run since its last use: a pointer to it is all that others get.
volatile u64 published;
volatile u32 published_value;

void run_published(unsigned index) {
    if (index == 0) {
        for (u32 value = 1; value <= 200; ++value) {
            volatile u8* to = slots + (value % 64) * 256;
            write_function(to, value);
            published_value = value;
            u64 before[count];
            for (unsigned n = 1; n < count; ++n) before[n] = calls[n];
            published = reinterpret_cast<u64>(to);
            for (unsigned n = 1; n < count; ++n)
                while (calls[n] < before[n] + 2) pause();
        }
        finished = true;
        return;
    }
    while (!finished) {
        u64 at = published;
        pause();
        if (at == 0) continue;
        u32 got = call(reinterpret_cast<void*>(at));
        // Writes of the next one begin when two calls have ended after this was published.
        judge(index, got, at == published ? published_value - 1 : 0, published_value);
    }
}

void begin() {
    version = 0;
    finished = false;
    write_function(code + 3, 0);
    on_all(count, [](unsigned) { serialise(); });
}

}  // namespace

void micro_main() {
    start_apic();
    set_handler(sync_vector, on_sync);
    set_handler(static_cast<u64>(Vector::BP), on_breakpoint);
    alias = reinterpret_cast<u8*>(window);
    map(window, code, kernel_page);
    for (u32 id = 1; id < count; ++id) check("starts", start_processor(id, serve_work));
    begin();
    check("operand", on_all(count, change_operand<false>));
    report("operand, where it runs");
    begin();
    check("operand", on_all(count, change_operand<true>));
    report("operand, through another mapping");
    begin();
    check("breakpoints", on_all(count, poke));
    report("by breakpoints");
    begin();
    check("new code", on_all(count, run_published));
    report("new code");
}
