// SPDX-License-Identifier: Apache-2.0
// Random instruction bytes at CPL 3 with random registers, and one at a time at CPL 0 (without those that
// stop or rearrange the processor). Whatever they do, an exception or the timer brings them back.
//
// Deterministic: the same bytes each time.

#include "runtime/apic.hpp"
#include "runtime/paging.hpp"
#include "runtime/random.hpp"
#include "runtime/run.hpp"

using namespace micro;

namespace {

Random random{0x2545f4914f6cdd1d};

// High enough that sums and multiples of two of them are not canonical.
constexpr u64 base = 0x412345600000;
constexpr u64 code_at = base, data_at = base + 0x100000, stack_at = base + 0x200000;
constexpr u32 timer_vector = 0x61;
u8* code;

u64 random_value() {
    switch (random() % 6) {
        case 0: return data_at + random() % 8192;
        case 1: return code_at + random() % 8192;
        case 2: return random() % 64;
        case 3: return random();
        case 4: return 0x8000000000000000 >> random() % 64;
        default: return data_at + 4096 - random() % 16;
    }
}

Registers random_registers() {
    Registers in;
    for (unsigned i = 0; i < 16; ++i) in.general(i) = random_value();
    if (random() % 4) in.rsp = stack_at + 4096 + random() % 2048;
    in.rflags = RFLAGS::Fixed | (random() & (RFLAGS::Arithmetic | RFLAGS::DF | RFLAGS::AC));
    return in;
}

// Bytes that look like code more often than noise does.
void random_code(u8* to, unsigned count) {
    static constexpr u8 usual[] = {0x0f, 0x48, 0x66, 0xf2, 0xf3, 0x41, 0x4c, 0xc5, 0xc4, 0x89, 0x8b, 0x01,
                                   0x83, 0xff, 0x50, 0x58, 0xe8, 0x74, 0xc3, 0xa4, 0x38, 0x3a, 0x40, 0xb6,
                                   0xaf, 0x65, 0x64, 0xf0, 0xd8, 0xdf, 0xc7, 0xf7, 0x8d, 0xe2, 0x05, 0x24};
    for (unsigned i = 0; i < count; ++i)
        to[i] = random() % 2 ? usual[random() % sizeof usual] : static_cast<u8>(random());
}

void reset_machine() {
    u32 mxcsr = 0x1f80;
    asm volatile("fninit; ldmxcsr %0; mov %1, %%es; mov %1, %%ds; mov %1, %%fs; mov %1, %%gs" ::"m"(mxcsr),
                 "r"(0));
}

void user_mode(u64 rounds) {
    u64 vectors[257] = {};
    for (u64 round = 0; round < rounds; ++round) {
        const u64 offset = random() % 4 ? random() % 4000 : 4096 - random() % 16;
        random_code(code + offset, 64);
        Registers in = random_registers();
        in.rflags |= RFLAGS::IF;
        apic_write(ApicRegister::InitialCount, 50'000);
        const Outcome out = run(reinterpret_cast<const void*>(code_at + offset - user_alias), in, Ring::User);
        apic_write(ApicRegister::InitialCount, 0);
        if (out.vector == timer_vector) end_of_interrupt();
        ++vectors[out.vector];
        reset_machine();
    }
    if (apic_bit(ApicRegister::Request,
                 timer_vector)) {                        // it was due when something else had ended the round
        constexpr u8 wait[] = {0xf3, 0x90, 0xeb, 0xfc};  // pause; jmp back
        for (u64 i = 0; i < sizeof wait; ++i) code[i] = wait[i];
        Registers in = random_registers();
        in.rflags |= RFLAGS::IF;
        ++vectors[run(reinterpret_cast<const void*>(code_at - user_alias), in, Ring::User).vector];
        end_of_interrupt();
    }
    for (u64 vector = 0; vector < 257; ++vector)
        if (vectors[vector] != 0) print_line("# vector ", vector, ": ", vectors[vector]);
    check("random code in user mode is survived", true);
    check("invalid opcodes came", vectors[6] != 0);
    check("page faults came", vectors[14] != 0);
    check("nothing but exceptions, system calls and the timer", vectors[2] + vectors[8] + vectors[18] == 0);
}

// Instructions that stop the processor, reach the machine's ports or replace its tables.
bool harmless(const u8* bytes) {
    for (unsigned i = 0; i < 15; ++i) {
        const u8 b = bytes[i];
        if (b == 0xf4 || (b >= 0x6c && b <= 0x6f) || (b >= 0xe4 && b <= 0xe7) || (b >= 0xec && b <= 0xef))
            return false;
        if (b == 0x8e || b == 0xcf || b == 0xcb || b == 0xca || b == 0x9d || b == 0xfb || b == 0x17)
            return false;
        if (b == 0xff) return false;  // far calls and jumps
        if (b == 0x0f && i + 1 < 15) {
            const u8 next = bytes[i + 1];
            if (next <= 0x09 || (next >= 0x20 && next <= 0x23) || (next >= 0x30 && next <= 0x35) ||
                next == 0xb2 || next == 0xb4 || next == 0xb5 || next == 0xa1 || next == 0xa9 ||
                next == 0xae || next == 0xc7)
                return false;
        }
    }
    return true;
}

// Fuzzed stores at CPL 0 must not hit the image in the identity map: no register points below `base`, and
// displacements without a base register are left out.
void kernel_mode(u64 rounds) {
    u64 stepped = 0;
    for (u64 round = 0; round < rounds; ++round) {
        const u64 offset = random() % 4 ? random() % 4000 : 4096 - random() % 16;
        random_code(code + offset, 32);
        if (!harmless(code + offset)) continue;
        Registers in = random_registers();
        for (unsigned i = 0; i < 16; ++i)
            if (in.general(i) < base) in.general(i) = data_at + in.general(i) % 4096;
        in.rflags |= RFLAGS::TF;
        bool absolute = code[offset] >= 0xa0 && code[offset] <= 0xa3;
        for (unsigned i = 0; i < 14; ++i)
            absolute = absolute || code[offset + i] == 0x67 ||
                       ((code[offset + i] & 0xc7) == 0x04 && (code[offset + i + 1] & 7) == 5);
        if (absolute) continue;
        const Outcome out = run(reinterpret_cast<const void*>(code_at + offset), in);
        stepped += out.vector == static_cast<u64>(Vector::DB);
        reset_machine();
        write_dr6(0xffff0ff0);
    }
    print_line("# stepped ", stepped);
    check("random code in the kernel is survived", true);
    check("some of it was valid", stepped > rounds / 50);
}

}  // namespace

void micro_main() {
    if (cpuid(1).ecx >> 26 & 1) {
        write_cr4(read_cr4() | CR4::OSXSAVE);
        asm volatile("xsetbv" ::"c"(0), "a"(cpuid(0xd, 0).eax & 7), "d"(0));
    }
    code = allocate_page();
    u8* second = allocate_page();
    (void)second;  // follows in memory: the code's second page
    map(code_at, code, user_page);
    map(code_at + 4096, code + 4096, user_page);
    for (u64 i = 0; i < 2; ++i) {
        map(data_at + i * 4096, allocate_page(), user_page);
        map(stack_at + i * 4096, allocate_page(), user_page);
    }
    entry(user_alias, 4) = 0;  // the image is not to be reached from CPL 3
    write_cr3(read_cr3());
    start_apic();
    apic_write(ApicRegister::DivideConfiguration, 0xb);
    apic_write(ApicRegister::LvtTimer, timer_vector);
    write_cr0(read_cr0() | CR0::AM);
    user_mode(4000);
    kernel_mode(6000);
}
