// SPDX-License-Identifier: Apache-2.0
#include "bare.hpp"
#include "base/check.hpp"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

namespace undercroft::differential {
namespace {

// At bare_frame, so that code without a free register reaches it.
struct BareFrame {
    std::array<std::uint64_t, 16> gpr;
    std::uint64_t rip;
    std::uint64_t rflags;
    std::uint64_t fs, gs;
    std::uint64_t host_rsp;
    std::uint64_t host_fs, host_gs;
    std::uint64_t inside;
    alignas(64) std::array<std::byte, 4096 - 192> xsave;
};
static_assert(offsetof(BareFrame, rip) == 0x80 && offsetof(BareFrame, rflags) == 0x88 &&
                  offsetof(BareFrame, fs) == 0x90 && offsetof(BareFrame, gs) == 0x98 &&
                  offsetof(BareFrame, host_rsp) == 0xa0 && offsetof(BareFrame, host_fs) == 0xa8 &&
                  offsetof(BareFrame, host_gs) == 0xb0 && offsetof(BareFrame, inside) == 0xb8 &&
                  offsetof(BareFrame, xsave) == 0xc0 && bare_frame == 0x6b7d1000,
              "the assembly below addresses these fields");

asm(R"(
    .text
    .type undercroft_bare_enter, @function
undercroft_bare_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, 0x6b7d10a0
    rdfsbase %rax
    mov %rax, 0x6b7d10a8
    rdgsbase %rax
    mov %rax, 0x6b7d10b0
    movq $1, 0x6b7d10b8
    mov $7, %eax
    xor %edx, %edx
    mov $0x6b7d10c0, %ecx
    xrstor64 (%rcx)
    mov 0x6b7d1090, %rax
    wrfsbase %rax
    mov 0x6b7d1098, %rax
    wrgsbase %rax
    push 0x6b7d1088
    popfq
    mov 0x6b7d1000, %rax
    mov 0x6b7d1008, %rcx
    mov 0x6b7d1010, %rdx
    mov 0x6b7d1018, %rbx
    mov 0x6b7d1020, %rsp
    mov 0x6b7d1028, %rbp
    mov 0x6b7d1030, %rsi
    mov 0x6b7d1038, %rdi
    mov 0x6b7d1040, %r8
    mov 0x6b7d1048, %r9
    mov 0x6b7d1050, %r10
    mov 0x6b7d1058, %r11
    mov 0x6b7d1060, %r12
    mov 0x6b7d1068, %r13
    mov 0x6b7d1070, %r14
    mov 0x6b7d1078, %r15
    jmp *0x6b7d1080

    .type undercroft_bare_exit, @function
undercroft_bare_exit:
    mov %rax, 0x6b7d1000
    mov %rcx, 0x6b7d1008
    mov %rdx, 0x6b7d1010
    mov %rbx, 0x6b7d1018
    mov %rsp, 0x6b7d1020
    mov %rbp, 0x6b7d1028
    mov %rsi, 0x6b7d1030
    mov %rdi, 0x6b7d1038
    mov %r8, 0x6b7d1040
    mov %r9, 0x6b7d1048
    mov %r10, 0x6b7d1050
    mov %r11, 0x6b7d1058
    mov %r12, 0x6b7d1060
    mov %r13, 0x6b7d1068
    mov %r14, 0x6b7d1070
    mov %r15, 0x6b7d1078
    mov 0x6b7d10a0, %rsp
    pushfq
    pop 0x6b7d1088
    push $0x202
    popfq
    rdfsbase %rax
    mov %rax, 0x6b7d1090
    rdgsbase %rax
    mov %rax, 0x6b7d1098
    mov $7, %eax
    xor %edx, %edx
    mov $0x6b7d10c0, %ecx
    xsave64 (%rcx)
    mov 0x6b7d10a8, %rax
    wrfsbase %rax
    mov 0x6b7d10b0, %rax
    wrgsbase %rax
    xor %eax, %eax
undercroft_bare_leave:
    movq $0, 0x6b7d10b8
    fninit
    vzeroupper
    push $0x1f80
    ldmxcsr (%rsp)
    pop %rcx
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    .type undercroft_bare_signal, @function
undercroft_bare_signal:
    push $0x202
    popfq
    rdfsbase %rax
    rdgsbase %rcx
    mov %rax, 0x6b7d1090
    mov %rcx, 0x6b7d1098
    cmpq $0, 0x6b7d10b8
    je undercroft_bare_lost
    mov 0x6b7d10a8, %rax
    wrfsbase %rax
    mov 0x6b7d10b0, %rax
    wrgsbase %rax
    mov %rdx, %rax
    mov 0x6b7d10a0, %rsp
    jmp undercroft_bare_leave
)");

// Registers are where bare_frame says. Zero: it came to the exit; else the context of its signal.
extern "C" ucontext_t* undercroft_bare_enter();
extern "C" void undercroft_bare_exit();
extern "C" void undercroft_bare_signal(int, siginfo_t*, void*);
extern "C" [[noreturn]] void undercroft_bare_lost() {
    ::syscall(SYS_exit_group, 3);
    __builtin_trap();
}

BareFrame& frame() { return *reinterpret_cast<BareFrame*>(bare_frame); }

void map(std::uint64_t address, std::uint64_t size, int protection, int fd, std::uint64_t offset) {
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    void* at = ::mmap(reinterpret_cast<void*>(address), size, protection,
                      flags | MAP_FIXED_NOREPLACE | MAP_POPULATE, fd, static_cast<off_t>(offset));
    CHECK(at == reinterpret_cast<void*>(address), "the sequences' addresses are taken");
}

// movl $exit, frame.rip, in halves; jmp *bare_exit
void make_exit(std::uint64_t address) {
    map(address, page, PROT_READ | PROT_WRITE, -1, 0);
    std::uint8_t code[40] = {0xc7, 0x04, 0x25, 0x80, 0x10, 0x7d, 0x6b, 0, 0,    0,    0, 0xc7, 0x04, 0x25,
                             0x84, 0x10, 0x7d, 0x6b, 0,    0,    0,    0, 0xff, 0x25, 4, 0,    0,    0};
    std::memcpy(code + 7, &address, 4);
    std::uint64_t high = address >> 32;
    std::memcpy(code + 18, &high, 4);
    auto target = reinterpret_cast<std::uint64_t>(&undercroft_bare_exit);
    std::memcpy(code + 32, &target, 8);  // aligned, as RFLAGS.AC may be set
    std::memcpy(reinterpret_cast<void*>(address), code, sizeof code);
    CHECK(::mprotect(reinterpret_cast<void*>(address), page, PROT_READ | PROT_EXEC) == 0);
}

constexpr std::array<int, 16> context_index{REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                            REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                            REG_R12, REG_R13, REG_R14, REG_R15};

void take_state(const ucontext_t& context, Ending& result) {
    const auto& registers = context.uc_mcontext.gregs;
    auto value = [&](int index) { return static_cast<std::uint64_t>(registers[index]); };
    result.vector = static_cast<std::uint32_t>(value(REG_TRAPNO));
    result.error = static_cast<std::uint32_t>(value(REG_ERR));
    result.address = result.vector == 14 ? value(REG_CR2) : 0;
    for (std::size_t n = 0; n < 16; ++n) result.state.gpr[n] = value(context_index[n]);
    result.state.rip = value(REG_RIP);
    result.state.rflags = value(REG_EFL);
    std::memcpy(result.state.xsave.data(), context.uc_mcontext.fpregs, result.state.xsave.size());
}

}  // namespace

BareChild::BareChild(const Images& images) : images_{images} {
    int fd = ::memfd_create("differential", MFD_CLOEXEC);
    CHECK(fd >= 0 && ::ftruncate(fd, frame_count * page) == 0);
    void* all = ::mmap(nullptr, frame_count * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    CHECK(all != MAP_FAILED);
    frames_ = static_cast<std::byte*>(all);
    for (const Place& place : places) {
        map(place.code, code_frames * page, PROT_READ | PROT_WRITE | PROT_EXEC, fd, 0);
        make_exit(place.exit());
        for (const DataPage& each : data_pages) {
            int protection = each.rights == Rights::Write ? PROT_READ | PROT_WRITE : PROT_READ;
            if (place.has_data) map(place.moved(each.address), page, protection, fd, each.frame * page);
        }
    }
    map(bare_frame, sizeof(BareFrame), PROT_READ | PROT_WRITE, -1, 0);

    static std::array<std::byte, 1 << 16> signal_stack;
    stack_t alternate{.ss_sp = signal_stack.data(), .ss_flags = 0, .ss_size = signal_stack.size()};
    CHECK(::sigaltstack(&alternate, nullptr) == 0);
    struct sigaction action {};
    action.sa_sigaction = undercroft_bare_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP})
        CHECK(::sigaction(signal, &action, nullptr) == 0);
}

