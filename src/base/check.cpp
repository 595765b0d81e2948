// SPDX-License-Identifier: Apache-2.0
#include "check.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace undercroft {
namespace {
std::atomic<void (*)()> hook_before_abort{nullptr};
}

void set_check_hook(void (*hook)()) noexcept { hook_before_abort = hook; }

void check_failed(const char* file, int line, const char* condition, const char* note) noexcept {
    if (auto hook = hook_before_abort.exchange(nullptr)) hook();
    std::fprintf(stderr, "CHECK failed: %s:%d: %s: %s\n", file, line, condition, note);
    std::abort();
}

}  // namespace undercroft
