// SPDX-License-Identifier: Apache-2.0
// Set-up, and many frames at once.
#include "memory/frame_pool.hpp"

#include "base/check.hpp"
#include "memory/compressed_store.hpp"
#include "memory/image_pages.hpp"
#include "memory/pmap_entry.hpp"
#include "memory/swap_file.hpp"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <mutex>
#include <utility>

#ifdef __SANITIZE_THREAD__
extern "C" void AnnotateBenignRaceSized(const char* file, int line, const volatile void* address,
                                        std::size_t size, const char* description);
#endif

namespace undercroft {
namespace {

constexpr std::uint64_t usual_size = std::uint64_t{256} << 30;
constexpr std::uint64_t smallest_size = std::uint64_t{64} << 20;

// vCPUs share RAM by the guest's rules: translated code takes its locks, which ThreadSanitizer does not see.
void expect_races([[maybe_unused]] const FrameSpace& space) {
#ifdef __SANITIZE_THREAD__
    AnnotateBenignRaceSized(__FILE__, __LINE__, space.data(), space.size(), "guest RAM");
#endif
}

}  // namespace

Result<std::shared_ptr<FramePool>> FramePool::create(std::uint64_t bytes, FrameBacking wanted) {
    constexpr std::uint64_t most = std::uint64_t{1} << (PmapEntry::frame_bits + 12);
    std::uint64_t needed = std::max(bytes + 2 * large_page_size, smallest_size);
    needed = (needed + large_page_size - 1) / large_page_size * large_page_size;
    if (needed > most) return Error{"more than a pool can hold"};
    // Hosts may limit a process' address space.
    for (std::uint64_t size = std::max(needed, usual_size);; size = std::max(size / 2, needed)) {
        FrameSpace space{size, wanted};
        Reservation links{(size >> 12) * sizeof(std::uint32_t)};
        if (space && links) {
            std::shared_ptr<FramePool> pool{new FramePool{std::move(space), std::move(links)}};
            pool->compressed_ = std::make_unique<CompressedStore>(*pool);
            pool->images_ = std::make_unique<ImagePages>(*pool);
            return pool;
        }
        if (size == needed) return Error{std::strerror(errno)};
    }
}

FramePool::FramePool(FrameSpace space, Reservation links)
    : space_{std::move(space)}, links_{std::move(links)}, end_{space_.size() >> 12} {
    expect_races(space_);
    mprotect(space_.data(), 4096, PROT_NONE);
    mprotect(host(zero_frame), 4096, PROT_READ);
}

bool FramePool::promise(std::uint64_t frames) {
    std::lock_guard lock{lock_};
    if (frames > end_ - first_frame - promised_) return false;
    promised_ += frames;
    return true;
}

void FramePool::release_promise(std::uint64_t frames) {
    std::lock_guard lock{lock_};
    promised_ -= frames;
}

// What lies before the border in a run stays on the list.
std::optional<MachineFrame> FramePool::take_run(std::uint64_t count, std::uint64_t offset) {
    constexpr std::uint64_t cycle = large_page_size >> 12;
    std::lock_guard lock{lock_};
    auto begin_in = [&](const Run& run) { return run.first + ((offset >> 12) - run.first) % cycle; };
    auto fits = [&](const Run& run) { return begin_in(run) + count <= run.first + run.count; };
    auto found = std::find_if(runs_.begin(), runs_.end(), fits);
    Run run{fresh_, end_ - fresh_};
    if (found != runs_.end()) {
        run = *found;
        runs_.erase(found);
    } else {
        if (!fits(run)) return std::nullopt;
        run.count = begin_in(run) + count - run.first;
        fresh_ = run.first + run.count;
    }
    std::uint64_t first = begin_in(run);
    if (first > run.first) add_run({run.first, first - run.first});
    std::uint64_t behind = run.first + run.count - (first + count);
    if (behind > 0) add_run({first + count, behind});
    in_use_ += count;
    return MachineFrame{first};
}

// At the same distance from a 2 MiB border, so that the host can move large pages as they are.
std::optional<MachineFrame> FramePool::take_with_contents(std::span<std::byte> pages) {
    std::uint64_t count = pages.size() >> 12;
    std::optional<MachineFrame> first =
        take_run(count, reinterpret_cast<std::uintptr_t>(pages.data()) % large_page_size);
    if (!first || space_.move_in(host(*first), pages)) return first;
    std::lock_guard lock{lock_};
    add_run({static_cast<std::uint64_t>(*first), count});
    in_use_ -= count;
    return std::nullopt;
}

void FramePool::give_back(std::vector<MachineFrame> frames) {
    return_to_host(frames);
    std::lock_guard lock{lock_};
    in_use_ -= frames.size();
}

std::uint64_t FramePool::trim(std::uint64_t keep, std::uint64_t most) {
    std::vector<MachineFrame> frames;
    frames.reserve(most);
    {
        std::lock_guard lock{lock_};
        while (frames.size() < most && used_.count > keep) frames.push_back(MachineFrame{take_first(used_)});
    }
    return_to_host(frames);
    return frames.size();
}

void FramePool::return_to_host(std::vector<MachineFrame>& frames) {
    std::sort(frames.begin(), frames.end());
    for (std::size_t done = 0; done < frames.size();) {
        std::size_t end = done + 1;
        auto first = static_cast<std::uint64_t>(frames[done]);
        while (end < frames.size() && static_cast<std::uint64_t>(frames[end]) == first + (end - done)) ++end;
        std::uint64_t count = end - done;
        if (!space_.give_to_host(host(frames[done]), count << 12))
            std::memset(host(frames[done]), 0, count << 12);
        std::lock_guard lock{lock_};
        if (count >= FrameBatch::most) {
            add_run({first, count});
        } else {
            for (std::uint64_t frame = first; frame < first + count; ++frame) add_to(empty_, frame);
        }
        done = end;
    }
}

// Sorted and merged, so that large runs can be had again.
void FramePool::add_run(Run run) {
    auto next = std::find_if(runs_.begin(), runs_.end(), [&](const Run& it) { return it.first > run.first; });
    bool joins_next = next != runs_.end() && run.first + run.count == next->first;
    bool joins_last = next != runs_.begin() && (next - 1)->first + (next - 1)->count == run.first;
    if (joins_last) {
        (next - 1)->count += run.count;
        if (!joins_next) return;
        (next - 1)->count += next->count;
        runs_.erase(next);
    } else if (joins_next) {
        *next = {run.first, run.count + next->count};
    } else {
        runs_.insert(next, run);
    }
}

void FramePool::begin_to_share(MachineFrame frame) noexcept {
    std::lock_guard lock{lock_};
    link(static_cast<std::uint64_t>(frame)) = 1;
}

void FramePool::join(MachineFrame frame) noexcept {
    std::lock_guard lock{lock_};
    ++link(static_cast<std::uint64_t>(frame));
}

void FramePool::leave(MachineFrame frame) noexcept {
    {
        std::lock_guard lock{lock_};
        std::uint32_t& count = link(static_cast<std::uint64_t>(frame));
        CHECK(count != 0, "a sharer that was not counted");
        if (--count != 0) return;
    }
    give_back(frame);
}

std::uint32_t FramePool::sharers(MachineFrame frame) const noexcept {
    std::lock_guard lock{lock_};
    return link(static_cast<std::uint64_t>(frame));
}

bool FramePool::leave_if_alone(MachineFrame frame) noexcept {
    if (sharers(frame) != 1) return false;
    leave(frame);
    return true;
}

FramePool::~FramePool() { backing_->forget(space_.data(), space_.size()); }

void FramePool::set_limit(std::uint64_t frames, std::unique_ptr<SwapFile> swap) {
    limit_ = frames;
    pressure_from_ = limit_ - room() / 2;
    swap_ = std::move(swap);
}

// At low water.
std::uint64_t FramePool::room() const noexcept {
    return std::min(limit_, std::max<std::uint64_t>(limit_ / 16, FrameBatch::most));
}

std::uint64_t FramePool::frames_over_low_water() const noexcept {
    std::uint64_t low_water = limit_ - room();
    std::uint64_t now = in_use();
    return now > low_water ? now - low_water : 0;
}

bool FramePool::wait_for_pressure(std::chrono::seconds time) noexcept {
    timespec patience{.tv_sec = time.count(), .tv_nsec = 0};
    while (pressure_.load(std::memory_order_relaxed) == 0) {
        long woken = syscall(SYS_futex, &pressure_, FUTEX_WAIT_PRIVATE, 0, &patience, nullptr, 0);
        if (woken != 0 && errno == ETIMEDOUT) return false;
    }
    pressure_.store(0, std::memory_order_relaxed);
    return true;
}

std::uint64_t FramePool::in_use() const noexcept {
    std::lock_guard lock{lock_};
    return in_use_;
}

}  // namespace undercroft
