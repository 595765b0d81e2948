// SPDX-License-Identifier: Apache-2.0
// What helpers of translated code call.
#include "memory/swap_file.hpp"

#include <unistd.h>

namespace undercroft {

void SwapFile::read(std::uint32_t slot, std::byte* page) noexcept {
    constexpr unsigned patience_us = 100'000;
    constexpr char complaint[] = "undercroft: cannot read the swap file; a machine waits for it\n";
    for (unsigned tries = 0;; ++tries) {
        if (pread(file_.get(), page, 4096, static_cast<off_t>(slot) * 4096) == 4096) return;
        if (tries == 0 && ::write(STDERR_FILENO, complaint, sizeof complaint - 1) < 0) continue;
        usleep(patience_us);
    }
}

void SwapFile::release(std::uint32_t slot) noexcept {
    lock_.lock();
    reinterpret_cast<std::uint32_t*>(links_.data())[slot] = free_;
    free_ = slot;
    --in_use_;
    lock_.unlock();
}

}  // namespace undercroft
