// SPDX-License-Identifier: Apache-2.0
// The A and D bits under every kind of access: who reads sets A, who may write sets A and D, and who does
// nothing sets neither.
//
// Faults, large pages and upper levels: paging.cpp. Source: Intel SDM vol. 3A section 4.8.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(load, "mov rax, [rdi]");
FRAGMENT(absolute_load, "movabs rax, [0x8000000000]");
FRAGMENT(absolute_load_byte, "movabs al, [0x8000000000]");
FRAGMENT(absolute_store, "movabs [0x8000000000], eax");
FRAGMENT(compare, "cmp byte ptr [rdi], 1");
FRAGMENT(test_bits, "test dword ptr [rdi], 1");
FRAGMENT(conditional_move, "xor eax, eax\n cmovnz rax, [rdi]");
FRAGMENT(multiply, "mov eax, 1\n mul qword ptr [rdi]");
FRAGMENT(bit_test, "bt dword ptr [rdi], 3");
FRAGMENT(bit_test_far, "mov eax, 64\n bt [rdi], rax");
FRAGMENT(vector_load, "movups xmm0, [rdi]");
FRAGMENT(x87_load, "fld qword ptr [rdi]\n fninit");
FRAGMENT(pop_register, "mov rsp, rdi\n pop rax");
FRAGMENT(leave_frame, "mov rbp, rdi\n leave");
FRAGMENT(load_string, "mov rsi, rdi\n lodsb");
FRAGMENT(scan_string, "mov ecx, 3\n repne scasb");
FRAGMENT(compare_strings, "mov rsi, rdi\n cmpsb");

FRAGMENT(store, "mov [rdi], rax");
FRAGMENT(store_immediate, "mov byte ptr [rdi], 7");
FRAGMENT(store_no_cache, "movnti [rdi], eax");
FRAGMENT(modify, "add dword ptr [rdi], 1");
FRAGMENT(modify_locked, "lock add dword ptr [rdi], 1");
FRAGMENT(exchange, "xchg [rdi], eax");
FRAGMENT(exchange_add, "xadd [rdi], eax");
FRAGMENT(exchange_if_equal, "mov eax, 99\n cmpxchg [rdi], ecx");
FRAGMENT(exchange_16_bytes, "mov eax, 99\n cmpxchg16b [rdi]");
FRAGMENT(set_byte, "setz [rdi]");
FRAGMENT(bit_set, "bts dword ptr [rdi], 3");
FRAGMENT(bit_set_far, "mov eax, 64\n lock bts [rdi], rax");
FRAGMENT(shift, "shl dword ptr [rdi], 1");
FRAGMENT(shift_by_zero, "mov ecx, 0\n shl dword ptr [rdi], cl");
FRAGMENT(vector_store, "movups [rdi], xmm0");
FRAGMENT(x87_store, "fninit\n fld1\n fstp qword ptr [rdi]");
FRAGMENT(environment_store, "fnstenv [rdi]\n fninit");
FRAGMENT(state_store, "fxsave [rdi]");
FRAGMENT(push_register, "lea rsp, [rdi + 64]\n push rax");
FRAGMENT(push_flags, "lea rsp, [rdi + 64]\n pushfq");
FRAGMENT(call_near, "lea rsp, [rdi + 64]\n call 1f\n 1: nop");
FRAGMENT(enter_frame, "lea rsp, [rdi + 64]\n enter 0, 0");
FRAGMENT(store_table, "sgdt [rdi]");
FRAGMENT(store_string, "stosb");
FRAGMENT(store_strings, "mov ecx, 5\n rep stosb");

FRAGMENT(nothing, "nop");
FRAGMENT(address_only, "lea rax, [rdi]");
FRAGMENT(long_nop, "nop dword ptr [rdi]");
FRAGMENT(no_repetition, "mov ecx, 0\n rep stosb\n mov rsi, rdi\n rep movsb");
FRAGMENT(move_never, "xor eax, eax\n test eax, eax\n jnz 1f\n jmp 2f\n 1: mov [rdi], eax\n 2: nop");

