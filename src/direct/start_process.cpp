// SPDX-License-Identifier: Apache-2.0
// From nothing to a guest process that has stopped behind its start.
#include "base/fd.hpp"
#include "direct/guest_process.hpp"
#include "direct/program.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

extern "C" {
extern const std::byte undercroft_direct_program;
extern const std::byte undercroft_direct_program_end;
}

namespace undercroft {
namespace {

// Exit statuses of the new process before it runs the program, whose own are smaller.
enum : int { cannot_be_traced = 100, has_no_files = 101, cannot_execute = 102 };

constexpr int program_file = 6;
constexpr int first_free_file = 16;

// Nobody is to be told of each stop.
void silence_child_signals() {
    static std::once_flag done;
    std::call_once(done, [] {
        struct sigaction action {};
        ::sigaction(SIGCHLD, nullptr, &action);
        action.sa_flags |= SA_NOCLDSTOP;
        ::sigaction(SIGCHLD, &action, nullptr);
    });
}

// In the new process, which shares the caller's memory until it runs the program.
[[noreturn]] void become_program(int frames, int list, int patches, int program) noexcept {
    ::setsid();
    struct rlimit none {};
    ::setrlimit(RLIMIT_CORE, &none);
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(cannot_be_traced);
    int from[] = {frames, list, patches, program};
    int to[] = {DIRECT_FRAMES_FILE, DIRECT_LIST_FILE, DIRECT_PATCHES_FILE, program_file};
    for (int& file : from) file = ::fcntl(file, F_DUPFD, first_free_file);
    for (unsigned n = 0; n < 4; ++n)
        if (::dup2(from[n], to[n]) < 0) ::_exit(has_no_files);
    ::fcntl(program_file, F_SETFD, FD_CLOEXEC);
    ::syscall(SYS_close_range, program_file + 1, ~0u, 0);
    for (int file : {0, 1, 2}) ::close(file);
    char name[] = "undercroft-guest";
    char* arguments[] = {name, nullptr};
    char* environment[] = {nullptr};
    ::syscall(SYS_execveat, program_file, "", arguments, environment, AT_EMPTY_PATH);
    ::_exit(cannot_execute);
}

std::string reason(int status) {
    if (!WIFEXITED(status)) return "it stopped where it should not";
    switch (WEXITSTATUS(status)) {
        case cannot_be_traced: return "the host does not let it be traced";
        case has_no_files: return "the host refuses open files";
        case cannot_execute: return "the host does not let it execute its program";
        default: return "the host refuses call " + std::to_string(WEXITSTATUS(status)) + " of its start";
    }
}

}  // namespace

Result<std::unique_ptr<GuestProcess>> GuestProcess::create(int frames_file) {
    auto failed = [](Error error) { return std::move(error).in("guest process"); };
    silence_child_signals();
    std::span<const std::byte> bytes{&undercroft_direct_program, &undercroft_direct_program_end};
    Fd program{static_cast<int>(::syscall(SYS_memfd_create, "undercroft-guest", MFD_CLOEXEC))};
    if (!program || ::write(program.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
        return failed(host_error());
    auto list = MemoryFile::create("undercroft-calls", DIRECT_LIST_SIZE);
    if (!list) return failed(list.error());
    auto patches = MemoryFile::create("undercroft-patches", patched_pages * 4096);
    if (!patches) return failed(patches.error());
    pid_t pid = ::vfork();
    if (pid == 0) become_program(frames_file, list->file(), patches->file(), program.get());
    if (pid < 0) return failed(host_error());
    std::unique_ptr<GuestProcess> process{new GuestProcess{pid, *std::move(list), *std::move(patches)}};
    if (auto started = process->start(); !started) return failed(started.error());
    return process;
}

// It stops behind the execve, then at the end of the program's start.
Result<void> GuestProcess::start() {
    int status = 0;
    if (::waitpid(pid_, &status, __WALL) < 0) return host_error();
    if (!WIFSTOPPED(status)) {
        pid_ = 0;
        return Error{reason(status)};
    }
    if (::ptrace(PTRACE_SETOPTIONS, pid_, nullptr, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD) != 0 ||
        ::ptrace(PTRACE_CONT, pid_, nullptr, nullptr) != 0 || ::waitpid(pid_, &status, __WALL) < 0)
        return host_error();
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) {
        if (!WIFSTOPPED(status)) pid_ = 0;
        return Error{reason(status)};
    }
    work_ = registers().rax;
    work_done_ = registers_.rcx;
    plain_flags_ = registers_.rbx;
    plain_flags_done_ = registers_.rdx;
    constexpr std::size_t most = 16384;
    vectors_.resize(most);
    struct iovec all {
        vectors_.data(), vectors_.size()
    };
    if (::ptrace(PTRACE_GETREGSET, pid_, extended_state, &all) != 0) return host_error();
    vectors_.resize(all.iov_len);
    // Some hosts that are emulated themselves do not know PTRACE_SYSEMU.
    user_regs_struct at_a_call = registers_;
    at_a_call.rip = work_;
    at_a_call.rbx = DIRECT_LIST_ADDRESS;
    at_a_call.rbp = 1;
    if (!set_registers(at_a_call) || run().event != Event::SystemCall)
        return Error{"the host does not stop it at system calls"};
    return {};
}

GuestProcess::~GuestProcess() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, __WALL) < 0 && errno == EINTR) {
    }
}

}  // namespace undercroft
