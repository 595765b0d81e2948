// SPDX-License-Identifier: Apache-2.0
// Pages that were never written, under two addresses: who reads them before, and while, somebody writes them
// through the other address sees zeroes, and then what was written, at once.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

// One page at rdi and at rsi. Reads on both sides of a write share a check.
FRAGMENT(around_a_write, "mov rax, [rdi]\n mov [rsi + 8], rcx\n mov rdx, [rdi + 8]");
FRAGMENT(
    group_around_a_write,
    "mov rax, [rdi]\n add rax, [rdi + 16]\n mov [rsi + 8], rcx\n mov rdx, [rdi + 8]\n add rdx, [rdi + 24]");
FRAGMENT(read_and_push,
         "lea rsp, [rsi + 16]\n push qword ptr [rdi + 64]\n mov rax, [rdi + 8]\n push rcx\n"
         " mov rdx, [rdi]");
FRAGMENT(modify, "mov rax, [rdi + 8]\n add [rsi + 8], rcx\n mov rdx, [rdi + 8]");
FRAGMENT(exchange, "mov rax, [rdi + 8]\n lock xadd [rsi + 8], rcx\n mov rdx, [rdi + 8]");
FRAGMENT(across, "mov rax, [rdi + 4094]\n mov [rsi + 4092], rcx\n mov rdx, [rdi + 4092]");
// Each round reads what the one before has written through the other address.
FRAGMENT(
    loop,
    "xor edx, edx\n xor eax, eax\n mov ecx, 200\n 1: add rax, [rdi + rdx*8]\n inc rdx\n mov [rsi + rdx*8], "
    "rdx\n cmp rdx, rcx\n jne 1b");
FRAGMENT(loop_read_only,
         "xor edx, edx\n xor eax, eax\n 1: add rax, [rdi + rdx*8]\n inc rdx\n cmp rdx, 512\n jne 1b");
// A pattern of one byte spreads from its own target.
FRAGMENT(spread,
         "mov al, [rdi]\n mov byte ptr [rsi], 0x5a\n mov rcx, 4095\n mov r8, rdi\n lea rdi, [rsi + 1]\n"
         " mov rsi, r8\n rep movsb");
FRAGMENT(copy_onto_itself, "mov ecx, 4096\n rep movsb");
FRAGMENT(compare, "mov ecx, 512\n repe cmpsq\n setne al\n movzx eax, al");

namespace {

constexpr u64 written = 0x1122334455667788;
constexpr u64 first = window;
constexpr u64 second = window + (u64{1} << 30);
u64 fresh = u64{64} << 20;  // physical; nothing has ever been written from here on

// Two addresses for a page that was never written, and the one behind it.
void map_fresh_pages(u64 flags = user_page) {
    for (u64 n = 0; n < 2; ++n, fresh += 0x1000) {
        map(first + n * 0x1000, fresh, flags);
        map(second + n * 0x1000, fresh, flags);
    }
}

Registers at_both() {
    Registers in;
    in.rdi = first, in.rsi = second, in.rcx = written;
    return in;
}

// Runs `code` on pages that have been read so often that they have frames, and on others; then
// check(outcome).
template <class Check>
void in_each_state(const char* name, const void* code, Check check) {
    Tally tally{name};
    for (const Ring ring : {Ring::Kernel, Ring::User}) {
        for (unsigned reads = 0; reads < 12; ++reads) {
            map_fresh_pages();
            for (unsigned n = 0; n < reads; ++n)
                tally.expect(*reinterpret_cast<volatile u64*>(first), 0, reads);
            const Outcome out = run(code, at_both(), ring);
            tally.expect(out.vector, done_vector, reads);
            check(out, tally);
        }
    }
}

void reads_around_writes() {
    const auto sees_the_write = [](const Outcome& out, Tally& tally) {
        tally.expect(out.registers.rax, 0, 1);
        tally.expect(out.registers.rdx, written, 2);
    };
    in_each_state("reads around a write", around_a_write, sees_the_write);
    in_each_state("reads of one check around a write", group_around_a_write, sees_the_write);
    in_each_state("reads around add to memory", modify, sees_the_write);
    in_each_state("reads around lock xadd", exchange, sees_the_write);
    in_each_state("a fresh page pushed to itself", read_and_push, sees_the_write);
    in_each_state("across two fresh pages", across, sees_the_write);
}

void loops() {
    in_each_state("a loop", loop,
                  [](const Outcome& out, Tally& tally) { tally.expect(out.registers.rax, 199 * 200 / 2); });
    in_each_state("a loop that only reads", loop_read_only,
                  [](const Outcome& out, Tally& tally) { tally.expect(out.registers.rax, 0); });
}

void strings() {
    in_each_state("rep movsb from its own target", spread, [](const Outcome&, Tally& tally) {
        for (u64 n = 0; n < 0x1000; ++n)
            tally.expect(reinterpret_cast<const volatile u8*>(first)[n], 0x5a, n);
    });
    in_each_state("rep movsb of a page onto itself", copy_onto_itself, [](const Outcome&, Tally& tally) {
        tally.expect(*reinterpret_cast<volatile u64*>(second + 0xff8), 0);
    });
    in_each_state("repe cmpsq", compare,
                  [](const Outcome& out, Tally& tally) { tally.expect(out.registers.rax, 0); });
}

// What is translated and walked through before it was ever written: `add [rax], al`, and no entry present.
void code_and_tables() {
    map_fresh_pages(kernel_page);
    u64 target = 5;
    Registers in;
    in.rax = reinterpret_cast<u64>(&target);
    reinterpret_cast<volatile u8*>(second)[0x1000] = 0xcc;
    const Outcome out = run(reinterpret_cast<const void*>(first + 0xffe), in);
    check_equal("code of zeroes ran", out.registers.rip & 0xfff, 1);
    check_equal("what it added to", target, (5 + reinterpret_cast<u64>(&target)) & 0xff);

    // One that writes INT3 in front of itself through the other address, while it executes zeroes.
    map_fresh_pages(kernel_page);
    in.rax = second + 0xfcc;
    reinterpret_cast<volatile u8*>(second)[0x1000] = 0xcc;
    const Outcome wrote = run(reinterpret_cast<const void*>(first + 0xfca), in);
    check_equal("fresh code writes itself", wrote.registers.rip, first + 0xfcd);

    entry(window + (u64{2} << 30), 2) = fresh | user_page;
    in.rdi = window + (u64{2} << 30);
    check_equal("a table of zeroes maps nothing", run(around_a_write, in).vector, 14);
}

}  // namespace

void micro_main() {
    reads_around_writes();
    loops();
    strings();
    code_and_tables();
}
