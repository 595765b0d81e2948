// SPDX-License-Identifier: Apache-2.0
// Code that changes: by itself, ahead of itself and behind, by every kind of store, through another virtual
// address, by remapping; code and data in one page. On x86 a changed instruction takes effect at once.
// Source: Intel SDM vol. 3A section 9.1.3 (a store to code that the same processor runs needs only a branch
// in theory; every processor since the P6 is exact without one for the same linear address).

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

// Each rewrites the immediate of `mov eax, 0x11111111` further on. rcx: the new value; rdi: scratch.
#define AHEAD(name, store) FRAGMENT(name, "lea rdi, [rip + 7f + 1]\n" store "\n 7: mov eax, 0x11111111")
AHEAD(by_mov1, "mov [rdi], cl");
AHEAD(by_mov2, "mov [rdi], cx");
AHEAD(by_mov4, "mov [rdi], ecx");
AHEAD(by_mov4_far, "mov [rdi], ecx\n add rdx, 3\n mov rsi, [rsp]\n push rdx\n pop rdx");
AHEAD(by_mov4_r11, "mov r11, rdi\n mov r10d, ecx\n mov [r11], r10d");
AHEAD(by_add, "sub ecx, 0x11111111\n add [rdi], ecx");
AHEAD(by_xchg, "xchg [rdi], ecx");
AHEAD(by_xadd, "sub ecx, 0x11111111\n lock xadd [rdi], ecx");
AHEAD(by_cmpxchg, "mov eax, [rdi]\n lock cmpxchg [rdi], ecx");
AHEAD(by_not, "xor ecx, -1\n mov edx, [rdi]\n mov [rdi], ecx\n not dword ptr [rdi]");
AHEAD(by_stos, "mov eax, ecx\n stosd");
AHEAD(by_rep_movs, "push rcx\n mov rsi, rsp\n mov ecx, 4\n rep movsb\n pop rcx");
AHEAD(by_rep_stos, "mov eax, ecx\n mov ecx, 1\n rep stosd");
AHEAD(by_pop, "mov rdx, [rdi]\n mov [rsp], rdx\n mov [rsp], ecx\n pop qword ptr [rdi]");
AHEAD(by_vector, "movups xmm0, [rdi]\n movd xmm1, ecx\n movss xmm0, xmm1\n movups [rdi], xmm0");
AHEAD(by_x87, "push rcx\n fninit\n fild dword ptr [rsp]\n fistp dword ptr [rdi]\n pop rcx");
AHEAD(by_movnti, "movnti [rdi], ecx\n sfence");
AHEAD(by_bts,
      "mov edx, 0\n 1: bt ecx, edx\n jc 2f\n btr [rdi], edx\n jmp 3f\n 2: bts [rdi], edx\n 3: inc edx\n cmp "
      "edx, 32\n jne 1b");

// rdx: the distance from this code to another mapping of it.
FRAGMENT(through_alias, "lea rdi, [rip + 7f + 1]\n mov [rdi + rdx], ecx\n 7: mov eax, 0x11111111");
FRAGMENT(loop_counts_itself,
         "1: mov eax, 0\n add rbx, rax\n inc dword ptr [rip + 1b + 1]\n dec ecx\n jnz 1b");
FRAGMENT(loop_patches_end,
         "lea rdi, [rip + 8f]\n mov ebx, 0\n 1: inc ebx\n cmp ebx, ecx\n jne 2f\n mov byte ptr [rdi], 0x90\n"
         " mov byte ptr [rdi + 1], 0x90\n 2: nop\n nop\n 8: jmp 1b\n mov word ptr [rdi], ax");
FRAGMENT(branch_changes_sense,
         "mov eax, 0\n xor byte ptr [rip + 7f], 1\n cmp ecx, 1\n 7: je 8f\n mov eax, 1\n 8:");
FRAGMENT(becomes_undefined, "mov word ptr [rip + 771f], 0x0b0f\n" AT "nop\n nop");
FRAGMENT(overwrites_whole_tail,
         "lea rdi, [rip + 7f]\n mov ecx, 16\n mov al, 0x90\n rep stosb\n mov eax, 5\n 7: .fill 16, 1, 0xcc");
FRAGMENT(call_rbx, "call rbx");
FRAGMENT(call_rbx_often,
         "mov r8d, 0\n 1: call rbx\n add r8, rax\n inc dword ptr [rbx + 1]\n dec ecx\n jnz 1b");
