// SPDX-License-Identifier: Apache-2.0
// Instructions and data that cross a page border: the second page may be absent, not executable, read-only or
// another one than last time. Faults are precise: nothing is written or changed before all accesses are
// checked.
//
// Source: Intel SDM vol. 3A section 6.5, 4.7; vol. 2, each instruction.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

// rdi: an operand that crosses into the second page.
FRAGMENT(load8, AT "mov rax, [rdi]");
FRAGMENT(store8, AT "mov [rdi], rax");
FRAGMENT(store4, AT "mov [rdi], eax");
FRAGMENT(store2, AT "mov [rdi], ax");
FRAGMENT(store_imm, AT "mov qword ptr [rdi], -1");
FRAGMENT(add_to, AT "add [rdi], rax");
FRAGMENT(add_from, AT "add rax, [rdi]");
FRAGMENT(inc_it, AT "inc dword ptr [rdi]");
FRAGMENT(not_it, AT "not word ptr [rdi]");
FRAGMENT(lock_add, AT "lock add [rdi], rax");
FRAGMENT(exchange, AT "xchg [rdi], rax");
FRAGMENT(exchange_add, AT "xadd [rdi], rax");
FRAGMENT(compare_exchange, AT "cmpxchg [rdi], rcx");
FRAGMENT(compare_exchange16, AT "cmpxchg16b [rdi]");
FRAGMENT(compare_exchange8, AT "lock cmpxchg8b [rdi]");
FRAGMENT(push_there, "lea rsp, [rdi + 8]\n" AT "push rax");
FRAGMENT(pop_there, "mov rsp, rdi\n" AT "pop rax");
FRAGMENT(pop_to, AT "pop qword ptr [rdi]");
FRAGMENT(push_from, AT "push qword ptr [rdi]");
FRAGMENT(call_there, "lea rsp, [rdi + 8]\n" AT "call 1f\n 1:");
FRAGMENT(call_memory, AT "call [rdi]");
FRAGMENT(jump_memory, AT "jmp [rdi]");
FRAGMENT(return_from, "mov rsp, rdi\n" AT "ret");
FRAGMENT(leave_there, "mov rbp, rdi\n" AT "leave");
FRAGMENT(enter_there, "lea rsp, [rdi + 8]\n" AT "enter 16, 0");
FRAGMENT(pushf_there, "lea rsp, [rdi + 8]\n" AT "pushfq");
FRAGMENT(movs_to, "lea rsi, [rsp]\n" AT "movsq");
FRAGMENT(movs_from, "mov rsi, rdi\n sub rdi, 64\n" AT "movsq");
FRAGMENT(movups_load, AT "movups xmm0, [rdi]");
FRAGMENT(movups_store, "xorps xmm0, xmm0\n" AT "movups [rdi], xmm0");
FRAGMENT(ymm_store, "vxorps ymm0, ymm0, ymm0\n" AT "vmovups [rdi], ymm0");
FRAGMENT(ymm_load, AT "vmovups ymm1, [rdi]");
FRAGMENT(fistp_there, "fninit\n fld1\n" AT "fistp qword ptr [rdi]\n fninit");
FRAGMENT(shift_it, AT "shl qword ptr [rdi], 5");
FRAGMENT(double_shift, AT "shld [rdi], rax, cl");
FRAGMENT(bts_far, AT "bts [rdi], rax");
FRAGMENT(setcc_last, AT "setnz [rdi + 3]");
FRAGMENT(fxsave_there, AT "fxsave [rdi]");