void BareChild::confine() {
    constexpr auto deny = SECCOMP_RET_KILL_PROCESS;
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, deny),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, instruction_pointer) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, deny),
    };
    sock_fprog program{.len = sizeof filter / sizeof filter[0], .filter = filter};
    CHECK(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp");
}

void BareChild::run(const Sequence& sequence, Ending& result) {
    for (unsigned n = 0; n < frame_count; ++n) images_.prepare(sequence, n, frames_ + n * page);
    BareFrame& state = frame();
    state.gpr = sequence.initial.gpr;
    state.rip = sequence.initial.rip;
    state.rflags = sequence.initial.rflags;
    state.fs = sequence.initial.fs;
    state.gs = sequence.initial.gs;
    std::memcpy(state.xsave.data(), sequence.initial.xsave.data(), sequence.initial.xsave.size());
    const ucontext_t* context = undercroft_bare_enter();
    result = Ending{};
    if (context != nullptr) {
        take_state(*context, result);
    } else {
        result.vector = no_fault;
        result.state.gpr = state.gpr;
        result.state.rip = state.rip;
        result.state.rflags = state.rflags;
        std::memcpy(result.state.xsave.data(), state.xsave.data(), result.state.xsave.size());
    }
    result.state.fs = state.fs;
    result.state.gs = state.gs;
    for (unsigned n = 0; n < frame_count; ++n) result.hash[n] = hash_frame(sequence, n, frames_ + n * page);
}

}  // namespace undercroft::differential
