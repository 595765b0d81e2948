// SPDX-License-Identifier: Apache-2.0
// Any bytes as guest code, run by both engines from the same state: they end with the same registers, flags,
// vectors, memory and device accesses.
//
// Input: a byte of privilege, twelve bytes that choose registers, then the code, which a HLT follows. Code
// that does not end within some hundred instructions, or that reads clocks or random numbers, is not
// compared. Not compared either: x87's last-instruction pointers, which show the host's code.
#include "engine/step/testing.hpp"
#include "engine/translate/engine.hpp"
#include "input.hpp"

#include <Zydis/Zydis.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <thread>
#include <vector>

using namespace undercroft;
using namespace undercroft::test;

namespace {

constexpr unsigned most_steps = 300;

// What guests of this size use: tables and stacks, code, data.
constexpr std::array<std::pair<std::uint64_t, std::uint64_t>, 3> compared{
    {{0x1000, 0x2f000}, {StepMachine::code, 0x1000}, {StepMachine::data, 0x4000}}};

class Guest {
public:
    Guest() {
        for (unsigned vector = 0; vector < 256; ++vector)
            machine.put<std::uint8_t>(StepMachine::handlers + 16 * vector, 0xf4);
        std::memcpy(processor_.data(), static_cast<const void*>(&machine.vcpu), processor_.size());
        for (auto [start, size] : compared) read(start, memory_.emplace_back(size));
    }

    // Back to the start, with this code and these registers.
    void prepare(fuzz::Input input) {
        for (std::size_t n = 0; n < compared.size(); ++n) {
            auto [start, size] = compared[n];
            write(start, memory_[n]);
            machine.code_pages.wrote(GuestPhysical{start}, size);
        }
        std::memcpy(static_cast<void*>(&machine.vcpu), processor_.data(), processor_.size());
        auto mode = input.take<std::uint8_t>();
        (mode & 1) != 0 ? machine.be_user() : machine.be_kernel();
        machine.vcpu.set_rflags(RFLAGS::Fixed | (mode & 0xd4u));
        for (unsigned n = 0; n < 12; ++n) {
            auto choice = input.take<std::uint8_t>();
            std::uint64_t value =
                choice < 128 ? StepMachine::data + choice * 97u : choice * 0x0123456789abcdefu;
            machine.vcpu.gpr[n < 4 ? n : n + 4] = value;
        }
        machine.reg(Gpr::Rsi) = StepMachine::data + 0x1000;
        machine.reg(Gpr::Rdi) = StepMachine::data + 0x2000 - 24;
        machine.reg(Gpr::Rbp) = StepMachine::stack - 0x200;
        auto code = input.take_bytes(200);
        std::uint64_t offset = (mode & 2) != 0 ? 4096 - code.size() - 1 : 0x123;
        write(StepMachine::code + offset, code);
        machine.put<std::uint8_t>(StepMachine::code + offset + code.size(), 0xf4);
        machine.vcpu.rip = StepMachine::code + offset;
        machine.mmu->flush_all();
        machine.environment = {};
    }

    void read(std::uint64_t at, std::span<std::byte> to) const {
        CHECK(machine.memory->read(GuestPhysical{at}, to));
    }
    void write(std::uint64_t at, std::span<const std::byte> from) {
        CHECK(machine.memory->write(GuestPhysical{at}, from));
    }
    StepMachine machine;

private:
    std::array<std::byte, offsetof(Vcpu, tlb)> processor_;
    std::vector<std::vector<std::byte>> memory_;
};

// May the instruction at RIP be run, and be expected to do the same again?
bool is_repeatable(const Guest& guest) {
    static const ZydisDecoder decoder = [] {
        ZydisDecoder made;
        ZydisDecoderInit(&made, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        return made;
    }();
    std::uint64_t rip = guest.machine.vcpu.rip;
    if (rip >= StepMachine::ram_size - 16) return true;  // faults
    ZydisDecodedInstruction i;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    std::array<std::byte, ZYDIS_MAX_INSTRUCTION_LENGTH> bytes{};
    guest.read(rip, bytes);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &i, operands.data())))
        return true;
    switch (i.mnemonic) {
        case ZYDIS_MNEMONIC_RDTSC:
        case ZYDIS_MNEMONIC_RDTSCP:
        case ZYDIS_MNEMONIC_RDRAND:
        case ZYDIS_MNEMONIC_RDSEED:
        case ZYDIS_MNEMONIC_RDMSR:
        case ZYDIS_MNEMONIC_WRMSR:
        case ZYDIS_MNEMONIC_FNSTENV:
        case ZYDIS_MNEMONIC_FNSAVE:
        case ZYDIS_MNEMONIC_FXSAVE:
        case ZYDIS_MNEMONIC_FXSAVE64:
        case ZYDIS_MNEMONIC_XSAVE:
        case ZYDIS_MNEMONIC_XSAVE64:
        case ZYDIS_MNEMONIC_XSAVEOPT:
        case ZYDIS_MNEMONIC_XSAVEOPT64: return false;
        default: return true;
    }
}

bool run_by_steps(Guest& guest) {
    Vcpu& vcpu = guest.machine.vcpu;
    for (unsigned n = 0; n < most_steps; ++n) {
        if (vcpu.activity != Activity::Running) return true;
        if (!is_repeatable(guest)) return false;
        guest.machine.step();
    }
    return false;
}