namespace {

namespace Pf = PageFault;
constexpr u64 first = window, second = window + 4096, user_first = window + 0x100000;
u8* low;
u8* high;

// The bytes around the border are watched.
constexpr unsigned edge = 64;
u8 low_before[edge], high_before[edge];

void fill() {
    for (unsigned i = 0; i < edge; ++i) {
        low[4096 - edge + i] = low_before[i] = static_cast<u8>(i * 13 + 7);
        high[i] = high_before[i] = static_cast<u8>(i * 11 + 5);
    }
}

bool untouched() {
    return __builtin_memcmp(low + 4096 - edge, low_before, edge) == 0 &&
           __builtin_memcmp(high, high_before, edge) == 0;
}

Registers inputs(u64 at) {
    Registers in;
    in.rdi = at, in.rax = 0x123456789abcdef0, in.rcx = 0x1111, in.rdx = 5, in.rbx = 6;
    in.r10 = 10, in.r11 = 11, in.rbp = 0x5555;
    in.rflags |= RFLAGS::CF | RFLAGS::SF;
    return in;
}

enum class Kind : u8 { Read, Write };

// The operand begins `before` bytes ahead of the border. Absent and read-only second page: a fault at the
// border, nothing changed. Present: it works.
void operand(const char* name, const void* code, const void* at, Kind kind, u64 before,
             unsigned rsp_changes = 0) {
    const u64 address = second - before;
    const u64 write = kind == Kind::Write ? Pf::W : 0;
    const auto faults = [&](u64 error, u64 cr2) {
        const Outcome out = run(code, inputs(address));
        Tally tally{name};
        tally.expect(out.vector, static_cast<u64>(Vector::PF), before);
        tally.expect(out.error, error, before);
        tally.expect(out.cr2, cr2, before);
        tally.expect(out.registers.rip, micro::address(at), before);
        tally.expect(untouched(), 1, before);
        tally.expect(out.registers.rflags & RFLAGS::Arithmetic, RFLAGS::CF | RFLAGS::SF, before);
        const Registers in = inputs(address);
        tally.expect(out.registers.rax, in.rax), tally.expect(out.registers.rcx, in.rcx);
        tally.expect(out.registers.rdx, in.rdx), tally.expect(out.registers.rbx, in.rbx);
        tally.expect(out.registers.r10, in.r10), tally.expect(out.registers.r11, in.r11);
        if (rsp_changes == 0) tally.expect(out.registers.rsp, kernel_fragment_stack());
        fill();
    };
    fill();
    map(first, low, kernel_page);
    unmap(second);
    faults(write, second);
    if (kind == Kind::Write) {
        map(second, high, PageEntry::P);
        faults(Pf::P | Pf::W, second);
    }
    map(second, high, kernel_page);
    unmap(first);
    faults(write, address);
    map(first, low, kernel_page);
    const Outcome out = run(code, inputs(address));
    // (Jumps through the operand's bytes fault elsewhere.)
    const bool faulted_here = out.vector == static_cast<u64>(Vector::PF) && out.cr2 - first < 8192;
    check(name, !faulted_here);
}

void operands() {
    for (const u64 before : {1u, 4u, 7u}) {
        operand("load", load8, load8_at, Kind::Read, before);
        operand("store", store8, store8_at, Kind::Write, before);
        operand("add to memory", add_to, add_to_at, Kind::Write, before);
        operand("push", push_there, push_there_at, Kind::Write, before, 1);
        operand("call", call_there, call_there_at, Kind::Write, before, 1);
    }
    operand("store dword", store4, store4_at, Kind::Write, 3);
    operand("store word", store2, store2_at, Kind::Write, 1);
    operand("store immediate", store_imm, store_imm_at, Kind::Write, 2);
    operand("add from memory", add_from, add_from_at, Kind::Read, 5);
    operand("inc", inc_it, inc_it_at, Kind::Write, 3);
    operand("not", not_it, not_it_at, Kind::Write, 1);
    operand("lock add", lock_add, lock_add_at, Kind::Write, 4);
    operand("xchg", exchange, exchange_at, Kind::Write, 6);
    operand("xadd", exchange_add, exchange_add_at, Kind::Write, 2);
    operand("cmpxchg", compare_exchange, compare_exchange_at, Kind::Write, 2);
    operand("cmpxchg8b", compare_exchange8, compare_exchange8_at, Kind::Write, 4);
    operand("pop", pop_there, pop_there_at, Kind::Read, 4, 1);
    operand("pop to memory", pop_to, pop_to_at, Kind::Write, 4);
    operand("push from memory", push_from, push_from_at, Kind::Read, 4);
    operand("call through memory", call_memory, call_memory_at, Kind::Read, 4);
    operand("jmp through memory", jump_memory, jump_memory_at, Kind::Read, 4);
    operand("ret", return_from, return_from_at, Kind::Read, 4, 1);
    operand("enter", enter_there, enter_there_at, Kind::Write, 4, 1);
    operand("pushf", pushf_there, pushf_there_at, Kind::Write, 4, 1);
    operand("movsq to", movs_to, movs_to_at, Kind::Write, 3);
    operand("movups load", movups_load, movups_load_at, Kind::Read, 9);
    operand("movups store", movups_store, movups_store_at, Kind::Write, 9);
    operand("fistp", fistp_there, fistp_there_at, Kind::Write, 4);
    operand("shl", shift_it, shift_it_at, Kind::Write, 4);
    operand("shld", double_shift, double_shift_at, Kind::Write, 4);
    if (cpuid(7).ebx >> 5 & 1) {
        write_cr4(read_cr4() | CR4::OSXSAVE);
        asm volatile("xsetbv" ::"c"(0), "a"(7), "d"(0));
        operand("32-byte load", ymm_load, ymm_load_at, Kind::Read, 17);
        operand("32-byte store", ymm_store, ymm_store_at, Kind::Write, 31);
    } else {
        skip("32-byte accesses");
    }
}

// Cases of their own: operands that do not cross though their neighbours would, alignment first.
void more_operands() {
    fill();
    map(first, low, kernel_page);
    unmap(second);
    Registers in = inputs(second - 8);
    expect_done("load up to the border", run(load8, in));
    expect_done("store up to the border", run(store8, in));
    in.rdi = second - 4;
    expect_page_fault("setcc beyond the border", run(setcc_last, inputs(second - 3)), Pf::W, second,
                      setcc_last_at);
    in.rax = 64 + 3;
    in.rdi = second - 8;
    expect_page_fault("bts with a bit in the next page", run(bts_far, in), Pf::W, second, bts_far_at);
    expect_trap("cmpxchg16b: alignment before paging", run(compare_exchange16, inputs(second - 8)),
                Vector::GP, 0, compare_exchange16_at);
    // Some processors look at the last byte first.
    Outcome out = run(fxsave_there, inputs(second - 256));
    if (out.cr2 == second + 255) out.cr2 = second;
    expect_page_fault("fxsave into the next page", out, Pf::W, second, fxsave_there_at);
    const Outcome movs = run(movs_from, inputs(second - 4));
    expect_page_fault("movsq from", movs, 0, second, movs_from_at);
    check("movsq from moves nothing", movs.registers.rsi == second - 4 && movs.registers.rdi == second - 68);
    const Outcome left = run(leave_there, inputs(second - 4));
    expect_page_fault("leave", left, 0, second, leave_there_at);
    check_equal("leave leaves rsp", left.registers.rsp, kernel_fragment_stack());
}

// (Bochs 2.7 keeps running an instruction whose second page has gone: the mistake that this looks for.)
// `mov eax, value; int 0x81` that begins `before` bytes ahead of the border.
void write_code(u64 before, u8* page1, u8* page2, u32 value) {
    const u8 bytes[] = {0xb8,
                        static_cast<u8>(value),
                        static_cast<u8>(value >> 8),
                        static_cast<u8>(value >> 16),
                        static_cast<u8>(value >> 24),
                        0xcd,
                        0x81};
    for (unsigned i = 0; i < sizeof bytes; ++i)
        (i < before ? page1[4096 - before + i] : page2[i - before]) = bytes[i];
}

void instructions() {
    u8* other = allocate_page();
    for (u64 before = 1; before <= 6; ++before) {
        Tally tally{"instruction across the border"};
        const auto start = reinterpret_cast<const void*>(second - before);
        map(first, low, kernel_page);
        map(second, high, kernel_page);
        write_code(before, low, high, 0x01020304);
        write_code(before, low, other, 0x01020304);
        for (unsigned i = 0; i < 3; ++i) tally.expect(run(start).registers.rax, 0x01020304, before, i);
        unmap(second);
        const auto faults = [&](u64 error) {
            const Outcome out = run(start);
            tally.expect(out.vector, static_cast<u64>(Vector::PF), before);
            tally.expect(out.error, error, before);
            tally.expect(out.cr2, second, before);
            tally.expect(out.registers.rip, before >= 5 ? second - before + 5 : second - before, before);
        };
        faults(Pf::I);
        map(second, high, kernel_page | PageEntry::XD);
        faults(Pf::I | Pf::P);
        // Another second page, with other bytes.
        if (before < 5) {
            other[4 - before] = 0x77;
            map(second, other, kernel_page);
            for (unsigned i = 0; i < 3; ++i) tally.expect(run(start).registers.rax, 0x77020304, before, i);
            map(second, high, kernel_page);
            tally.expect(run(start).registers.rax, 0x01020304, before);
            high[4 - before] = 0x55;
            tally.expect(run(start).registers.rax, 0x55020304, before);
        }
        // From CPL 3 with the second page the kernel's own.
        map(user_first, low, user_page);
        map(user_first + 4096, high, kernel_page);
        const Outcome out =
            run(reinterpret_cast<const void*>(user_first + 4096 - before - user_alias), {}, Ring::User);
        tally.expect(out.error, Pf::I | Pf::P | Pf::U, before);
        tally.expect(out.cr2, user_first + 4096, before);
    }
}

}  // namespace

void micro_main() {
    low = allocate_page();
    high = allocate_page();
    operands();
    more_operands();
    instructions();
}
