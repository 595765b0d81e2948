// SPDX-License-Identifier: Apache-2.0
#include "direct/guest_process.hpp"

#include "base/elsewhere.hpp"
#include "base/fd.hpp"
#include "direct/program.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>

namespace undercroft {
namespace {

using Event = GuestProcess::Event;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t code_at = 0x400000;
constexpr std::uint64_t data_at = 0x7ffff7ff0000;
constexpr unsigned frames = 64;

class GuestProcessTest : public testing::Test {
protected:
    void SetUp() override {
        file_ = Fd{memfd_create("frames", MFD_CLOEXEC)};
        ASSERT_EQ(ftruncate(file_.get(), frames * page), 0);
        memory_ = static_cast<std::byte*>(
            mmap(nullptr, frames * page, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0));
        auto made = GuestProcess::create(file_.get());
        ASSERT_TRUE(made) << made.error().message;
        process_ = *std::move(made);
    }
    void TearDown() override { munmap(memory_, frames * page); }

    // Maps code at code_at, from frame 0, and goes there.
    template <std::size_t Size>
    void load(const std::uint8_t (&code)[Size]) {
        std::memcpy(memory_, code, Size);
        ASSERT_TRUE(process_->map({.start = code_at, .length = page, .offset = 0, .executable = true}));
        ASSERT_TRUE(process_->apply());
        start_at(code_at);
    }
    void start_at(std::uint64_t rip) { ASSERT_TRUE(process_->set_registers(at_start(rip))); }
    user_regs_struct at_start(std::uint64_t rip) {
        user_regs_struct registers = process_->registers();
        registers.rip = rip;
        registers.rsp = 0;
        registers.rax = registers.rdi = 0;
        registers.cs = 0x33;
        registers.ss = 0x2b;
        registers.eflags = 0x202;
        registers.orig_rax = ~0ull;
        return registers;
    }
    // What the code at code_at, `mov al, [rdi]; ud2`, finds.
    Event event_of_reading(std::uint64_t address) {
        user_regs_struct registers = at_start(code_at);
        registers.rdi = address;
        EXPECT_TRUE(process_->set_registers(registers));
        return process_->run().event;
    }

