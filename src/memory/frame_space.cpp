// SPDX-License-Identifier: Apache-2.0
#include "memory/frame_space.hpp"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace undercroft {
namespace {

// A file beyond the limit would bring a signal, not an error.
bool may_be_as_large(std::uint64_t size) {
    rlimit limit{};
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
           (limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur);
}

}  // namespace

FrameSpace::FrameSpace(std::uint64_t size, FrameBacking wanted) : memory_{size, large_page_size} {
    if (!memory_) return;
    if (wanted == FrameBacking::Shared && !map_file()) {
        file_.reset();
        memory_ = Reservation{size, large_page_size};
        if (!memory_) return;
    }
    madvise(data() + large_page_size, this->size() - large_page_size, MADV_HUGEPAGE);  // a hint
    madvise(data(), this->size(), MADV_DONTDUMP);
}

// The second large page is the first that is handed out: what is tried with it is of use.
bool FrameSpace::map_file() {
    if (!may_be_as_large(size())) return false;
    file_ = Fd{memfd_create("undercroft-frames", MFD_CLOEXEC)};
    if (!file_ || ftruncate(file(), static_cast<off_t>(size())) != 0) return false;
    constexpr int flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;
    if (mmap(data(), size(), PROT_READ | PROT_WRITE, flags, file(), 0) == MAP_FAILED) return false;
    return collapse_large_pages(data() + large_page_size, large_page_size);
}

bool FrameSpace::give_to_host(std::byte* begin, std::size_t size) noexcept {
    return madvise(begin, size, file_ ? MADV_REMOVE : MADV_DONTNEED) == 0;
}

// Private pages are moved, large ones as they are. A file's have to be copied; the source goes meanwhile, so
// that the host has the memory of the last piece for the next one.
bool FrameSpace::move_in(std::byte* to, std::span<std::byte> from) noexcept {
    if (!file_) {
        // The source stays mapped, empty: whoever owns it may free it as if nothing had happened.
        constexpr int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
        return mremap(from.data(), from.size(), from.size(), flags, to) != MAP_FAILED;
    }
    while (!from.empty()) {
        std::size_t before = static_cast<std::size_t>(to - data()) % large_page_size;
        std::size_t now = std::min(large_page_size - before, from.size());
        begin_large_page(to - before);
        std::memcpy(to, from.data(), now);
        madvise(from.data(), now, MADV_DONTNEED);
        to += now;
        from = from.subspan(now);
    }
    return true;
}

}  // namespace undercroft
