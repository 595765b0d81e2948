// SPDX-License-Identifier: Apache-2.0
// Loops that run often enough to become traces: rounds that share checks, arrays that cross pages, ways out
// in every round, calls within, writes behind a way out, code that rewrites itself, faults in a late round.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

// Sums rcx quadwords from rdi, by index, by pointer, backward, and by two pointers of one value.
FRAGMENT(by_index,
         "xor eax, eax\n xor edx, edx\n 1: add rax, [rdi + rdx*8]\n inc rdx\n cmp rdx, rcx\n jne 1b");
FRAGMENT(by_pointer, "xor eax, eax\n 1: add rax, [rdi]\n add rdi, 8\n dec rcx\n jne 1b");
FRAGMENT(backward, "xor eax, eax\n 1: add rax, [rdi + rcx*8 - 8]\n sub rcx, 1\n jne 1b");
FRAGMENT(
    by_copies,
    "xor eax, eax\n 1: mov rbx, rdi\n lea rsi, [rdi + 8]\n add rax, [rbx]\n mov rbp, rsi\n add rax, [rbp]\n"
    " lea rdi, [rsi + 8]\n sub rcx, 2\n jne 1b");
// Through r10 and r11, which have no register of their own.
FRAGMENT(by_home,
         "xor r10d, r10d\n mov r11, rdi\n 1: add r10, [r11]\n add r11, 8\n dec rcx\n jne 1b\n mov rax, r10");
FRAGMENT(home_result,
         "xor r11d, r11d\n xor edx, edx\n 1: add r11, [rdi + rdx*8]\n inc rdx\n cmp rdx, rcx\n jne 1b\n mov "
         "rax, r11");
// Copies rcx bytes from rsi to rdi.
FRAGMENT(copy_bytes, "1: mov al, [rsi]\n mov [rdi], al\n inc rsi\n inc rdi\n dec rcx\n jne 1b");
FRAGMENT(copy_words,
         "xor edx, edx\n 1: movzx eax, word ptr [rsi + rdx*2]\n mov [rdi + rdx*2], ax\n add rdx, 1\n cmp "
         "rdx, rcx\n jb 1b");
FRAGMENT(high_bytes, "1: mov ah, [rsi]\n mov [rdi], ah\n inc rsi\n inc rdi\n dec rcx\n jne 1b");
// Counts those of rcx bytes from rsi that are odd, with a jump each time, and writes only for 7.
FRAGMENT(
    branches,
    "xor eax, eax\n 1: movzx edx, byte ptr [rsi]\n test dl, 1\n je 2f\n inc rax\n 2: cmp dl, 7\n jne 3f\n"
    " mov byte ptr [rsi], 8\n 3: inc rsi\n dec rcx\n jne 1b");
FRAGMENT(
    nested,
    "xor eax, eax\n mov ebx, 50\n 1: mov rdx, rcx\n mov rsi, rdi\n 2: add rax, [rsi]\n add rsi, 8\n dec rdx\n"
    " jne 2b\n dec ebx\n jne 1b");
FRAGMENT(calls,
         "xor eax, eax\n jmp 1f\n 5: push rdx\n mov rdx, [rdi + rcx*8 - 8]\n add rax, rdx\n pop rdx\n ret\n"
         "1: call 5b\n dec rcx\n jne 1b");
// A callee that does not return to its caller each fourth time.
FRAGMENT(odd_returns,
         "xor eax, eax\n lea rbx, [rip + 2f]\n jmp 1f\n 5: test cl, 3\n jne 6f\n mov [rsp], rbx\n 6: ret 0\n"
         "1: call 5b\n add rax, 1\n 2: add rax, 16\n dec rcx\n jne 1b");
// CF is carried round by loops that leave it alone.
FRAGMENT(carry, "xor eax, eax\n stc\n 1: adc rax, [rdi]\n lea rdi, [rdi + 8]\n dec rcx\n jne 1b\n setc cl");
// The immediate of its own ADD grows in each round.
FRAGMENT(rewrites,
         "xor eax, eax\n lea rbx, [rip + 2f - 4]\n 1: add eax, 1\n .byte 0x05\n .long 0\n 2: inc dword ptr "
         "[rbx]\n dec rcx\n jne 1b");

