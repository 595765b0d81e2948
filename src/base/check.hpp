// SPDX-License-Identifier: Apache-2.0
// CHECK: an invariant of ours, on in release builds. A broken one prints where and what, and aborts.
//
// Never for what a guest does or a host refuses: those are data and Results.

#pragma once

namespace undercroft {

// Prints "CHECK failed: file:line: condition: note" and aborts.
// Runs the hook (set_check_hook) first.
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* note) noexcept;

// Called once before abort, e.g. to restore the terminal. Must be async-signal-safe.
void set_check_hook(void (*hook)()) noexcept;

}  // namespace undercroft

#define UC_CHECK_2(condition, note)         \
    (static_cast<bool>(condition) ? void(0) \
                                  : ::undercroft::check_failed(__FILE__, __LINE__, #condition, note))
#define UC_CHECK_1(condition) UC_CHECK_2(condition, "")
#define UC_CHECK_PICK(a, b, name, ...) name
#define CHECK(...) UC_CHECK_PICK(__VA_ARGS__, UC_CHECK_2, UC_CHECK_1, )(__VA_ARGS__)
