// SPDX-License-Identifier: Apache-2.0
#include "runtime/processors.hpp"

extern "C" {
extern char trampoline[];
extern char trampoline_end[];
extern micro::u32 processors_started;
void processor_entry(unsigned index);
}

namespace micro {
namespace {

struct ProcessorTables {
    u64 gdt[32];
    struct [[gnu::packed]] {
        u32 reserved0;
        u64 rsp[3];
        u64 reserved1;
        u64 ist[7];
        u64 reserved2;
        u16 reserved3;
        u16 io_map_base;
    } task;
    alignas(16) u8 stack[3][8192];
};
ProcessorTables tables[processor_limit];
void (*volatile first_work)(unsigned);
volatile unsigned up = 1;
u32 index_of_apic[processor_limit];

void (*volatile common_work)(unsigned);
volatile u64 work_number = 0;
volatile u64 work_before[processor_limit];  // what number each has started with
volatile u64 done_count = 0;

// What set_up_processor() has done, with tables of its own.
void set_up(unsigned index) {
    ProcessorTables& own = tables[index];
    for (unsigned n = 0; n < 32; ++n) own.gdt[n] = gdt[n];
    const u64 task = reinterpret_cast<u64>(&own.task);
    const u64 limit = sizeof own.task - 1;
    own.gdt[8] = limit | (task & 0xffffff) << 16 | 0x89ull << 40 | (task >> 24 & 0xff) << 56;
    own.gdt[9] = task >> 32;
    lgdt({sizeof own.gdt - 1, reinterpret_cast<u64>(own.gdt)});
    asm volatile("push %0\n lea 1f(%%rip), %%rax\n push %%rax\n lretq\n 1:" ::"i"(Selector::KernelCode)
                 : "rax", "memory");
    asm volatile("mov %0, %%ss" ::"r"(u64{Selector::KernelData}));
    for (unsigned n = 0; n < 3; ++n)
        own.task.ist[n] = reinterpret_cast<u64>(own.stack[n]) + sizeof own.stack[n];
    own.task.io_map_base = sizeof own.task;
    ltr(Selector::Tss);
    lidt(idt_register());
    write_cr0(CR0::PG | CR0::WP | CR0::NE | CR0::ET | CR0::MP | CR0::PE);
    write_cr4(CR4::PAE | CR4::PGE | CR4::OSFXSR | CR4::OSXMMEXCPT | CR4::DE);
    asm volatile("fninit" ::: "memory");
    start_apic();
}

}  // namespace

void send_ipi(u32 destination, u32 command) {
    if (in_x2apic_mode())
        return wrmsr(x2apic_msr(ApicRegister::InterruptCommand), u64{destination} << 32 | command);
    apic_write(ApicRegister::InterruptCommandHigh, destination << 24);
    apic_write(ApicRegister::InterruptCommand, command);
}

void send_init(u32 apic_id) { send_ipi(apic_id, delivery_init | assert_level); }
void send_start_up(u32 apic_id, u64 page) {
    send_ipi(apic_id, delivery_start_up | assert_level | static_cast<u32>(page));
}

bool start_processor(u32 apic_id, void (*work)(unsigned)) {
    auto* to = reinterpret_cast<volatile char*>(trampoline_page << 12);
    for (long n = 0; n < trampoline_end - trampoline; ++n) to[n] = trampoline[n];
    first_work = work;
    const unsigned before = up;
    send_init(apic_id);
    send_start_up(apic_id, trampoline_page);
    send_start_up(apic_id, trampoline_page);
    return eventually([&] { return up == before + 1; });
}

unsigned processors_up() { return up; }

unsigned this_processor() { return index_of_apic[apic_id() % processor_limit]; }

bool on_all(unsigned count, void (*work)(unsigned)) {
    done_count = 0;
    common_work = work;
    work_number = work_number + 1;
    work(0);
    return eventually([&] { return done_count == count - 1; });
}

void serve_work(unsigned index) {
    sti();
    for (u64 seen = work_before[index];;) {
        while (work_number == seen) pause();
        seen = work_number;
        common_work(index);
        asm volatile("lock incq %0" : "+m"(done_count)::"memory");
    }
}

}  // namespace micro

void processor_entry(unsigned index) {
    using namespace micro;
    set_up(index);
    index_of_apic[apic_id() % processor_limit] = index;
    auto* work = first_work;
    work_before[index] = work_number;  // what comes once we are known to be up is for us
    up = up + 1;
    work(index);
}
