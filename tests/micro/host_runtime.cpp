// SPDX-License-Identifier: Apache-2.0
// The runtime's functions that differential.cpp uses, on the host: the same programs run on the bare
// processor, in an ordinary process, and print the hashes that both engines must print.
//
// A fragment is entered and left by signals: the handler of SIGUSR1 returns into it, and whatever ends it
// (INT $0x81 is a #GP here) comes back as a signal with the processor's vector, error code and CR2.

#include "interruptions.hpp"
#include "runtime/paging.hpp"
#include "runtime/run.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace micro {

namespace {

constexpr std::size_t pool_size = 512 * 4096;
u8* pool = nullptr;
std::size_t pool_used = 0;
int pool_fd = -1;

Registers entry_registers;
Outcome outcome;
// The sixteen ymm registers' halves, as the signal frame's XSAVE image has them.
constexpr std::size_t xmm_offset = 160, header_offset = 512, ymm_offset = 576;
u8 xmm[256], ymm_upper[256];
mcontext_t home;

// Registers::general's order in ucontext's terms.
constexpr int registers_order[16] = {REG_R15, REG_R14, REG_R13, REG_R12, REG_R11, REG_R10, REG_R9,  REG_R8,
                                     REG_RDI, REG_RSI, REG_RBP, REG_RBX, REG_RDX, REG_RCX, REG_RAX, REG_RSP};

void enter(int, siginfo_t*, void* context) {
    mcontext_t& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
    std::memcpy(&home.gregs, &machine.gregs, sizeof home.gregs);
    for (unsigned i = 0; i < 16; ++i)
        machine.gregs[registers_order[i]] = static_cast<greg_t>(entry_registers.general(i));
    machine.gregs[REG_RIP] = static_cast<greg_t>(entry_registers.rip);
    machine.gregs[REG_EFL] = static_cast<greg_t>(entry_registers.rflags);
    auto* image = reinterpret_cast<u8*>(machine.fpregs);
    std::memcpy(image + xmm_offset, xmm, sizeof xmm);
    std::memcpy(image + ymm_offset, ymm_upper, sizeof ymm_upper);
    image[header_offset] |= 7;  // XSTATE_BV
}

void leave(int, siginfo_t*, void* context) {
    mcontext_t& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
    outcome = {};
    outcome.vector = static_cast<u64>(machine.gregs[REG_TRAPNO]);
    outcome.error = static_cast<u64>(machine.gregs[REG_ERR]);
    outcome.cr2 = static_cast<u64>(machine.gregs[REG_CR2]);
    for (unsigned i = 0; i < 16; ++i)
        outcome.registers.general(i) = static_cast<u64>(machine.gregs[registers_order[i]]);
    outcome.registers.rip = static_cast<u64>(machine.gregs[REG_RIP]);
    outcome.registers.rflags = static_cast<u64>(machine.gregs[REG_EFL]);
    if (outcome.vector == 13 && outcome.error == done_vector * 8 + 2) {
        outcome.vector = done_vector;
        outcome.error = 0;
        outcome.registers.rip += 2;
    }
    auto* image = reinterpret_cast<u8*>(machine.fpregs);
    std::memcpy(xmm, image + xmm_offset, sizeof xmm);
    std::memset(ymm_upper, 0, sizeof ymm_upper);
    if (image[header_offset] & 4) std::memcpy(ymm_upper, image + ymm_offset, sizeof ymm_upper);
    std::memcpy(&machine.gregs, &home.gregs, sizeof home.gregs);
}

void start() {
    pool_fd = memfd_create("pool", MFD_CLOEXEC);
    if (pool_fd < 0 || ftruncate(pool_fd, pool_size) != 0) std::abort();
    void* view = mmap(nullptr, pool_size, PROT_READ | PROT_WRITE, MAP_SHARED, pool_fd, 0);
    if (view == MAP_FAILED) std::abort();
    pool = static_cast<u8*>(view);
    static u8 alternate[65536];
    stack_t stack{};
    stack.ss_sp = alternate;
    stack.ss_size = sizeof alternate;
    sigaltstack(&stack, nullptr);
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    action.sa_sigaction = enter;
    sigaction(SIGUSR1, &action, nullptr);
    action.sa_sigaction = leave;
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) sigaction(signal, &action, nullptr);
}

}  // namespace

void print(const char* text) { std::fputs(text, stdout); }
void print(u64 value) { std::printf("0x%lx", value); }
void check(const char* name, bool holds) { std::printf("%s %s\n", holds ? "PASS" : "FAIL", name); }

u8* allocate_page() {
    pool_used += 4096;
    if (pool_used > pool_size) std::abort();
    return pool + pool_used - 4096;
}

void map(u64 virtual_address, u64 physical_address, u64) {
    const auto offset = static_cast<off_t>(physical_address - reinterpret_cast<u64>(pool));
    void* at = reinterpret_cast<void*>(virtual_address);
    if (mmap(at, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_FIXED, pool_fd, offset) != at)
        std::abort();
}

bool start_interruptions() { return false; }
unsigned interruptions() { return 0; }

void enable_avx() {}  // the kernel has done it

Tally::~Tally() { print_line("# ", name_, ": ", u64{cases_}, " cases, ", u64{failures_}, " failed"); }
void Tally::expect(u64 got, u64 want, u64, u64) {
    ++cases_;
    failures_ += got != want;
}

void clear_vectors() {
    std::memset(xmm, 0, sizeof xmm);
    std::memset(ymm_upper, 0, sizeof ymm_upper);
}

Outcome run(const void* code, Registers registers, Ring) {
    entry_registers = registers;
    entry_registers.rip = address(code) + user_alias;
    raise(SIGUSR1);
    return outcome;
}

}  // namespace micro

int main() {
    micro::start();
    micro_main();
    micro::print_line("END");
}
