// SPDX-License-Identifier: Apache-2.0
#include "descriptors.hpp"

extern "C" {
extern softtlb::u8 vector_entries[];
extern softtlb::u8 fault_stack_top[];
}

namespace softtlb {
namespace {

constexpr u64 flat_code(unsigned level) { return 0x00af9b000000ffff | u64{level} << 45; }
constexpr u64 flat_data(unsigned level) { return 0x00cf93000000ffff | u64{level} << 45; }

u64 segments[7] = {0, flat_code(0), flat_data(0), flat_data(3), flat_code(3)};  // and the task's two

struct [[gnu::packed]] {
    u32 reserved;
    u64 rsp[3];
    u64 reserved2;
    u64 ist[7];
    u64 reserved3;
    u16 reserved4;
    u16 permissions = 104;  // none follow: processes may use no port
} task{};
static_assert(sizeof task == 104, "SDM vol. 3A figure 7-11");

struct Gate {
    u64 low;
    u64 high;
} gates[256];

struct [[gnu::packed]] Table {
    u16 limit;
    const void* base;
};

void set_gate(unsigned vector, unsigned level, unsigned stack) {
    constexpr u64 interrupt_gate = 0x8e00;
    u64 entry = reinterpret_cast<u64>(vector_entries + 16 * vector);
    gates[vector].low = (entry & 0xffff) | u64{selector::kernel_code} << 16 | u64{stack} << 32 |
                        (interrupt_gate | u64{level} << 13) << 32 | (entry >> 16 & 0xffff) << 48;
    gates[vector].high = entry >> 32;
}

}  // namespace

void load_descriptors() {
    u64 base = reinterpret_cast<u64>(&task);
    segments[5] = (sizeof task - 1) | (base & 0xffffff) << 16 | u64{0x89} << 40 | (base >> 24 & 0xff) << 56;
    segments[6] = base >> 32;
    task.ist[0] = reinterpret_cast<u64>(fault_stack_top);
    for (unsigned vector = 0; vector < 256; vector++) set_gate(vector, 0, 0);
    set_gate(vector::double_fault, 0, 1);
    set_gate(vector::system_call, 3, 0);

    Table gdt{sizeof segments - 1, segments};
    Table idt{sizeof gates - 1, gates};
    asm volatile("lgdt %0\n\tlidt %1" : : "m"(gdt), "m"(idt));
    asm volatile("ltr %w0" : : "r"(u32{selector::task}));
    asm volatile("mov %0, %%ds\n\tmov %0, %%es\n\tmov %1, %%ss"
                 :
                 : "r"(u32{0}), "r"(u32{selector::kernel_data}));
    asm volatile("push %0\n\tlea 1f(%%rip), %%rax\n\tpush %%rax\n\tlretq\n1:"
                 :
                 : "i"(selector::kernel_code)
                 : "rax", "memory");
    constexpr u32 ia32_star = 0xc0000081;
    write_msr(ia32_star, u64{selector::kernel_code} << 32);  // the miss handler's code segment
}

void set_process_stack(void* end) { task.rsp[0] = reinterpret_cast<u64>(end); }

}  // namespace softtlb
