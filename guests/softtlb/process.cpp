// SPDX-License-Identifier: Apache-2.0
#include "process.hpp"

#include "console.hpp"
#include "descriptors.hpp"
#include "frames.hpp"
#include "page_table.hpp"
#include "tlb.hpp"

extern "C" {
void enter_processes(softtlb::TrapFrame*);
[[noreturn]] void leave_processes();
[[gnu::visibility("hidden")]] void idle_loop();
extern softtlb::u8 idle_stack_top[];
extern softtlb::u8 user_begin[], user_end[];
}

namespace softtlb {

Counters counters;

namespace {

PageTable page_table;
Process processes[process_count + 1];
unsigned running = 0;
Asids asids_in_use = Asids::Each;
u64 now = 0;  // in timer ticks

constexpr u64 interrupts_on = 1u << 9 | 1u << 1;

// The programs are one piece of code, the same frames for all.
void map_programs(unsigned number) {
    for (u64 at = 0; user_begin + at < user_end; at += page_size)
        page_table.insert(user::code + at, number,
                          physical_of(user_begin + at) | EntryLo::User | EntryLo::Execute);
}

bool lies_within(u64 address, u64 start, u64 size) { return address - start < size; }
bool is_program(u64 address) {
    return lies_within(address, user::code, static_cast<u64>(user_end - user_begin));
}
bool is_demand_zero(u64 address) {
    return lies_within(address, user::data, user::data_size) ||
           lies_within(address, user::stack_top - user::stack_size, user::stack_size);
}

void switch_to(unsigned number) {
    if (number == running) return;
    running = number;
    if (number == 0) return;  // the idle loop lives in the window, in any address space
    counters.switches++;
    set_process_stack(&processes[number].saved + 1);
    if (asids_in_use == Asids::Each)
        set_address_space(processes[number].asid);
    else
        flush_tlb_address_space(processes[number].asid);
}

}  // namespace

Process& current() { return processes[running]; }

void start_process(unsigned number, void (*program)(u64), u64 argument, u64 ticks) {
    Process& process = processes[number];
    process = {};
    process.number = number;
    process.state = State::Ready;
    process.ticks_left = ticks;
    process.frame = &process.saved;
    process.saved.rip = user::code + (reinterpret_cast<u64>(program) - reinterpret_cast<u64>(user_begin));
    process.saved.cs = selector::user_code;
    process.saved.rflags = interrupts_on;
    process.saved.rsp = user::stack_top - 8;  // as a call leaves it
    process.saved.ss = selector::user_data;
    process.saved.rdi = argument;
    map_programs(number);
}

void run_processes(Asids asids) {
    asids_in_use = asids;
    for (unsigned number = 1; number <= process_count; number++)
        processes[number].asid = asids == Asids::Each ? number : 1;
    set_address_space(1);
    Process& idle = processes[0];
    idle = {};
    idle.frame = &idle.saved;
    idle.saved.rip = reinterpret_cast<u64>(idle_loop);
    idle.saved.cs = selector::kernel_code;
    idle.saved.rflags = interrupts_on;
    idle.saved.rsp = reinterpret_cast<u64>(idle_stack_top);
    running = 0;
    enter_processes(resume_next());
    running = 0;
}

// Its frames, its pages, its translations.
void end_current() {
    Process& process = current();
    page_table.remove_all(process.number, [](u64 low) {
        u64 frame = low & EntryLo::Page;
        bool shared = lies_within(frame, physical_of(user_begin), static_cast<u64>(user_end - user_begin));
        if (frame != 0 && !shared) give_frame_back(frame);
    });
    flush_tlb_address_space(process.asid);
    process.state = State::None;
}

bool use_up_tick() { return --current().ticks_left != 0; }

void sleep_current(u64 ticks) {
    current().state = State::Sleeping;
    current().wake_at = now + ticks;
}

void tick() {
    now++;
    counters.timer_ticks++;
    if (running == 0) counters.idle_ticks++;
    for (Process& process : processes)
        if (process.state == State::Sleeping && process.wake_at <= now) process.state = State::Ready;
}

TrapFrame* resume_next() {
    bool any = false;
    for (unsigned step = 1; step <= process_count; step++) {
        unsigned number = (running + step - 1) % process_count + 1;
        any = any || processes[number].state != State::None;
        if (processes[number].state != State::Ready) continue;
        switch_to(number);
        return processes[number].frame;
    }
    if (!any) leave_processes();
    switch_to(0);
    return processes[0].frame;
}

void map_kernel_page(u64 page, u64 low) { page_table.insert(page, 0, low); }

bool is_readable(u64 address, u64 size) {
    u64 last = address + size - 1;
    if (size == 0 || last < address || size > user::data_size) return false;
    return (is_program(address) && is_program(last)) || (is_demand_zero(address) && is_demand_zero(last));
}

// Figure B.5: extract the VPN, look it up in the page table, update the TLB, return.
bool tlb_miss(u64 address, u64) {
    counters.misses++;
    Process& process = current();
    u64 page = address & EntryHi::Page;
    u64 low = page_table.find(page, process.number);
    if (low == 0) {
        if (process.number == 0 || !is_demand_zero(address)) return false;
        low = take_zeroed_frame() | EntryLo::User | EntryLo::Write;
        counters.pages_zeroed++;
        page_table.insert(page, process.number, low);
    }
    write_tlb(entry_hi(page, process.asid), low);
    return true;
}

}  // namespace softtlb
