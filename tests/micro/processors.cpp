// SPDX-License-Identifier: Apache-2.0
// Four processors: how they start, what they are told of themselves, and interrupts from each to each.
// Source: Intel SDM vol. 3A sections 8.4 (start), 11.6 (interprocessor interrupts), 11.12 (x2APIC).
#include "runtime/processors.hpp"

using namespace micro;

namespace {

constexpr unsigned count = 4;
constexpr u64 vector = 0x51;
constexpr u64 counted_vector = 0x52;
constexpr u64 serial_vector = 0x53;

volatile u64 taken[count];  // interrupts, by APIC ID
volatile u64 nmis[count];
volatile u32 seen_apic_id[count], seen_leaf1[count], seen_leaf_b[count];
volatile u64 seen_base[count];
volatile u64 restarts = 0;
volatile bool wait_masked[count];

void on_interrupt(Frame&) {
    taken[apic_id()] = taken[apic_id()] + 1;
    end_of_interrupt();
}

void on_nmi(Frame&) { nmis[apic_id()] = nmis[apic_id()] + 1; }

void describe(unsigned index) {
    seen_apic_id[index] = apic_id();
    seen_leaf1[index] = cpuid(1).ebx >> 24;
    seen_leaf_b[index] = cpuid(0xb).edx;
    seen_base[index] = rdmsr(Msr::IA32_APIC_BASE);
}

void forget() {
    for (unsigned n = 0; n < count; ++n) {
        taken[n] = 0;
        nmis[n] = 0;
    }
}

// Exactly those whose bit is set have got one.
void expect_taken(const char* name, u64 who) {
    bool came = eventually([&] {
        for (unsigned n = 0; n < count; ++n)
            if ((who >> n & 1) != 0 && taken[n] == 0) return false;
        return true;
    });
    u64 got = 0;
    bool once = true;
    for (unsigned n = 0; n < count; ++n) {
        got |= u64{taken[n] != 0} << n;
        once = once && taken[n] <= 1;
    }
    check(name, came);  // printing may bring more of the serial port's interrupts
    check_equal(name, got, who);
    check(name, once);
}

void interrupts() {
    sti();
    for (u32 target = 0; target < count; ++target) {
        forget();
        send_ipi(target, vector);
        expect_taken("fixed, physical destination", 1u << target);
    }
    forget();
    send_ipi(0, vector | shorthand_others);
    expect_taken("all but self", 0b1110);
    forget();
    send_ipi(0, vector | shorthand_all);
    expect_taken("all", 0b1111);
    forget();
    send_ipi(0, vector | shorthand_self);
    expect_taken("self", 0b0001);
    forget();
    send_ipi(in_x2apic_mode() ? 0xffffffff : 0xff, vector);
    expect_taken("broadcast", 0b1111);
    for (u32 set : {0b0110u, 0b1001u, 0b0100u}) {
        forget();
        send_ipi(set, vector | destination_logical);
        expect_taken("logical destination", set);
    }
    cli();
}

void set_flat_logical_id(unsigned) {
    apic_write(ApicRegister::DestinationFormat, 0xffffffff);
    apic_write(ApicRegister::LogicalDestination, 1u << (24 + apic_id()));
}

void to_x2apic(unsigned) {
    wrmsr(Msr::IA32_APIC_BASE, rdmsr(Msr::IA32_APIC_BASE) | ApicBase::X2Apic);
    start_apic();
}

// Everybody sends the next one so many, each when the one before was taken.
constexpr u64 storm = 500;
void send_many(unsigned) {
    sti();
    for (u64 n = 0; n < storm; ++n) {
        u64 before = taken[(apic_id() + 1) % count];
        send_ipi((apic_id() + 1) % count, counted_vector);
        eventually([&] { return taken[(apic_id() + 1) % count] != before; });
    }
}

void wait_with_interrupts_off(unsigned index) {
    if (index != 2) return;
    cli();
    wait_masked[2] = true;
    eventually([] { return nmis[2] != 0; });
    wait_masked[2] = false;
    sti();
}

// Halted, and woken by each interrupt.
void halt_and_count(unsigned index) {
    if (index == 0) return;
    for (cli(); taken[index] < 100; cli()) asm volatile("sti\n hlt" ::: "memory");
    sti();
}

void start_over(unsigned) {
    restarts = restarts + 1;
    for (;;) asm volatile("hlt");
}

// One's time is never before another's that was read earlier.
volatile u64 last_time = 0;
volatile u64 backwards = 0;
void compare_time(unsigned index) {
    for (u64 turn = 0; turn < 400; ++turn) {
        u64 then = last_time;
        asm volatile("lfence" ::: "memory");
        u64 now = rdtsc();
        if (now < then) backwards = backwards + 1;
        last_time = now;
        if (index % 2 == 0) pause();
    }
}

void on_serial(Frame&) {
    (void)in8(0x3fa);
    taken[apic_id()] = taken[apic_id()] + 1;
    end_of_interrupt();
}

}  // namespace

