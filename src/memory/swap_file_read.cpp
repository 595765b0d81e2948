// SPDX-License-Identifier: Apache-2.0
// What helpers of translated code call.
#include "memory/swap_file.hpp"

#include <sys/uio.h>
#include <unistd.h>

namespace undercroft {
namespace {

// The guest's vector and x87 state, while functions run that were not compiled for helpers. Its end restores
// it.
class VectorState {
public:
    VectorState() noexcept {
        // XRSTOR wants the header as zero where XSAVE does not write it. (SDM vol. 1 section 13.4.2)
        auto* header = reinterpret_cast<std::uint64_t*>(&area_[512]);
        for (unsigned n = 0; n < 8; ++n) header[n] = 0;
        asm volatile("xsave64 %0" : "+m"(area_) : "a"(~0u), "d"(~0u));
    }
    VectorState(const VectorState&) = delete;
    VectorState& operator=(const VectorState&) = delete;
    ~VectorState() { asm volatile("xrstor64 %0" : : "m"(area_), "a"(~0u), "d"(~0u)); }

private:
    static constexpr std::size_t largest = 16384;  // with AMX it is 11 KiB
    alignas(64) std::byte area_[largest];          // NOLINT(modernize-avoid-c-arrays): not cleared
};

bool read_if_cached(int file, std::byte* page, off_t at) noexcept {
    iovec piece{page, 4096};
    return preadv2(file, &piece, 1, at, RWF_NOWAIT) == 4096;
}

}  // namespace

void SwapFile::read(std::uint32_t slot, std::byte* page) noexcept {
    if (!read_if_cached(file_.get(), page, static_cast<off_t>(slot) * 4096)) read_slowly(slot, page);
}

void SwapFile::read_slowly(std::uint32_t slot, std::byte* page) noexcept {
    if (observer_ == nullptr) return wait_for(slot, page);
    {
        VectorState guests;
        observer_->wait_begins();
    }
    wait_for(slot, page);
    VectorState guests;
    observer_->wait_ends();
}

void SwapFile::wait_for(std::uint32_t slot, std::byte* page) noexcept {
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