FRAGMENT(push_memory, "lea rsp, [rdi + 64]\n push qword ptr [rsi]");
FRAGMENT(pop_memory, "mov rsp, rsi\n pop qword ptr [rdi]");
FRAGMENT(move_string, "movsb");
FRAGMENT(move_strings, "mov ecx, 9\n rep movsq");

namespace {

constexpr u64 to = window, from = window + 0x1000;
constexpr u64 A = PageEntry::A, D = PageEntry::D;

// The bits that `code` sets in the page at rdi; then those in the page at rsi.
void sets(const char* name, const void* code, u64 first, u64 second = 0) {
    for (const Ring ring : {Ring::Kernel, Ring::User}) {
        for (const u64 page : {to, from}) {
            entry(page) = entry(page) & ~(A | D);
            invlpg(page);
        }
        Registers in;
        in.rdi = to, in.rsi = from;
        expect_done(name, run(code, in, ring));
        check_equal(name, entry(to) & (A | D), first);
        check_equal(name, entry(from) & (A | D), second);
    }
}

// MOV between rax and a 64-bit address, which has no ModRM.
void absolute_addresses() {
    auto* page = reinterpret_cast<u64*>(window);
    Registers in;
    in.rax = 0x1111111122222222;
    *page = 0xa1a2a3a4a5a6a7a8;
    check_equal("mov rax, absolute", run(absolute_load, in).registers.rax, 0xa1a2a3a4a5a6a7a8);
    check_equal("mov al, absolute", run(absolute_load_byte, in).registers.rax, 0x11111111222222a8);
    const Outcome out = run(absolute_store, in);
    check_equal("mov absolute, eax", *page, 0xa1a2a3a422222222);
    check_equal("rax stays", out.registers.rax, in.rax);
}

}  // namespace

void micro_main() {
    for (const u64 page : {to, from}) map(page, allocate_page(), user_page);
    absolute_addresses();
    sets("nothing", nothing, 0);
    sets("lea", address_only, 0);
    sets("nop with an operand", long_nop, 0);
    sets("rep with rcx zero", no_repetition, 0);
    sets("a store jumped over", move_never, 0);

    sets("load", load, A);
    sets("mov from an absolute address", absolute_load, A);
    sets("mov of a byte from an absolute address", absolute_load_byte, A);
    sets("mov to an absolute address", absolute_store, A | D);
    sets("cmp", compare, A);
    sets("test", test_bits, A);
    sets("cmov whose condition is false", conditional_move, A);
    sets("mul", multiply, A);
    sets("bt", bit_test, A);
    sets("bt by register", bit_test_far, A);
    sets("movups load", vector_load, A);
    sets("fld", x87_load, A);
    sets("pop", pop_register, A);
    sets("leave", leave_frame, A);
    sets("lods", load_string, A);
    sets("scas", scan_string, A);
    sets("cmps", compare_strings, A);

    sets("store", store, A | D);
    sets("store of an immediate", store_immediate, A | D);
    sets("movnti", store_no_cache, A | D);
    sets("add", modify, A | D);
    sets("lock add", modify_locked, A | D);
    sets("xchg", exchange, A | D);
    sets("xadd", exchange_add, A | D);
    sets("cmpxchg that fails", exchange_if_equal, A | D);
    sets("cmpxchg16b that fails", exchange_16_bytes, A | D);
    sets("setcc", set_byte, A | D);
    sets("bts", bit_set, A | D);
    sets("bts by register", bit_set_far, A | D);
    sets("shl", shift, A | D);
    sets("shl by zero", shift_by_zero, A | D);
    sets("movups store", vector_store, A | D);
    sets("fstp", x87_store, A | D);
    sets("fnstenv", environment_store, A | D);
    sets("fxsave", state_store, A | D);
    sets("push", push_register, A | D);
    sets("pushf", push_flags, A | D);
    sets("call", call_near, A | D);
    sets("enter", enter_frame, A | D);
    sets("sgdt", store_table, A | D);
    sets("stos", store_string, A | D);
    sets("rep stos", store_strings, A | D);

    sets("push of memory", push_memory, A | D, A);
    sets("pop to memory", pop_memory, A | D, A);
    sets("movs", move_string, A | D, A);
    sets("rep movs", move_strings, A | D, A);
}