void micro_main() {
    start_apic();
    set_handler(vector, on_interrupt);
    set_handler(counted_vector, on_interrupt);
    set_handler(serial_vector, on_serial);
    set_handler(static_cast<u64>(Vector::NMI), on_nmi);

    check_equal("the others wait", processors_up(), 1);
    describe(0);
    for (u32 id = 1; id < count; ++id) check("starts", start_processor(id, serve_work));
    check("all work", on_all(count, describe));
    for (unsigned n = 0; n < count; ++n) {
        check_equal("APIC ID", seen_apic_id[n], n);
        check_equal("CPUID 1", seen_leaf1[n], n);
        check_equal("CPUID 0xb", seen_leaf_b[n], n);
        check_equal("one boot processor", seen_base[n] >> 8 & 1, n == 0);
    }
    check_equal("logical processors", cpuid(1).ebx >> 16 & 0xff, count);
    check_equal("processors of the package", cpuid(0xb, 1).ebx, count);

    on_all(count, set_flat_logical_id);
    interrupts();
    send_start_up(1, trampoline_page);
    check("a running processor ignores a start-up IPI", on_all(count, describe));

    forget();
    check("a storm", on_all(count, send_many));
    cli();
    for (unsigned n = 0; n < count; ++n) check_equal("of interrupts", taken[n], storm);

    forget();
    check("NMI reaches who has masked interrupts", on_all(count, [](unsigned index) {
              if (index == 0) {
                  eventually([] { return wait_masked[2]; });
                  send_ipi(2, delivery_nmi);
              }
              wait_with_interrupts_off(index);
          }));
    check_equal("once", nmis[2], 1);
    check_equal("and nobody else", nmis[0] + nmis[1] + nmis[3], 0);

    forget();
    check("who has halted wakes", on_all(count, [](unsigned index) {
              halt_and_count(index);
              if (index != 0) return;
              for (u64 n = 0; n < 100; ++n) {
                  u64 before[count];
                  for (unsigned i = 1; i < count; ++i) before[i] = taken[i];
                  send_ipi(0, vector | shorthand_others);
                  eventually([&] {
                      for (unsigned i = 1; i < count; ++i)
                          if (taken[i] == before[i]) return false;
                      return true;
                  });
              }
          }));
    check("times agree", on_all(count, compare_time));
    check_equal("in order", backwards, 0);

    // The serial port's interrupt, at processor 3.
    forget();
    io_apic_write(0x10 + 2 * 4 + 1, 3u << 24);
    io_apic_write(0x10 + 2 * 4, serial_vector);
    out8(0x3fc, 0x0b);  // MCR: OUT2 lets the interrupt out
    out8(0x3f9, 2);     // the transmitter is empty
    expect_taken("I/O APIC to a chosen processor", 0b1000);
    out8(0x3f9, 0);
    io_apic_write(0x10 + 2 * 4, 1u << 16);

    on_all(count, to_x2apic);
    interrupts();

    // INIT stops a processor in the middle of its work; it begins anew.
    send_init(3);
    check("starts again after INIT", start_processor(3, start_over));
    check("and runs", eventually([] { return restarts == 1; }));
    send_init(3);
    forget();
    send_ipi(3, delivery_nmi);
    send_ipi(3, vector);
    check("starts a third time", start_processor(3, start_over));
    check("and runs", eventually([] { return restarts == 2; }));
    check_equal("who waits for its start takes no NMI", nmis[3], 0);
}