    Fd file_;
    std::byte* memory_ = nullptr;
    std::unique_ptr<GuestProcess> process_;
};

TEST_F(GuestProcessTest, StopsAtASystemCallWithoutMakingIt) {
    load({0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05});  // mov eax, exit_group; syscall
    EXPECT_EQ(process_->run().event, Event::SystemCall);
    EXPECT_EQ(process_->registers().orig_rax, 231u);
    EXPECT_EQ(process_->registers().rip, code_at + 7);
}

TEST_F(GuestProcessTest, TellsWhereAPageIsMissingAndGoesOnWhenThereIsOne) {
    load({0x48, 0xbf, 0x00, 0x00, 0xff, 0xf7, 0xff, 0x7f, 0, 0,  // mov rdi, data_at
          0xc6, 0x47, 0x08, 0x2a,                                // mov byte [rdi + 8], 42
          0x0f, 0x0b});                                          // ud2
    auto stop = process_->run();
    EXPECT_EQ(stop.event, Event::PageFault);
    EXPECT_EQ(stop.address, data_at + 8);
    user_regs_struct before = process_->registers();
    ASSERT_TRUE(process_->map({.start = data_at, .length = page, .offset = 5 * page}));
    ASSERT_TRUE(process_->apply());
    ASSERT_TRUE(process_->set_registers(before));
    stop = process_->run();
    EXPECT_EQ(stop.event, Event::PageFault);  // it cannot be written
    ASSERT_TRUE(process_->map({.start = data_at, .length = page, .offset = 5 * page, .writable = true}));
    ASSERT_TRUE(process_->apply());
    ASSERT_TRUE(process_->set_registers(before));
    stop = process_->run();
    EXPECT_EQ(stop.event, Event::Signal);
    EXPECT_EQ(stop.signal, SIGILL);
    EXPECT_EQ(memory_[5 * page + 8], std::byte{42});
}

TEST_F(GuestProcessTest, SeesNothingButWhatIsMapped) {
    load({0x8a, 0x07, 0x0f, 0x0b});  // mov al, [rdi]; ud2
    user_regs_struct registers = process_->registers();
    for (std::uint64_t address = 0x1000; address < DIRECT_USER_END; address += address / 16) {
        registers.rdi = address;
        registers.rip = code_at;
        ASSERT_TRUE(process_->set_registers(registers));
        auto stop = process_->run();
        bool mapped = address - code_at < page || GuestProcess::is_reserved(address);
        EXPECT_EQ(stop.event, mapped ? Event::Signal : Event::PageFault) << std::hex << address;
    }
}

// Of the monitor's own pages there, none can be written.
TEST_F(GuestProcessTest, CannotWriteWhatTheMonitorHasThere) {
    load({0x88, 0x07, 0x0f, 0x0b});  // mov [rdi], al; ud2
    user_regs_struct registers = process_->registers();
    for (std::uint64_t address = DIRECT_PROGRAM_ADDRESS; address < DIRECT_END_ADDRESS; address += page) {
        registers.rdi = address;
        registers.rip = code_at;
        ASSERT_TRUE(process_->set_registers(registers));
        EXPECT_EQ(process_->run().event, Event::PageFault) << std::hex << address;
    }
}

TEST_F(GuestProcessTest, IsInterruptedInALoop) {
    load({0xeb, 0xfe});  // jmp to itself
    Elsewhere elsewhere;
    elsewhere.begin(process_->pid());
    std::thread other{[&] { elsewhere.interrupt(); }};
    EXPECT_EQ(process_->run().event, Event::Interrupted);
    EXPECT_EQ(process_->registers().rip, code_at);
    other.join();
}

TEST_F(GuestProcessTest, ForgetsWhatIsUnmapped) {
    load({0xeb, 0xfe});
    ASSERT_TRUE(process_->unmap(code_at, page));
    ASSERT_TRUE(process_->apply());
    start_at(code_at);
    EXPECT_EQ(process_->run().event, Event::PageFault);
    ASSERT_TRUE(process_->map({.start = code_at, .length = page, .offset = 0, .executable = true}));
    ASSERT_TRUE(process_->apply());
    process_->unmap_all();
    start_at(code_at);
    EXPECT_EQ(process_->run().event, Event::PageFault);
}

// More than the list has room for, so that it is done in parts.
TEST_F(GuestProcessTest, MapsManyPagesAtOnce) {
    constexpr unsigned many = 2000;
    for (unsigned n = 0; n < many; ++n)
        ASSERT_TRUE(
            process_->map({.start = data_at + 2 * n * page, .length = page, .offset = n % frames * page}));
    load({0x8a, 0x07, 0x0f, 0x0b});
    for (unsigned n = 0; n < frames; ++n) memory_[n * page] = std::byte(n);
    std::memcpy(memory_, "\x8a\x07\x0f\x0b", 4);
    for (unsigned n : {1u, 777u, many - 1}) {
        user_regs_struct registers = process_->registers();
        registers.rdi = data_at + 2 * n * page;
        registers.rip = code_at;
        ASSERT_TRUE(process_->set_registers(registers));
        ASSERT_EQ(process_->run().signal, SIGILL);
        EXPECT_EQ(process_->registers().rax & 0xff, n % frames);
    }
}

TEST_F(GuestProcessTest, KeepsVectorState) {
    load({0xc5, 0xfd, 0xef, 0xc0,  // vpxor ymm0, ymm0, ymm0
          0x0f, 0x0b});
    std::array<std::byte, 832> area{};
    process_->read_vectors(area);
    std::memset(area.data() + 160, 0x5a, 32);  // xmm0, xmm1
    std::uint64_t components = 7;
    std::memcpy(area.data() + 512, &components, sizeof components);
    std::memset(area.data() + 576, 0xa5, 32);  // the upper halves of ymm0, ymm1
    process_->write_vectors(area);
    EXPECT_EQ(process_->run().signal, SIGILL);
    std::array<std::byte, 832> after{};
    process_->read_vectors(after);
    for (unsigned n = 0; n < 16; ++n) {
        EXPECT_EQ(after[160 + n], std::byte{0});
        EXPECT_EQ(after[176 + n], std::byte{0x5a});
        EXPECT_EQ(after[576 + n], std::byte{0});
        EXPECT_EQ(after[592 + n], std::byte{0xa5});
    }
}

// Code that goes there with registers of its choice: each call stops, none is made.
TEST_F(GuestProcessTest, MakesNoCallForCodeThatJumpsIntoItsProgram) {
    load({0x8a, 0x07, 0x0f, 0x0b});
    constexpr std::uint64_t wanted = 0x10000000;
    // What `work` takes its calls from, as the guest would have it: an mmap of a file.
    constexpr std::uint64_t list_at = 0x500000;
    std::uint64_t call[] = {SYS_mmap,           wanted, page, PROT_READ, MAP_SHARED | MAP_FIXED,
                            DIRECT_FRAMES_FILE, 0,      0};
    std::memcpy(memory_ + 7 * page, call, sizeof call);
    ASSERT_TRUE(process_->map({.start = list_at, .length = page, .offset = 7 * page}));
    ASSERT_TRUE(process_->apply());
    unsigned calls = 0;
    for (int number : {SYS_mmap, SYS_exit_group, SYS_ptrace, SYS_kill, SYS_execve}) {
        for (std::uint64_t offset = 0; offset < DIRECT_PROGRAM_SIZE; ++offset) {
            user_regs_struct registers = at_start(DIRECT_PROGRAM_ADDRESS + offset);
            registers.rax = static_cast<std::uint64_t>(number);
            registers.rdi = wanted;
            registers.rsi = page;
            registers.rdx = PROT_READ;
            registers.r10 = MAP_SHARED | MAP_FIXED;
            registers.r8 = DIRECT_FRAMES_FILE;
            registers.r9 = 0;
            registers.rbx = list_at;
            registers.rbp = 1;
            ASSERT_TRUE(process_->set_registers(registers));
            auto stop = process_->run();
            ASSERT_NE(stop.event, Event::Lost) << number << " at " << offset;
            if (stop.event == Event::SystemCall) ++calls;
        }
        EXPECT_EQ(event_of_reading(wanted), Event::PageFault) << number;
    }
    EXPECT_GT(calls, 50u);  // it did get there
}

// Other ways into the host's kernel.
TEST_F(GuestProcessTest, MakesNoCallByInt80AndSysenter) {
    constexpr std::uint64_t exit_32 = 1;
    load({0xcd, 0x80, 0x0f, 0x0b});  // int 0x80; ud2
    user_regs_struct registers = at_start(code_at);
    registers.rax = exit_32;
    ASSERT_TRUE(process_->set_registers(registers));
    EXPECT_EQ(process_->run().event, Event::SystemCall);
    load({0x0f, 0x34, 0x0f, 0x0b});  // sysenter; ud2
    registers = at_start(code_at);
    registers.rax = exit_32;
    registers.rbp = code_at;
    ASSERT_TRUE(process_->set_registers(registers));
    EXPECT_NE(process_->run().event, Event::Lost);
}

// Hosts make calls of this page without a system call (vsyscall=xonly and emulate).
TEST_F(GuestProcessTest, MakesNoCallOfTheVsyscallPage) {
    constexpr std::uint64_t vsyscall = 0xffffffffff600000;
    for (std::uint64_t address : {vsyscall, vsyscall + 0x400, vsyscall + 0x800, vsyscall + 16}) {
        load({0xff, 0xd0, 0x0f, 0x0b});  // call rax; ud2
        ASSERT_TRUE(process_->map({.start = data_at, .length = page, .offset = page, .writable = true}));
        ASSERT_TRUE(process_->apply());
        user_regs_struct registers = at_start(code_at);
        registers.rax = address;
        registers.rsp = data_at + 256;
        ASSERT_TRUE(process_->set_registers(registers));
        auto stop = process_->run();
        EXPECT_TRUE(stop.event == Event::PageFault || stop.event == Event::Signal);
        EXPECT_EQ(process_->registers().rip, address);
        EXPECT_EQ(process_->registers().rax, address);
        EXPECT_EQ(process_->registers().rsp, data_at + 248);
        std::uint64_t pushed = 0;
        std::memcpy(&pushed, memory_ + page + 248, sizeof pushed);
        EXPECT_EQ(pushed, code_at + 2);
    }
}

TEST_F(GuestProcessTest, IsAloneOnItsHost) {
    EXPECT_EQ(getsid(process_->pid()), process_->pid());
    std::set<std::string> files;
    for (const auto& file :
         std::filesystem::directory_iterator{"/proc/" + std::to_string(process_->pid()) + "/fd"})
        files.insert(file.path().filename());
    EXPECT_EQ(files, (std::set<std::string>{std::to_string(DIRECT_FRAMES_FILE),
                                            std::to_string(DIRECT_PATCHES_FILE)}));
    std::ifstream status{"/proc/" + std::to_string(process_->pid()) + "/status"};
    std::string text{std::istreambuf_iterator<char>{status}, {}};
    EXPECT_NE(text.find("\nNoNewPrivs:\t1\n"), std::string::npos) << text;
    EXPECT_NE(text.find("\nSeccomp:\t2\n"), std::string::npos) << text;
}

TEST_F(GuestProcessTest, LeavesNoZombie) {
    pid_t pid = process_->pid();
    process_.reset();
    EXPECT_EQ(kill(pid, 0), -1);
    EXPECT_EQ(errno, ESRCH);
}

// Also when that one has no chance to say so.
TEST_F(GuestProcessTest, EndsWithItsTracer) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    pid_t tracer = fork();
    if (tracer == 0) {
        auto made = GuestProcess::create(file_.get());
        pid_t pid = made ? (*made)->pid() : -1;
        if (write(ends[1], &pid, sizeof pid) != sizeof pid) _exit(1);
        for (;;) pause();
    }
    pid_t pid = -1;
    ASSERT_EQ(read(ends[0], &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
    ASSERT_GT(pid, 0);
    pollfd end{static_cast<int>(syscall(SYS_pidfd_open, pid, 0)), POLLIN, 0};
    ASSERT_GE(end.fd, 0);
    EXPECT_EQ(poll(&end, 1, 0), 0);
    kill(tracer, SIGKILL);
    EXPECT_EQ(poll(&end, 1, 10'000), 1);
    waitpid(tracer, nullptr, 0);
    for (int fd : {end.fd, ends[0], ends[1]}) close(fd);
}

// Whoever may send it signals, whichever: it only stops, or goes on with what the tracer has it do.
TEST_F(GuestProcessTest, TakesSignalsFromOutsideForInterruptions) {
    load({0xeb, 0xfe});
    for (int signal :
         {SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGSYS, SIGTERM, SIGSTOP, SIGTSTP, SIGCONT, SIGHUP}) {
        kill(process_->pid(), signal);
        EXPECT_EQ(process_->run().event, Event::Interrupted) << signal;
        EXPECT_EQ(process_->registers().rip, code_at);
        user_regs_struct before = process_->registers();
        kill(process_->pid(), signal);
        ASSERT_TRUE(process_->map({.start = data_at, .length = page, .offset = 0}));
        EXPECT_TRUE(process_->apply()) << signal;
        ASSERT_TRUE(process_->set_registers(before));
    }
}

TEST_F(GuestProcessTest, TellsThatItWasKilledWhileItExecuted) {
    load({0xeb, 0xfe});
    std::thread other{[pid = process_->pid()] { kill(pid, SIGKILL); }};
    EXPECT_EQ(process_->run().event, Event::Lost);
    other.join();
    EXPECT_TRUE(process_->is_lost());
    std::array<std::byte, 832> area{};
    (void)process_->registers();
    process_->read_vectors(area);
    process_->write_vectors(area);
    process_->unmap_all();
    EXPECT_FALSE(process_->set_registers({}));
    EXPECT_TRUE(process_->unmap(code_at, page));
    EXPECT_FALSE(process_->apply());
    EXPECT_EQ(process_->run().event, Event::Lost);
}

TEST_F(GuestProcessTest, TellsThatItWasKilledWhileItWaited) {
    load({0xeb, 0xfe});
    kill(process_->pid(), SIGKILL);
    for (bool applied = true; applied;) {  // it takes the host a while
        ASSERT_TRUE(process_->unmap(code_at, page));
        applied = process_->apply();
    }
    EXPECT_TRUE(process_->is_lost());
    EXPECT_EQ(process_->run().event, Event::Lost);
    pid_t pid = process_->pid();
    process_.reset();
    EXPECT_TRUE(pid == 0 || (kill(pid, 0) == -1 && errno == ESRCH));
}

}  // namespace
}  // namespace undercroft