FRAGMENT(where_am_i, "lea rax, [rip]\n ret");
FRAGMENT(jump_to_written,
         "mov byte ptr [rdi], 0xb8\n mov [rdi + 1], ecx\n mov byte ptr [rdi + 5], 0xc3\n call rdi");
FRAGMENT(data_beside_code,
         "lea rdi, [rip + 9f]\n 1: inc qword ptr [rdi]\n add rax, [rdi]\n dec ecx\n jnz 1b\n jmp 2f\n 9: "
         ".quad 0\n 2:");

namespace {

// `mov eax, value; ret` at `to`.
void write_function(u64 to, u32 value) {
    auto* bytes = reinterpret_cast<volatile u8*>(to);
    bytes[0] = 0xb8;
    for (unsigned i = 0; i < 4; ++i) bytes[1 + i] = static_cast<u8>(value >> 8 * i);
    bytes[5] = 0xc3;
}

u64 call(u64 function, Ring ring = Ring::Kernel) {
    Registers in;
    in.rbx = function;
    const Outcome out = run(call_rbx, in, ring);
    return out.done() ? out.registers.rax & 0xffffffff : ~out.vector;
}

constexpr u32 values[] = {0x12345678, 0x87654321, 0x00000100, 0xff00ff01};

void ahead(const char* name, const void* code, u32 mask = ~0u) {
    Tally tally{name};
    u32 want = 0x11111111;
    for (const Ring ring : {Ring::Kernel, Ring::User})
        for (const u32 value : values) {
            Registers in;
            in.rcx = value;
            const Outcome out = run(code, in, ring);
            want = (want & ~mask) | (value & mask);
            tally.expect(out.vector, done_vector, value);
            tally.expect(out.registers.rax, want, value);
        }
}

// For stores that compute from the old bytes: once, from the assembled state.
void ahead_once(const char* name, const void* code) {
    Registers in;
    in.rcx = 0x12345678;
    check_equal(name, run(code, in).registers.rax, 0x12345678);
}

void stores() {
    ahead("mov byte ahead", by_mov1, 0xff);
    ahead("mov word ahead", by_mov2, 0xffff);
    ahead("mov dword ahead", by_mov4);
    ahead("mov dword further ahead", by_mov4_far);
    ahead("mov from r10 to [r11] ahead", by_mov4_r11);
    ahead("xchg ahead", by_xchg);
    ahead("cmpxchg ahead", by_cmpxchg);
    ahead("not ahead", by_not);
    ahead("stosd ahead", by_stos);
    ahead("rep movsb ahead", by_rep_movs);
    ahead("rep stosd ahead", by_rep_stos);
    ahead("pop to memory ahead", by_pop);
    ahead("movups ahead", by_vector);
    ahead("fistp ahead", by_x87);
    ahead("movnti ahead", by_movnti);
    ahead("bts and btr ahead", by_bts);
    ahead_once("add ahead", by_add);
    ahead_once("xadd ahead", by_xadd);
}

void through_aliases() {
    const u64 page = address(through_alias) & ~0xfffull;
    map(window, page, kernel_page);
    map(window + 4096, page + 4096, kernel_page);
    for (const u64 distance : {user_alias, window - page}) {
        Tally tally{"store through another mapping"};
        for (const u32 value : values) {
            Registers in;
            in.rcx = value, in.rdx = distance;
            tally.expect(run(through_alias, in).registers.rax, value, value, distance);
        }
    }
    Tally tally{"one code at two addresses"};
    for (int i = 0; i < 3; ++i) {
        tally.expect(call(address(where_am_i)), (address(where_am_i) + 7) & 0xffffffff);
        tally.expect(call(window + (address(where_am_i) - page)),
                     (window + (address(where_am_i) - page) + 7) & 0xffffffff);
    }
}

void loops() {
    Registers in;
    in.rcx = 1000, in.rbx = 0;
    check_equal("loop that counts in its own immediate", run(loop_counts_itself, in).registers.rbx,
                999 * 1000 / 2);
    in.rcx = 300;
    check_equal("loop that removes its own end", run(loop_patches_end, in).registers.rbx, 300);
    Tally sense{"branch whose sense is flipped just before"};
    for (u64 i = 0; i < 8; ++i) {
        in.rcx = i / 2 % 2;
        const bool jump_if_equal = i % 2 == 1;
        sense.expect(run(branch_changes_sense, in).registers.rax, (in.rcx == 1) == jump_if_equal ? 0 : 1, i);
    }
    expect_trap("next instruction becomes ud2", run(becomes_undefined), Vector::UD, 0, becomes_undefined_at);
    check_equal("rep stosb over what follows", run(overwrites_whole_tail).registers.rax, 5);
    in.rcx = 20000, in.rax = 0;
    check_equal("data beside code", run(data_beside_code, in).registers.rax, 20000ull * 20001 / 2);
}

void functions() {
    const u64 code = address(allocate_page());
    Tally once{"call to code just written"}, often{"code rewritten between calls"},
        ring3{"rewritten between calls from user mode"};
    for (u32 i = 0; i < 600; ++i) {
        write_function(code + i * 6, i * 77);
        once.expect(call(code + i * 6), i * 77, i);
    }
    for (u32 i = 0; i < 200; ++i) {
        write_function(code + 100, i + 5);
        often.expect(call(code + 100), i + 5, i);
        write_function(code + 100, i + 9);
        ring3.expect(call(code + 100 + user_alias, Ring::User), i + 9, i);
    }
    Registers in;
    in.rbx = code + 2000, in.rcx = 500;
    write_function(in.rbx, 0);
    check_equal("loop that rewrites the function it calls", run(call_rbx_often, in).registers.r8,
                499 * 500 / 2);
    Tally jump{"write and jump in one block"};
    for (const u32 value : values) {
        in.rdi = code + 3000, in.rcx = value;
        jump.expect(run(jump_to_written, in).registers.rax, value, value);
    }
}

void remapping() {
    u8* one = allocate_page();
    u8* two = allocate_page();
    write_function(address(one), 1);
    write_function(address(two), 2);
    constexpr u64 at = window + 0x10000;
    Tally invalidated{"two codes at one address in turn (invlpg)"},
        reloaded{"two codes at one address in turn (mov cr3)"};
    for (u32 i = 0; i < 40; ++i) {
        map(at, i % 2 ? one : two, kernel_page);
        invalidated.expect(call(at), i % 2 ? 1 : 2, i);
    }
    for (u32 i = 0; i < 40; ++i) {
        entry(at) = address(i % 2 ? two : one) | kernel_page;
        write_cr3(read_cr3());
        reloaded.expect(call(at), i % 2 ? 2 : 1, i);
        write_function(address(two), 2);
    }

    // Two address spaces that share everything but this page.
    const u64 cr3 = read_cr3();
    auto* other = reinterpret_cast<u64*>(allocate_page());
    __builtin_memcpy(other, reinterpret_cast<const void*>(cr3), 4096);
    other[window >> 39] = 0;
    write_cr3(address(other));
    map(at, two, kernel_page);
    write_cr3(cr3);
    map(at, one, kernel_page);
    Tally switched{"two codes at one address by address space"};
    for (u32 i = 0; i < 40; ++i) {
        write_cr3(i % 2 ? cr3 : address(other));
        switched.expect(call(at), i % 2 ? 1 : 2, i);
    }
    write_cr3(address(other));
    write_function(address(one), 3);
    switched.expect(call(at), 2);
    write_cr3(cr3);
    switched.expect(call(at), 3);
}

// One instruction on two pages, whose bytes change on either side, through either mapping.
void across_a_border() {
    u8* one = allocate_page();
    u8* two = allocate_page();
    constexpr u64 border = window + 0x21000;
    map(border - 4096, one, kernel_page);
    map(border, two, kernel_page);
    Tally whole{"code across a border is rewritten"}, byte{"one byte of it is"},
        alias{"the same by an alias"};
    for (u32 here = 1; here < 5; ++here) {
        const u64 code = border - here;
        for (u32 i = 0; i < 40; ++i) {
            u32 value = i * 0x01020304 + here;
            write_function(code, value);
            whole.expect(call(code), value, i);
            const u32 at = i % 4;
            reinterpret_cast<u8*>(code)[1 + at] ^= 0x55;
            value ^= 0x55u << 8 * at;
            byte.expect(call(code), value, i);
            u8* aliased = 1 + at < here ? one + 4096 - here + 1 + at : two + 1 + at - here;
            *aliased ^= 0xaa;
            value ^= 0xaau << 8 * at;
            alias.expect(call(code), value, i);
        }
    }
}

}  // namespace

void micro_main() {
    stores();
    through_aliases();
    loops();
    functions();
    remapping();
    across_a_border();
}