// Aborts when a run takes seconds: what ends by steps must end translated.
class Watchdog {
public:
    Watchdog() {
        std::thread{[this] { watch(); }}.detach();
    }
    void begin() { running_.store(true); }
    void end() { running_.store(false), ++ended_; }

private:
    [[noreturn]] void watch() {
        for (;;) {
            unsigned before = ended_.load();
            bool was_running = running_.load();
            std::this_thread::sleep_for(std::chrono::seconds{10});
            if (was_running && running_.load() && ended_.load() == before) {
                std::fprintf(stderr, "translated code does not end\n");
                std::abort();
            }
        }
    }
    std::atomic<bool> running_{false};
    std::atomic<unsigned> ended_{0};
};

// While guest code runs, rsp is the guest's: no signal but those of faults, and those on a stack of their
// own.
void run_translated(Guest& guest, Engine& engine) {
    static Watchdog watchdog;
    static const bool has_stack = [] {
        static std::array<std::byte, 1 << 17> memory;
        stack_t stack{.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
        return sigaltstack(&stack, nullptr) == 0;
    }();
    CHECK(has_stack);
    sigset_t all, before;
    sigfillset(&all);
    for (int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigdelset(&all, fault);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    watchdog.begin();
    Exit exit = Exit::Pause;
    while (exit == Exit::Pause) exit = engine.run(guest.machine.vcpu);
    watchdog.end();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    CHECK(exit == Exit::Halt || exit == Exit::Shutdown);
}

// The vector state with components in their initial state written out.
std::vector<std::byte> vectors(const Vcpu& vcpu) {
    std::vector<std::byte> state(vcpu.xsave.begin(), vcpu.xsave.end());
    std::uint64_t present = 0;
    std::memcpy(&present, state.data() + 512, 8);
    if ((present & 1) == 0) {
        std::fill(state.begin(), state.begin() + 24, std::byte{0});
        std::fill(state.begin() + 32, state.begin() + 160, std::byte{0});
        state[0] = std::byte{0x7f}, state[1] = std::byte{0x03};
    }
    if ((present & 2) == 0) std::fill(state.begin() + 160, state.begin() + 416, std::byte{0});
    if ((present & 4) == 0) std::fill(state.begin() + 576, state.end(), std::byte{0});
    std::fill(state.begin() + 6, state.begin() + 24, std::byte{0});     // FOP, FIP, FDP
    std::fill(state.begin() + 28, state.begin() + 32, std::byte{0});    // MXCSR_MASK
    std::fill(state.begin() + 416, state.begin() + 576, std::byte{0});  // unused, header
    return state;
}

void compare(const Guest& steps, const Guest& translated) {
    const Vcpu& a = steps.machine.vcpu;
    const Vcpu& b = translated.machine.vcpu;
    for (unsigned n = 0; n < 16; ++n) {
        if (a.gpr[n] != b.gpr[n])
            std::fprintf(stderr, "register %u: %#lx by steps, %#lx translated\n", n, a.gpr[n], b.gpr[n]);
    }
    CHECK(a.gpr == b.gpr);
    if (a.rip != b.rip) {
        std::fprintf(stderr, "rip: %#lx by steps, %#lx translated; cr2 %#lx, %#lx\n", a.rip, b.rip, a.cr2,
                     b.cr2);
        for (unsigned n = 0; n < 6; ++n) {
            std::fprintf(stderr, "pushed: %#lx, %#lx\n", steps.machine.pushed(n),
                         translated.machine.pushed(n));
        }
    }
    CHECK(a.rip == b.rip);
    CHECK(a.rflags() == b.rflags());
    CHECK(a.activity == b.activity && a.cpl == b.cpl && a.cr2 == b.cr2);
    CHECK(a.paging.cr0 == b.paging.cr0 && a.paging.cr3 == b.paging.cr3 && a.paging.cr4 == b.paging.cr4);
    for (unsigned n = 0; n < a.segment.size(); ++n)
        CHECK(a.segment[n].selector == b.segment[n].selector && a.segment[n].base == b.segment[n].base);
    CHECK(vectors(a) == vectors(b));
    for (auto [start, size] : compared) {
        std::vector<std::byte> stepped(size);
        std::vector<std::byte> ran(size);
        steps.read(start, stepped);
        translated.read(start, ran);
        CHECK(stepped == ran, "memory differs");
    }
    CHECK(steps.machine.environment.writes == translated.machine.environment.writes);
    CHECK(steps.machine.environment.port_writes == translated.machine.environment.port_writes);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    struct Pair {
        Guest steps, translated;
        std::unique_ptr<Engine> engine = *make_translate_engine(translated.machine.vcpu, {.trace_heat = 1});
    };
    static std::unique_ptr<Pair> pair;
    if (size < 14) return 0;
    if (pair == nullptr) pair = std::make_unique<Pair>();
    fuzz::Input input{data, size};
    pair->steps.prepare(input);
    if (!run_by_steps(pair->steps)) {
        pair = nullptr;  // it may have written where prepare() does not
        return 0;
    }
    pair->translated.prepare(input);
    run_translated(pair->translated, *pair->engine);
    compare(pair->steps, pair->translated);
    return 0;
}
