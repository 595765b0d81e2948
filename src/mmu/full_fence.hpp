// SPDX-License-Identifier: Apache-2.0
// All of this thread's accesses before come before all that follow, as every other thread sees them.
//
// Written out, as ThreadSanitizer does not know std::atomic_thread_fence: it takes atomic accesses around it
// for unordered, which is no data race.

#pragma once

namespace undercroft {

inline void full_fence() noexcept { asm volatile("lock; orq $0, (%%rsp)" : : : "memory", "cc"); }

}  // namespace undercroft
