// SPDX-License-Identifier: Apache-2.0
// Returns and branches that fail half way leave everything as it was: IRET on bad stacks, SYSRET and near
// branches to addresses that are not canonical; SYSRET and IRET to compatibility mode; null selectors.
//
// Other IRETs and system calls: system_instructions.cpp. Source: Intel SDM vol. 2 IRET, SYSRET, CALL, RET;
// AMD APM vol. 3. Where vendors differ (SYSRET to a non-canonical address; a processor of AMD's or Intel's,
// both checked on real ones: near branches), the expectation follows the vendor that CPUID shows.

#include "runtime/paging.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(interrupt_return, AT "iretq");
FRAGMENT(system_return, AT "sysretq");
FRAGMENT(system_return32, AT ".byte 0x0f, 0x07");  // clang 14 has no name for it
FRAGMENT(call_register, AT "call rax");
FRAGMENT(call_memory, AT "call [rdi]");
FRAGMENT(jump_register, AT "jmp rax");
FRAGMENT(jump_memory, AT "jmp [rdi]");
FRAGMENT(return_near, AT "ret");
FRAGMENT(return_releasing, AT "ret 32");
FRAGMENT(load_fs, "mov fs, ecx");
FRAGMENT(load_gs, "mov gs, ecx");
FRAGMENT(load_es, "mov es, ecx\n mov ax, es");
FRAGMENT(end32, "int 0x81");

namespace {

constexpr u64 not_canonical = 1ull << 47;
bool is_amd() { return cpuid(0).ecx == 0x444d4163; }

Registers inputs() {
    Registers in;
    for (unsigned i = 0; i < 15; ++i) in.general(i) = 0x1111111111111111 * (i + 1ull);
    return in;
}

void unchanged(const char* name, const Outcome& out, const Registers& in) {
    check(name, same_registers(out.registers, in));
}

void bad_stacks() {
    u64* page = reinterpret_cast<u64*>(allocate_page());
    map(window, page, kernel_page);
    unmap(window + 0x1000);
    const u64 end = address(interrupt_return_at) + 2;
    // The frame's first words lie in the page, the others behind it.
    for (unsigned present = 0; present < 5; ++present) {
        Registers in = inputs();
        in.rsp = window + 0x1000 - 8 * present;
        const u64 words[5] = {end, Selector::KernelCode, RFLAGS::Fixed | RFLAGS::CF, kernel_fragment_stack(),
                              Selector::KernelData};
        for (unsigned i = 0; i < present; ++i) page[512 - present + i] = words[i];
        const Outcome out = run(interrupt_return, in);
        expect_trap("iret with half a frame", out, Vector::PF, 0, interrupt_return_at);
        unchanged("iret with half a frame changes nothing", out, in);
        check_equal("iret with half a frame: cr2", out.cr2, window + 0x1000);
        check_equal("iret with half a frame: flags", out.registers.rflags & RFLAGS::CF, 0);
    }
    Registers in = inputs();
    in.rsp = not_canonical;
    const Outcome out = run(interrupt_return, in);
    expect_trap("iret with rsp not canonical", out, Vector::SS, 0, interrupt_return_at);
    unchanged("iret with rsp not canonical changes nothing", out, in);
    map(window, page, kernel_page & ~PageEntry::P);
    in.rsp = window + 0x800;
    expect_page_fault("iret with no frame", run(interrupt_return, in), 0, window + 0x800,
                      interrupt_return_at);
    unmap(window);
}

void system_returns() {
    Registers in = inputs();
    in.rcx = not_canonical, in.r11 = RFLAGS::Fixed, in.rsp = user_fragment_stack();
    Outcome out = run(system_return, in);
    check_equal("sysret not canonical: #GP", out.vector, static_cast<u64>(Vector::GP));
    check_equal("sysret not canonical: error code", out.error, 0);
    if (is_amd()) {  // at the target
        check_equal("sysret not canonical: rip", out.registers.rip, not_canonical);
        check_equal("sysret not canonical: cs", out.cs, Selector::UserCode);
    } else {
        check_equal("sysret not canonical: rip", out.registers.rip, address(system_return_at));
        check_equal("sysret not canonical: cs", out.cs, Selector::KernelCode);
        unchanged("sysret not canonical changes nothing", out, in);
    }
    // To compatibility mode; the code lies below 4 GiB in the identity map only, which is the kernel's.
    in.rcx = 0xffffffff00000000 | address(end32);
    out = run(system_return32, in);
    check_equal("sysret to 32 bits: cs", out.cs, Selector::UserCode32);
    check_equal("sysret to 32 bits: rip is truncated", out.registers.rip, address(end32));
    check_equal("sysret to 32 bits: fetches in user mode", out.error & 5, 5);
}

// AMD and Intel alike fault at the branch, with nothing done.
void near_branches() {
    static u64 target = not_canonical;
    static u64 stack[16];
    Registers in = inputs();
    in.rax = not_canonical, in.rdi = address(&target), in.rsp = address(stack + 8);
    const auto refused = [&](const char* name, const void* code, const void* at) {
        stack[7] = 0x5a5a, stack[8] = not_canonical;
        const Outcome out = run(code, in);
        expect_trap(name, out, Vector::GP, 0, at);
        unchanged(name, out, in);
    };
    refused("jmp rax", jump_register, jump_register_at);
    refused("jmp [rdi]", jump_memory, jump_memory_at);
    refused("call rax", call_register, call_register_at);
    refused("call [rdi]", call_memory, call_memory_at);
    refused("ret", return_near, return_near_at);
    refused("ret 32", return_releasing, return_releasing_at);
}

// What docs/machine.md says of 0x80000021.EAX[6]: a null selector clears the base.
void null_selectors() {
    Registers in;
    for (const u64 selector : {0u, 1u, 2u, 3u}) {
        in.rcx = selector;
        wrmsr(Msr::IA32_FS_BASE, 0x1234000);
        wrmsr(Msr::IA32_GS_BASE, 0x5678000);
        expect_done("mov fs, null", run(load_fs, in));
        expect_done("mov gs, null", run(load_gs, in));
        check_equal("mov fs, null: base", rdmsr(Msr::IA32_FS_BASE), 0);
        check_equal("mov gs, null: base", rdmsr(Msr::IA32_GS_BASE), 0);
        check_equal("mov es, null", run(load_es, in).registers.rax & 0xffff, selector);
    }
    in.rcx = Selector::KernelData;
    wrmsr(Msr::IA32_FS_BASE, 0x1234000);
    run(load_fs, in);
    check_equal("mov fs, flat data: base", rdmsr(Msr::IA32_FS_BASE), 0);
    in.rcx = 0;
    run(load_es, in);
}

}  // namespace

void micro_main() {
    bad_stacks();
    system_returns();
    near_branches();
    null_selectors();
}