namespace {

constexpr u64 count = 1500;  // quadwords: three pages
u64 numbers[count + 8];

u64 sum_of(u64 n) {
    u64 sum = 0;
    for (u64 i = 0; i < n; ++i) sum += numbers[i];
    return sum;
}

void fill() {
    u64 state = 1;
    for (u64& number : numbers) number = state = state * 6364136223846793005ull + 1442695040888963407ull;
}

void sums() {
    struct {
        const char* name;
        const void* code;
    } const loops[] = {{"by index", by_index},   {"by pointer", by_pointer}, {"backward", backward},
                       {"by copies", by_copies}, {"through r11", by_home},   {"into r11", home_result},
                       {"with calls", calls}};
    for (const auto& loop : loops) {
        // Misaligned by one: accesses cross the borders themselves.
        for (u64 n : {u64{2}, u64{40}, count}) {
            Registers in;
            in.rdi = address(numbers), in.rcx = n;
            check_equal(loop.name, run(loop.code, in).registers.rax, sum_of(n));
        }
    }
    u8* bytes = reinterpret_cast<u8*>(numbers);
    u64 expected = 0;
    for (u64 i = 0; i < count; ++i) {
        u64 number = 0;
        for (unsigned n = 0; n < 8; ++n) number |= u64{bytes[i * 8 + 3 + n]} << 8 * n;
        expected += number;
    }
    Registers in;
    in.rdi = address(bytes + 3), in.rcx = count;
    check_equal("misaligned", run(by_index, in).registers.rax, expected);
    in.rcx = 100;
    check_equal("nested",
                run(nested,
                    [&] {
                        Registers r;
                        r.rdi = address(numbers), r.rcx = 100;
                        return r;
                    }())
                    .registers.rax,
                50 * sum_of(100));
}

void carries() {
    u64 sum = 0;
    u64 carry_bit = 1;
    for (u64 i = 0; i < count; ++i) {
        const u64 with = sum + numbers[i];
        const u64 next = with + carry_bit;
        carry_bit = (with < sum) | (next < with);
        sum = next;
    }
    Registers in;
    in.rdi = address(numbers), in.rcx = count;
    const Outcome out = run(carry, in);
    check_equal("carried sum", out.registers.rax, sum);
    check_equal("last carry", out.registers.rcx & 0xff, carry_bit);
}

u8 source[9000], target[9000];

void copies() {
    for (const void* code : {copy_bytes, copy_words, high_bytes}) {
        for (u64 i = 0; i < sizeof source; ++i) source[i] = static_cast<u8>(i * 7 + i / 256), target[i] = 0;
        Registers in;
        in.rsi = address(source) + 1, in.rdi = address(target) + 2;
        in.rcx = code == copy_words ? 4000 : 8000;
        expect_done("copy", run(code, in));
        Tally tally{"copied byte"};
        for (u64 i = 0; i < 8000; ++i) tally.expect(target[i + 2], source[i + 1]);
        check("nothing beside the copy", target[0] == 0 && target[1] == 0 && target[8002] == 0);
    }
}

// On a page that may only be read, the write for 7 must not matter as long as there is no 7.
void writes_that_never_come() {
    u8* page = allocate_page();
    u64 odd = 0;
    for (u64 i = 0; i < 4096; ++i) {
        page[i] = static_cast<u8>(i * 13);
        if (page[i] == 7) page[i] = 9;
        odd += page[i] & 1;
    }
    map(window, page, PageEntry::P);
    Registers in;
    in.rsi = window, in.rcx = 4096;
    check_equal("branches on a page for reading", run(branches, in).registers.rax, odd);
    page[4000] = 7;
    in.rcx = 4096;
    const Outcome out = run(branches, in);
    check("the write faults in its round", out.vector == static_cast<u64>(Vector::PF));
    check_equal("error code", out.error, PageFault::P | PageFault::W);
    check_equal("rsi", out.registers.rsi, window + 4000);
    check_equal("rcx", out.registers.rcx, 96);
    check_equal("cr2", out.cr2, window + 4000);
    // The page behind is absent.
    in.rdi = window, in.rcx = 600;
    const Outcome absent = run(by_pointer, in);
    check_equal("absent page", absent.cr2, window + 4096);
    check_equal("its round", absent.registers.rcx, 600 - 512);
    check_equal("its pointer", absent.registers.rdi, window + 4096);
}

void ways_back() {
    Registers in;
    in.rcx = 400;
    check_equal("returns elsewhere", run(odd_returns, in).registers.rax, 400 * 16 + 300);
    in.rcx = 300;
    check_equal("rewrites itself", run(rewrites, in).registers.rax, 300 + 299 * 300 / 2);
}

}  // namespace

void micro_main() {
    fill();
    sums();
    carries();
    copies();
    writes_that_never_come();
    ways_back();
}
