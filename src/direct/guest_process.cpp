// SPDX-License-Identifier: Apache-2.0
#include "direct/guest_process.hpp"

#include "base/check.hpp"
#include "direct/program.h"

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>

namespace undercroft {

bool GuestProcess::is_reserved(std::uint64_t address) noexcept {
    return address - DIRECT_PROGRAM_ADDRESS < DIRECT_END_ADDRESS - DIRECT_PROGRAM_ADDRESS;
}

bool GuestProcess::has_room_at(std::uint64_t address) noexcept {
    constexpr std::uint64_t host_minimum = 65536;  // vm.mmap_min_addr
    return address >= host_minimum && address < DIRECT_USER_END && !is_reserved(address);
}

// Of what can fail, for want of a process to do it to.
bool GuestProcess::trace(__ptrace_request request, std::uint64_t address, void* data) {
    if (lost_) return false;
    if (::ptrace(request, pid_, address, data) == 0) return true;
    if (errno == ESRCH) lost_ = true;
    return false;
}

int GuestProcess::wait_for_stop() {
    int status = 0;
    while (::waitpid(pid_, &status, __WALL) < 0) CHECK(errno == EINTR, "no guest process to wait for");
    if (WIFSTOPPED(status)) return WSTOPSIG(status);
    lost_ = true;
    pid_ = 0;  // there is none of this number any more
    return 0;
}

bool GuestProcess::add(const std::uint64_t (&call)[7]) {
    if (calls_ == DIRECT_LIST_SIZE / DIRECT_CALL_SIZE && !apply()) return false;
    std::memcpy(list_.data() + calls_++ * DIRECT_CALL_SIZE, call, sizeof call);
    return true;
}

bool GuestProcess::map(const Pages& pages) {
    std::uint64_t protection =
        PROT_READ | (pages.writable ? PROT_WRITE : 0) | (pages.executable ? PROT_EXEC : 0);
    std::uint64_t file = pages.patched ? DIRECT_PATCHES_FILE : DIRECT_FRAMES_FILE;
    return add({SYS_mmap, pages.start, pages.length, protection, MAP_SHARED | MAP_FIXED | MAP_POPULATE, file,
                pages.offset});
}

bool GuestProcess::unmap(std::uint64_t start, std::uint64_t length) {
    return add({SYS_munmap, start, length, 0, 0, 0, 0});
}

bool GuestProcess::apply() {
    if (calls_ == 0 || do_calls()) return !lost_;
    unmap_all();
    return false;
}

bool GuestProcess::do_calls() {
    user_regs_struct registers{};
    registers.rip = work_;
    registers.rbx = DIRECT_LIST_ADDRESS;
    registers.rbp = calls_;
    calls_ = 0;
    run_program(registers, work_done_);
    return !lost_ && registers_.rbp == 0;
}

// Until the INT3 before that address. Nothing else of the registers is the code's: it may have made them such
// that the host does not take them.
void GuestProcess::run_program(user_regs_struct registers, std::uint64_t until) {
    registers.cs = DIRECT_USER_CODE;
    registers.ss = DIRECT_USER_DATA;
    registers.orig_rax = ~0ull;
    registers.eflags = 0x202;
    if (!trace(PTRACE_SETREGS, 0, &registers)) {
        CHECK(lost_, "a guest process took no registers");
        return;
    }
    // Signals from outside have no effect.
    for (;;) {
        int signal = trace(PTRACE_CONT, 0, nullptr) ? wait_for_stop() : 0;
        if (signal == 0 || (signal == SIGTRAP && this->registers().rip == until)) return;
    }
}

void GuestProcess::clear_id_flag() {
    user_regs_struct registers{};
    registers.rip = plain_flags_;
    run_program(registers, plain_flags_done_);
}

void GuestProcess::unmap_all() {
    calls_ = 0;
    bool done = unmap(0, DIRECT_PROGRAM_ADDRESS) &&
                unmap(DIRECT_END_ADDRESS, DIRECT_USER_END - DIRECT_END_ADDRESS) && do_calls();
    CHECK(done || lost_, "a guest process did not unmap its memory");
}

const user_regs_struct& GuestProcess::registers() {
    bool told = trace(PTRACE_GETREGS, 0, &registers_);
    CHECK(told || lost_, "a guest process told no registers");
    return registers_;
}

bool GuestProcess::set_registers(const user_regs_struct& registers) {
    user_regs_struct to{registers};
    return trace(PTRACE_SETREGS, 0, &to);
}

bool GuestProcess::set_breakpoints(std::span<const std::uint64_t> addresses) {
    auto set = [this](unsigned number, std::uint64_t value) {
        std::uint64_t at = offsetof(struct user, u_debugreg[0]) + sizeof value * number;
        return trace(PTRACE_POKEUSER, at, reinterpret_cast<void*>(value));
    };
    constexpr unsigned dr7 = 7;
    if (!set(dr7, 0)) return false;
    std::uint64_t enabled = 0;
    for (unsigned n = 0; n < addresses.size(); ++n) {
        if (!set(n, addresses[n])) return false;
        enabled |= 1ull << 2 * n;  // L0 ... L3: executions
    }
    return set(dr7, enabled);
}

void GuestProcess::read_vectors(std::span<std::byte> area) {
    struct iovec part {
        area.data(), area.size()
    };
    bool told = trace(PTRACE_GETREGSET, extended_state, &part);
    CHECK(told || lost_, "a guest process told no vectors");
}

void GuestProcess::write_vectors(std::span<const std::byte> area) {
    std::copy(area.begin(), area.end(), vectors_.begin());
    struct iovec all {
        vectors_.data(), vectors_.size()
    };
    bool taken = trace(PTRACE_SETREGSET, extended_state, &all);
    CHECK(taken || lost_, "a guest process took no vectors");
}

GuestProcess::Stop GuestProcess::run() {
    constexpr int stopped_by_call = SIGTRAP | 0x80;
    int signal = trace(PTRACE_SYSEMU, 0, nullptr) ? wait_for_stop() : 0;
    switch (signal) {
        case 0: return {Event::Lost};
        case stopped_by_call: return {Event::SystemCall};
        case SIGSEGV:
        case SIGBUS:
        case SIGILL:
        case SIGFPE:
        case SIGTRAP:
        case SIGSYS: break;
        default: return {Event::Interrupted, signal};
    }
    siginfo_t information{};
    if (!trace(PTRACE_GETSIGINFO, 0, &information)) return {Event::Lost};
    if (information.si_code <= 0) return {Event::Interrupted, signal};  // sent by somebody
    if (signal == SIGSYS) leave_vsyscall(reinterpret_cast<std::uint64_t>(information.si_call_addr));
    bool fault =
        signal == SIGSEGV && (information.si_code == SEGV_MAPERR || information.si_code == SEGV_ACCERR);
    return {fault ? Event::PageFault : Event::Signal, signal, information.si_code,
            fault ? reinterpret_cast<std::uint64_t>(information.si_addr) : 0};
}

// Linux has returned from it, and set RAX to the number of the call that it stands for.
void GuestProcess::leave_vsyscall(std::uint64_t address) {
    user_regs_struct to = registers();
    to.rip = to.rax = address;
    to.rsp -= 8;
    to.orig_rax = ~0ull;
    (void)set_registers(to);
}

}  // namespace undercroft
