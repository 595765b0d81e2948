// SPDX-License-Identifier: Apache-2.0
// The local APIC in xAPIC and x2APIC mode (timer in all modes, self-IPI, priorities, in-service and request
// bits, errors, enabling) and the I/O APIC with the serial port's interrupt.
//
// Source: Intel SDM vol. 3A chapter 11; 82093AA datasheet. When interrupts are taken: interrupts.cpp.

#include "runtime/apic.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(read_msr, AT "rdmsr");
FRAGMENT(write_msr, AT "wrmsr");

namespace {

volatile u32 count = 0;
u32 order[16];
volatile bool nest = false;
volatile u32 in_service_during = 0;

void record(Frame& frame) {
    const u32 vector = static_cast<u32>(frame.vector);
    if (count < 16) order[count] = vector;
    count = count + 1;
    in_service_during = apic_bit(ApicRegister::InService, vector);
    if (nest && vector == 0x61) {
        nest = false;
        send_self(0x51);  // same class or lower: waits for EOI
        send_self(0x71);
        sti();
        for (int i = 0; i < 100; ++i) pause();
        cli();
    }
    end_of_interrupt();
}

void take_pending() {
    sti();
    asm volatile("nop; nop");
    cli();
}

void timers(const char* mode) {
    print_line("# timers, ", mode);
    set_handler(0x41, record);
    apic_write(ApicRegister::DivideConfiguration, 0xb);
    count = 0;
    apic_write(ApicRegister::LvtTimer, 0x41);
    apic_write(ApicRegister::InitialCount, 2'000'000);
    const u32 early = apic_read(ApicRegister::CurrentCount);
    check("current count starts at the initial count", early <= 2'000'000 && early > 0);
    check("current count runs down",
          eventually([early] { return apic_read(ApicRegister::CurrentCount) < early; }));
    while (count == 0) asm volatile("sti; hlt; cli" ::: "memory");
    check_equal("one-shot fires once", count, 1);
    check_equal("current count after it", apic_read(ApicRegister::CurrentCount), 0);
    check("its bit was in service", in_service_during);
    check("and no longer after EOI", !apic_bit(ApicRegister::InService, 0x41));

    apic_write(ApicRegister::LvtTimer, timer_periodic | 0x41);
    apic_write(ApicRegister::InitialCount, 500'000);
    while (count < 6) asm volatile("sti; hlt; cli" ::: "memory");
    check("periodic goes on", count >= 6);
    apic_write(ApicRegister::InitialCount, 0);
    take_pending();
    count = 0;
    apic_write(ApicRegister::LvtTimer, lvt_masked | 0x41);
    apic_write(ApicRegister::InitialCount, 1000);
    check("masked timer runs out", eventually([] { return apic_read(ApicRegister::CurrentCount) == 0; }));
    take_pending();
    check_equal("in silence", count, 0);
    check("nothing requested", !apic_bit(ApicRegister::Request, 0x41));

    // The divider makes it slower: 128 against 1.
    const auto ticks = [](u32 divide) {
        apic_write(ApicRegister::DivideConfiguration, divide);
        apic_write(ApicRegister::InitialCount, 100'000);
        const u64 start = rdtsc();
        eventually([] { return apic_read(ApicRegister::CurrentCount) == 0; });
        return rdtsc() - start;
    };
    const u64 fast = ticks(0xb), slow = ticks(0xa);
    check("divide configuration", slow > fast * 8);
    apic_write(ApicRegister::DivideConfiguration, 0xb);
}

void tsc_deadline() {
    if (!(cpuid(1).ecx >> 24 & 1)) return skip("TSC deadline");
    count = 0;
    apic_write(ApicRegister::LvtTimer, timer_tsc_deadline | 0x41);
    asm volatile("mfence");
    wrmsr(Msr::IA32_TSC_DEADLINE, rdtsc() + 3'000'000);
    check("TSC deadline reads back", rdmsr(Msr::IA32_TSC_DEADLINE) != 0);
    while (count == 0) asm volatile("sti; hlt; cli" ::: "memory");
    // (Bochs 2.7 leaves the old value there.)
    check_equal("TSC deadline reads zero after firing", rdmsr(Msr::IA32_TSC_DEADLINE), 0);
    wrmsr(Msr::IA32_TSC_DEADLINE, 1);
    check("deadline in the past fires at once",
          eventually([] { return apic_bit(ApicRegister::Request, 0x41); }));
    take_pending();
    check_equal("twice in all", count, 2);
    wrmsr(Msr::IA32_TSC_DEADLINE, rdtsc() + 2'000'000);
    wrmsr(Msr::IA32_TSC_DEADLINE, 0);
    const u64 start = rdtsc();
    while (rdtsc() - start < 10'000'000) pause();
    take_pending();
    check_equal("deadline disarmed by zero", count, 2);
    apic_write(ApicRegister::InitialCount, 5);
    check_equal("initial count is ignored in deadline mode", apic_read(ApicRegister::CurrentCount), 0);
    apic_write(ApicRegister::LvtTimer, lvt_masked);
}

void priorities() {
    for (const u32 vector : {0x51u, 0x61u, 0x71u, 0x72u}) {
        set_handler(vector, record);
        set_gate(vector, 0, 0);  // they nest: no stack of their own
    }
    count = 0;
    for (const u32 vector : {0x51u, 0x71u, 0x61u, 0x72u}) send_self(vector);
    check("requested", apic_bit(ApicRegister::Request, 0x51) && apic_bit(ApicRegister::Request, 0x72));
    sti();
    asm volatile("nop; nop; nop; nop; nop");
    cli();
    check_equal("all taken", count, 4);
    check("highest first", order[0] == 0x72 && order[1] == 0x71 && order[2] == 0x61 && order[3] == 0x51);

    count = 0;
    apic_write(ApicRegister::TaskPriority, 0x60);
    check_equal("CR8 is the task priority's class", read_cr8(), 6);
    check_equal("processor priority", apic_read(ApicRegister::ProcessorPriority), 0x60);
    send_self(0x61);
    send_self(0x71);
    take_pending();
    check("task priority holds its own class back", count == 1 && order[0] == 0x71);
    write_cr8(5);
    check_equal("mov cr8 sets the task priority", apic_read(ApicRegister::TaskPriority), 0x50);
    take_pending();
    check("and lets it in when lowered", count == 2 && order[1] == 0x61);
    write_cr8(0);

    count = 0;
    nest = true;
    send_self(0x61);
    take_pending();
    check_equal("nested: three taken", count, 3);
    check("higher class nests, lower waits", order[0] == 0x61 && order[1] == 0x71 && order[2] == 0x51);

    count = 0;
    send_self(0x51);
    send_self(0x51);
    take_pending();
    check_equal("the same vector twice is requested once", count, 1);
    count = 0;
    if (in_x2apic_mode())
        wrmsr(0x83f, 0x51);
    else
        apic_write(ApicRegister::InterruptCommand, shorthand_self | 1u << 14 | 0x51);
    take_pending();
    check_equal("self-IPI", count, 1);
}

void errors_and_enabling() {
    apic_write(ApicRegister::ErrorStatus, 0);
    set_handler(5, record);  // some deliver it
    send_self(5);
    apic_write(ApicRegister::ErrorStatus, 0);
    check_equal("illegal vector sent", apic_read(ApicRegister::ErrorStatus) & 0x20, 0x20);
    apic_write(ApicRegister::ErrorStatus, 0);
    check_equal("error status is cleared by two writes", apic_read(ApicRegister::ErrorStatus), 0);
    check("version", (apic_read(ApicRegister::Version) & 0xff) >= 0x10 &&
                         (apic_read(ApicRegister::Version) >> 16 & 0xff) >= 3);
    apic_write(ApicRegister::LvtTimer, 0x41);
    apic_write(ApicRegister::Spurious, 0xff);
    check_equal("software disable masks the local vector table",
                apic_read(ApicRegister::LvtTimer) & lvt_masked, lvt_masked);
    start_apic();
}

// The serial port raises IRQ 4 when its transmitter runs empty.
void io_apic() {
    constexpr u16 port = 0x3f8;
    check_equal("I/O APIC version", io_apic_read(1) >> 16 & 0xff, 23);
    set_handler(0x55, record);
    set_handler(0x56, [](Frame& frame) {
        if (count == 2) in8(port + 2);  // the third time takes the line down
        record(frame);
    });
    io_apic_write(0x10 + 2 * 4 + 1, apic_id() << 24);
    io_apic_write(0x10 + 2 * 4, 1u << 16 | 0x55);
    check_equal("redirection entry reads back", io_apic_read(0x10 + 2 * 4) & 0x1ffff, 0x10055);
    io_apic_write(0x10 + 2 * 4, 0x55);
    // Verdicts are printed on the same port: gather first.
    const auto wait_for_request = [](u32 vector) {
        return eventually([vector] { return apic_bit(ApicRegister::Request, vector); });
    };
    count = 0;
    out8(port + 4, 0x0b);  // MCR: OUT2 lets the interrupt out
    out8(port + 1, 2);     // IER: transmitter empty
    const bool arrived = wait_for_request(0x55);
    take_pending();
    const u8 cause = in8(port + 2), cause_after = in8(port + 2);
    take_pending();
    const u32 edges = count;
    out8(port + 1, 0);

    // Level: it comes again after EOI as long as the line is up.
    io_apic_write(0x10 + 2 * 4, 1u << 15 | 0x56);
    count = 0;
    out8(port + 1, 2);
    wait_for_request(0x56);
    const bool level = apic_bit(ApicRegister::TriggerMode, 0x56);
    const bool remote = io_apic_read(0x10 + 2 * 4) >> 14 & 1;
    take_pending();
    const u32 levels = count;
    take_pending();
    const u32 after = count;
    out8(port + 1, 0);

    check("transmitter interrupt arrives", arrived);
    check_equal("IIR says transmitter empty", cause & 0xf, 2);
    check_equal("reading IIR takes it back", cause_after & 1, 1);
    check_equal("edge: once", edges, 1);
    check("level: trigger mode bit", level);
    check("level: remote IRR", remote);
    check("level: again after EOI while the line is up", levels >= 2);
    check_equal("level: quiet when the line is down", after, 3);
    io_apic_write(0x10 + 2 * 4, 1u << 16);
}

bool faults(const void* code, u32 index, u64 value = 0) {
    Registers in;
    in.rcx = index, in.rax = value & 0xffffffff, in.rdx = value >> 32;
    return run(code, in).vector == static_cast<u64>(Vector::GP);
}

void x2apic() {
    if (!(cpuid(1).ecx >> 21 & 1)) return skip("x2APIC");
    check("x2APIC registers fault in xAPIC mode", faults(read_msr, 0x802));
    const u64 base = rdmsr(Msr::IA32_APIC_BASE);
    check_equal("APIC base: address and enable", base & ~0x100ull, apic_address | ApicBase::Enable);
    wrmsr(Msr::IA32_APIC_BASE, base | ApicBase::X2Apic);
    check("x2APIC mode is on", in_x2apic_mode());
    start_apic();
    timers("x2APIC");
    tsc_deadline();
    priorities();
    errors_and_enabling();
    check_equal("logical id is made from the id", apic_read(ApicRegister::LogicalDestination),
                (apic_id() >> 4) << 16 | 1u << (apic_id() & 15));
    check("version register is read-only", faults(write_msr, 0x803));
    check("EOI register takes zero only", faults(write_msr, 0x80b, 1));
    check("a hole in the registers faults", faults(read_msr, 0x804));
    check("DFR is gone", faults(read_msr, 0x80e));
    check("ICR high is gone", faults(read_msr, 0x831));
    check("reserved bits of SVR fault", faults(write_msr, 0x80f, 1ull << 32));
    check("from x2APIC back to xAPIC faults", faults(write_msr, 0x1b, base));
    check("reserved bits of APIC base fault", faults(write_msr, 0x1b, base | ApicBase::X2Apic | 1));
    wrmsr(Msr::IA32_APIC_BASE, base & ~ApicBase::Enable);
    check("disabled: straight to x2APIC faults", faults(write_msr, 0x1b, base | ApicBase::X2Apic));
    wrmsr(Msr::IA32_APIC_BASE, base);
    start_apic();
    check("through disabled back to xAPIC", !in_x2apic_mode() && (cpuid(1).edx >> 9 & 1));
    priorities();
}

}  // namespace

void micro_main() {
    start_apic();
    timers("xAPIC");
    tsc_deadline();
    priorities();
    errors_and_enabling();
    io_apic();
    x2apic();
}
