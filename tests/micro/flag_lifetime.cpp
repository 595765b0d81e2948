// SPDX-License-Identifier: Apache-2.0
// Arithmetic flags stay what they are across every instruction that does not write them: memory accesses,
// branches, calls, strings, privileged instructions, device accesses, faults and interrupts.
//
// Each carrier runs alone (flags come in by IRET), after an ADD in the same block, and before consumers
// there.

#include "flag_model.hpp"
#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

// rdi: 512 bytes of memory; rsi: the same; rbx: scratch; r10, r11: values that must stay.
#define CARRIER(name, ...)                                                                     \
    FRAGMENT(name##_alone, __VA_ARGS__);                                                       \
    FRAGMENT(name##_in_block, "add rax, r8\n" __VA_ARGS__);                                    \
    FRAGMENT(name##_consumed, "add rax, r8\n" __VA_ARGS__                                      \
                              "\n pushfq\n pop r15\n seto r14b\n setc r13b\n cmovp rbp, r12\n" \
                              "js 1f\n mov r9d, 1\n jmp 2f\n 1: mov r9d, 2\n 2: adc r8, 0\n")

CARRIER(load, "mov rbx, [rdi + 8]");
CARRIER(store, "mov [rdi + 8], rbx");
CARRIER(load_many,
        "mov rbx, [rdi]\n mov rbx, [rdi + 128]\n movzx ebx, byte ptr [rsi + 3]\n movsxd rbx, dword ptr [rdi "
        "+ 4]");
CARRIER(r10_r11_memory, "mov [rdi], r10\n mov [rdi + 8], r11\n mov r10, [rdi]\n mov r11, [rdi + 8]");
CARRIER(push_pop, "push rbx\n push r10\n pop r10\n pop rbx");
CARRIER(push_memory, "push qword ptr [rdi]\n pop qword ptr [rdi + 16]");
CARRIER(call_return, "call 3f\n jmp 4f\n 3: ret\n 4:");
CARRIER(call_register, "lea rbx, [rip + 3f]\n call rbx\n jmp 4f\n 3: ret\n 4:");
CARRIER(jump_register, "lea rbx, [rip + 3f]\n jmp rbx\n nop\n 3:");
CARRIER(jump_memory, "lea rbx, [rip + 3f]\n mov [rdi], rbx\n jmp qword ptr [rdi]\n nop\n 3:");
CARRIER(conditional, "jo 3f\n 3: jc 4f\n 4: jp 5f\n 5: jz 6f\n 6: js 7f\n 7:");
CARRIER(conditional_moves, "cmovo rbx, [rdi]\n cmovc rbx, [rdi]\n setz byte ptr [rdi]\n sets bl");
CARRIER(not_memory, "not qword ptr [rdi]\n not ebx");
CARRIER(exchange, "xchg rbx, [rdi]\n xchg rbx, [rdi]\n bswap rbx");
CARRIER(frames, "enter 32, 0\n mov [rsp], rbx\n leave");
CARRIER(shift_by_zero, "shl rbx, 64\n shr qword ptr [rdi], cl\n rcl ebx, cl");
CARRIER(flagless_bmi,
        "rorx rbx, [rdi], 9\n shlx rbx, [rdi], rbx\n mulx rbx, rbx, [rdi]\n pdep rbx, rbx, [rdi]");
CARRIER(vectors, "movdqu xmm0, [rdi]\n paddd xmm0, xmm0\n movups [rdi + 64], xmm0");
CARRIER(strings,
        "cld\n lodsb\n lodsq\n movsb\n movsq\n stosd\n mov ecx, 17\n rep movsb\n mov ecx, 5\n rep stosq");
CARRIER(translate_byte, "mov rbx, rdi\n xlatb");
CARRIER(flags_through_stack, "pushfq\n popfq");
CARRIER(flags_through_ah, "seto bl\n lahf\n mov ecx, 0\n add bl, 0x7f\n sahf");
CARRIER(interrupt_flag, "cli\n nop\n sti\n nop\n cli");
CARRIER(counted_loop, "mov ecx, 5\n 3: loop 3b\n jrcxz 4f\n nop\n 4:");
CARRIER(identify, "mov eax, 0\n cpuid");
CARRIER(time_stamp, "rdtsc\n lfence");
CARRIER(msr, "mov ecx, 0xc0000100\n rdmsr\n wrmsr");
CARRIER(control, "mov rbx, cr3\n mov cr3, rbx\n mov rbx, cr2\n mov cr2, rbx\n mov rbx, cr0\n mov cr0, rbx");
CARRIER(invalidate, "invlpg [rdi]\n clts\n wbinvd");
CARRIER(swap_gs, "swapgs\n mov rbx, gs:[rdi]\n swapgs");
CARRIER(port, "in al, 0x61\n mov edx, 0x3ff\n mov al, 0\n out dx, al");
CARRIER(device_memory, "mov ebx, 0xfee00080\n mov edx, [rbx]\n mov [rbx], edx");
CARRIER(software_interrupt, "int 0x82");
CARRIER(page_fault, "mov rbx, [rdx]");
CARRIER(divide_fault, "mov ebx, 0\n mov edx, 0\n div ebx");
CARRIER(segments, "mov ebx, ds\n mov ds, ebx\n mov ebx, 0x18\n mov ss, ebx\n nop\n lea rbx, [rdi]");
CARRIER(prefetch, "prefetcht0 [rdi]\n clflush [rdi]\n movnti [rdi], rbx\n sfence\n pause");

namespace {

alignas(64) u64 memory[512];
constexpr u64 lazy_page = window + 0x5000;

constexpr struct {
    u64 a, b;
} pairs[] = {{1, 1},          {0, 0},          {~0ull, 1},   {1ull << 63, 1ull << 63},
             {~0ull >> 1, 1}, {1ull << 63, 1}, {0x10, 0x3},  {0x0f, 0x01},
             {~0ull, ~0ull},  {~0ull, 0x10},   {0x7f, 0x80}, {1ull << 63, ~0ull}};

void map_lazily(Frame& frame) {
    if (read_cr2() != lazy_page + 24) print_line("FAIL address of the carried page fault ", read_cr2());
    map(lazy_page, memory, kernel_page);
    frame.gpr[12] = lazy_page + 24;  // rdx, as it was
}

void ignore(Frame&) {}
void skip_divide(Frame& frame) { frame.rip += 2; }

void test(const char* name, const void* alone, const void* in_block, const void* consumed) {
    Tally tally{name};
    for (const auto& pair : pairs) {
        Registers in;
        in.rax = pair.a, in.r8 = pair.b;
        in.rdi = in.rsi = address(memory), in.rdx = lazy_page + 24;
        in.r10 = 0x1010101010101010, in.r11 = 0x1111111111111111, in.r12 = 0x1212121212121212;
        const u64 flags = add_model(pair.a, pair.b, 0, 64).flags;

        in.rflags = RFLAGS::Fixed | flags;
        unmap(lazy_page);
        Outcome out = run(alone, in);
        tally.expect(out.vector, done_vector, pair.a, pair.b);
        tally.expect(out.registers.rflags & arithmetic, flags, pair.a, pair.b);
        tally.expect(out.registers.r10, in.r10, pair.a, pair.b);
        tally.expect(out.registers.r11, in.r11, pair.a, pair.b);
        tally.expect(out.registers.rsp, kernel_fragment_stack(), pair.a, pair.b);

        in.rflags = RFLAGS::Fixed | (flags ^ arithmetic);
        unmap(lazy_page);
        out = run(in_block, in);
        tally.expect(out.vector, done_vector, pair.a, pair.b);
        tally.expect(out.registers.rflags & arithmetic, flags, pair.a, pair.b);
        tally.expect(out.registers.r10, in.r10, pair.a, pair.b);
        tally.expect(out.registers.r11, in.r11, pair.a, pair.b);

        unmap(lazy_page);
        out = run(consumed, in);
        tally.expect(out.vector, done_vector, pair.a, pair.b);
        tally.expect(out.registers.r15 & arithmetic, flags, pair.a, pair.b);
        tally.expect(out.registers.r14 & 0xff, (flags & RFLAGS::OF) != 0, pair.a, pair.b);
        tally.expect(out.registers.r13 & 0xff, flags & RFLAGS::CF, pair.a, pair.b);
        tally.expect(out.registers.rbp, flags & RFLAGS::PF ? in.r12 : 0, pair.a, pair.b);
        tally.expect(out.registers.r9, flags & RFLAGS::SF ? 2 : 1, pair.a, pair.b);
        tally.expect(out.registers.r8, pair.b + (flags & RFLAGS::CF), pair.a, pair.b);
    }
}

}  // namespace

#define TEST(name) test("flags across " #name, name##_alone, name##_in_block, name##_consumed)

void micro_main() {
    set_handler(static_cast<u64>(Vector::PF), map_lazily);
    set_handler(static_cast<u64>(Vector::DE), skip_divide);
    set_handler(0x82, ignore);
    TEST(load), TEST(store), TEST(load_many), TEST(r10_r11_memory), TEST(push_pop), TEST(push_memory);
    TEST(call_return), TEST(call_register), TEST(jump_register), TEST(jump_memory), TEST(conditional);
    TEST(conditional_moves), TEST(not_memory), TEST(exchange), TEST(frames), TEST(shift_by_zero),
        TEST(vectors);
    if (cpuid(7).ebx >> 8 & 1)
        TEST(flagless_bmi);
    else
        skip("flags across flagless_bmi");
    TEST(strings), TEST(translate_byte), TEST(flags_through_stack), TEST(flags_through_ah),
        TEST(interrupt_flag);
    TEST(counted_loop), TEST(identify), TEST(time_stamp), TEST(msr), TEST(control), TEST(invalidate),
        TEST(swap_gs);
    TEST(port), TEST(device_memory), TEST(software_interrupt), TEST(page_fault), TEST(divide_fault),
        TEST(segments);
    TEST(prefetch);
}
