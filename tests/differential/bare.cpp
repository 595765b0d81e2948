// SPDX-License-Identifier: Apache-2.0
#include "bare.hpp"

#include "base/check.hpp"

#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <fstream>
#include <new>
#include <string>

namespace undercroft::differential {
namespace {

enum : std::uint32_t { Idle, Work, Done };

void wait_while(std::atomic<std::uint32_t>& word, std::uint32_t value, const timespec* timeout) {
    ::syscall(SYS_futex, &word, FUTEX_WAIT, value, timeout, nullptr, 0);
}

void set(std::atomic<std::uint32_t>& word, std::uint32_t value) {
    word.store(value);
    ::syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

[[noreturn]] void serve(Batch& batch, const Images& images) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    BareChild child{images};
    BareChild::confine();
    for (;;) {
        while (batch.state.load() != Work)
            wait_while(batch.state, batch.state.load() == Idle ? Idle : Done, nullptr);
        for (std::uint32_t n = batch.first; n < batch.count; ++n) {
            batch.at.store(n);
            child.run(batch.sequence[n], batch.result[n]);
        }
        if (batch.count == 1) std::memcpy(batch.memory.data(), child.frames(), sizeof batch.memory);
        set(batch.state, Done);
    }
}

// A sequence that runs for so long does not end.
constexpr unsigned patience_seconds = 20;

}  // namespace

BareRunner::BareRunner(const Images& images) : images_{images} {
    void* at = ::mmap(nullptr, sizeof(Batch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    batch_ = new (at) Batch;
    spawn();
}

BareRunner::~BareRunner() {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    ::munmap(batch_, sizeof(Batch));
}

void BareRunner::spawn() {
    batch_->state.store(Idle);
    child_ = ::fork();
    CHECK(child_ >= 0, "fork");
    if (child_ == 0) serve(*batch_, images_);
}

bool BareRunner::has_own(std::uint64_t address) const {
    std::ifstream maps{"/proc/" + std::to_string(child_) + "/maps"};
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    char dash = 0;
    for (std::string rest; maps >> std::hex >> begin >> dash >> end && std::getline(maps, rest);) {
        if (address >= begin && address < end) return frame_of(address) < 0;
    }
    return false;
}

void BareRunner::go_on_from(std::uint32_t first) {
    batch_->first = first;
    set(batch_->state, Work);
}

void BareRunner::start(unsigned count) {
    batch_->count = count;
    go_on_from(0);
}

// The sequence that ran gets `verdict`; the rest runs in a new child.
void BareRunner::replace_child(std::uint32_t verdict) {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
    std::uint32_t at = batch_->at.load();
    batch_->result[at] = Ending{};
    batch_->result[at].vector = verdict;
    spawn();
    go_on_from(at + 1);
}

void BareRunner::finish() {
    constexpr timespec moment{.tv_sec = 0, .tv_nsec = 50'000'000};
    std::uint32_t seen = ~0u;
    timespec since{};
    while (batch_->state.load() != Done) {
        wait_while(batch_->state, Work, &moment);
        if (batch_->state.load() == Done) break;
        if (::waitpid(child_, nullptr, WNOHANG) == child_) {
            replace_child(died);
            continue;
        }
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC, &now);
        if (batch_->at.load() != seen) {
            seen = batch_->at.load();
            since = now;
        } else if (now.tv_sec - since.tv_sec > patience_seconds) {
            replace_child(no_end);
        }
    }
    batch_->state.store(Idle);
}

}  // namespace undercroft::differential
