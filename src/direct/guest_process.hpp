// SPDX-License-Identifier: Apache-2.0
// GuestProcess: a process of the host's that executes guest code as it is.
//
// It has no file, no system call and no memory but what is mapped into it: frames of guest memory, at the
// guest's addresses, and two small things of the monitor's that it can read but not write (program.h), below
// which it sees nothing. It is traced (ptrace(2)): while stopped() nothing executes in it, so what was mapped
// may be taken away late, before it goes on; and every system call, exception and signal stops it
// (PTRACE_SYSEMU: a call is not made). Should the tracing have a hole, a seccomp filter allows it to map and
// unmap, and nothing else. There is one: calls of the host's vsyscall page (0xffffffffff600000), which the
// host makes without a system call of the process's. They end as if there were no such page, but RAX, which
// is lost then, has the address that was called, as it has where that was done by CALL RAX.
//
// CPUID and other instructions that tell of the host do not stop it: whoever maps code sees to it that there
// are none. RDTSC tells the host's time stamp. (Linux can have it fault, PR_SET_TSC, which costs two writes
// of CR4 for each stop: 10 us where the host is itself a guest.)
//
// Belongs to the thread that made it (Linux: only that one may trace it) and ends with it. Not for helpers of
// translated code.
//
// Costs, where this was measured: a stop and going on 6.4 us if both threads are on one processor, and some
// 50 if the other one has to be woken; so it is kept where its tracer is. Registers there and back: 6 us.

#pragma once

#include "base/result.hpp"
#include "direct/memory_file.hpp"

#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace undercroft {

class GuestProcess {
public:
    // `frames_file`: what map() maps from. Errors: "guest process: reason".
    static Result<std::unique_ptr<GuestProcess>> create(int frames_file);
    GuestProcess(const GuestProcess&) = delete;
    GuestProcess& operator=(const GuestProcess&) = delete;
    ~GuestProcess();

    struct Pages {
        std::uint64_t start = 0;   // a user address of the guest's, a multiple of 4096, like the next two
        std::uint64_t length = 0;  // bytes
        std::uint64_t offset = 0;  // in the file of frames, or of patched pages
        bool patched = false;
        bool writable = false;
        bool executable = false;
    };
    // Done by apply(), in their order, or when there are many.
    [[nodiscard]] bool map(const Pages& pages);
    [[nodiscard]] bool unmap(std::uint64_t start, std::uint64_t length);
    // False: the host refuses, for instance as there are too many pieces. Nothing is mapped then.
    [[nodiscard]] bool apply();
    void unmap_all();

    // Pages that are not what the guest has there: in the place of code with other bytes.
    static constexpr std::size_t patched_pages = 256;
    std::byte* patched_page(std::size_t n) const { return patches_.data() + n * 4096; }

    // Code at one of these addresses, so many at most, stops it before it is executed (Event::Signal,
    // SIGTRAP, TRAP_HWBKPT). Costs each stop a microsecond or two. False: the host has no breakpoints to
    // give.
    static constexpr std::size_t breakpoints = 4;
    [[nodiscard]] bool set_breakpoints(std::span<const std::uint64_t> addresses);

    // Does the monitor itself need this address there?
    static bool is_reserved(std::uint64_t address) noexcept;
    // Can a page be mapped there? Not where the monitor's are, and not at the ends, where the host allows
    // none.
    static bool has_room_at(std::uint64_t address) noexcept;

    // Of its one thread, while it is stopped. apply() changes them.
    const user_regs_struct& registers();
    // False: the host does not take them (a segment's base that is no user address).
    [[nodiscard]] bool set_registers(const user_regs_struct& registers);
    // RFLAGS.ID, which guest code can set, set_registers() leaves as it is. Changes the registers.
    void clear_id_flag();
    // The standard format of XSAVE: legacy region, header, and as much of the rest as there is room for. What
    // is behind is in its initial state afterwards.
    void read_vectors(std::span<std::byte> area);
    void write_vectors(std::span<const std::byte> area);

    enum class Event : std::uint8_t {
        SystemCall,   // made, if it were: RIP is behind it, its number in orig_rax
        PageFault,    // at `address`
        Signal,       // another one, see `signal` and `code` (siginfo_t)
        Interrupted,  // from outside: Elsewhere::interrupt()
        Lost,         // see is_lost()
    };
    struct Stop {
        Event event = Event::Interrupted;
        int signal = 0;
        int code = 0;
        std::uint64_t address = 0;
    };
    // Executes until it stops.
    Stop run();

    // The host, or somebody on it, has killed the process: what it held is gone. All else has no effect then,
    // and what can fail does.
    bool is_lost() const noexcept { return lost_; }

    pid_t pid() const noexcept { return pid_; }  // for Elsewhere

private:
    GuestProcess(pid_t pid, MemoryFile list, MemoryFile patches)
        : pid_{pid}, list_{std::move(list)}, patches_{std::move(patches)} {}
    [[nodiscard]] bool add(const std::uint64_t (&call)[7]);
    [[nodiscard]] bool do_calls();
    void run_program(user_regs_struct registers, std::uint64_t until);
    Result<void> start();
    [[nodiscard]] bool trace(__ptrace_request request, std::uint64_t address, void* data);
    [[nodiscard]] int wait_for_stop();  // the signal, or zero
    void leave_vsyscall(std::uint64_t address);

    static constexpr unsigned extended_state = 0x202;  // NT_X86_XSTATE

    pid_t pid_;
    MemoryFile list_;
    MemoryFile patches_;
    std::size_t calls_ = 0;
    std::uint64_t work_ = 0;
    std::uint64_t work_done_ = 0;
    std::uint64_t plain_flags_ = 0;
    std::uint64_t plain_flags_done_ = 0;
    bool lost_ = false;
    user_regs_struct registers_{};
    std::vector<std::byte> vectors_;
};

}  // namespace undercroft
