// SPDX-License-Identifier: Apache-2.0
// FramePool: the machine frames of all machines of a process.
//
// One piece of address space (frame_space.hpp), in which frame n lies at base + 4096 n. Frame 0 is
// inaccessible and stands for "none"; frame 1 is zero, read-only, and what every page without contents shows.
// All others are handed out, densely from the bottom, so that the host can back them by large pages: those
// cost it a tenth per 4 KiB (0.2 instead of 1.2 to 2 us on the machine this was measured on), and no more
// memory than the frames need. It is a file where the host can have large pages in one, for other processes
// of ours that run guest code on the frames themselves.
//
// Whoever is given a frame finds it zero, or is told that it is not: no machine sees another's data.
//
// A machine promises how many frames it will use at most; within that, taking cannot fail.

#pragma once

#include "base/backing_thread.hpp"
#include "base/result.hpp"
#include "base/spin_lock.hpp"
#include "memory/frame_space.hpp"
#include "memory/reservation.hpp"
#include "x86/address.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace undercroft {

// A few frames at a time, for a stash. Either all of them are zero, or all may hold anything.
struct FrameBatch {
    static constexpr unsigned most = 16;  // 64 KiB: the host backs them in one go

    std::array<MachineFrame, most> frames{};
    unsigned count = 0;
    bool zero = true;
};

class CompressedStore;
class ImagePages;
class SwapFile;

class FramePool {
public:
    static constexpr MachineFrame zero_frame{1};

    // Room for some hundred GiB of frames, or for `bytes` if that is more. Error: why the host refuses.
    static Result<std::shared_ptr<FramePool>> create(std::uint64_t bytes = 0,
                                                     FrameBacking wanted = FrameBacking::Shared);
    FramePool(const FramePool&) = delete;
    FramePool& operator=(const FramePool&) = delete;
    ~FramePool();

    std::byte* host(MachineFrame frame) const noexcept {
        return space_.data() + (static_cast<std::uint64_t>(frame) << 12);
    }
    const std::byte* zero_page() const noexcept { return host(zero_frame); }

    // The file that the frames lie in, and where in it what is at `host` lies: for another process that maps
    // them, frame by frame. It must let go of a frame before that is given back, or it would see the next
    // owner's data, and must not write the zero frame. -1: there is no file, the frames are this process'
    // alone.
    int file() const noexcept { return space_.file(); }
    std::uint64_t offset_of(const std::byte* host) const noexcept {
        return static_cast<std::uint64_t>(host - space_.data());
    }

    // Sets frames aside, or refuses.
    [[nodiscard]] bool promise(std::uint64_t frames);
    void release_promise(std::uint64_t frames);

    // Any thread, also in helpers of translated code: general registers only.
    void take(FrameBatch& batch) noexcept;
    void give_back(MachineFrame frame) noexcept;  // with anything in it

    // `count` neighbours that the host does not back yet, the first of them `offset` bytes (whole pages)
    // behind a border of 2 MiB. None: there are not as many in one piece.
    std::optional<MachineFrame> take_run(std::uint64_t count, std::uint64_t offset);
    // Such neighbours with the contents of whole pages of private memory, which may hold anything afterwards.
    // Much cheaper than taking one after the other. None: the same, or the host refuses.
    std::optional<MachineFrame> take_with_contents(std::span<std::byte> pages);
    // Many at once, in any order. Their memory goes back to the host.
    void give_back(std::vector<MachineFrame> frames);
    // Lets the host have the memory of frames that were given back one by one: all but `keep` of them, at
    // most `most` at a time. Returns how many. (Of a large page that is only partly in use, the host takes
    // the rest when it needs memory.)
    std::uint64_t trim(std::uint64_t keep, std::uint64_t most);

    // A frame that pages share: how many, and one more or fewer; the last one gives it back. It is in use, as
    // the caller knows.
    void begin_to_share(MachineFrame frame) noexcept;  // one
    void join(MachineFrame frame) noexcept;
    void leave(MachineFrame frame) noexcept;
    std::uint32_t sharers(MachineFrame frame) const noexcept;
    // Of a sharer who lets nobody join meanwhile: leaves, unless others still show it.
    bool leave_if_alone(MachineFrame frame) noexcept;

    CompressedStore& compressed() const noexcept { return *compressed_; }
    ImagePages& images() const noexcept { return *images_; }

    // Before machines use it: how many frames they are to have at most, and where pages go that have none.
    void set_limit(std::uint64_t frames, std::unique_ptr<SwapFile> swap);
    SwapFile* swap() const noexcept { return swap_.get(); }
    std::uint64_t limit() const noexcept { return limit_; }
    bool is_over_limit() const noexcept { return in_use() > limit_; }
    // Little is left: half of the room that there is at low water.
    bool is_under_pressure() const noexcept { return in_use() > pressure_from_; }
    // Of those in use, how many too many to give machines some room for what comes next.
    std::uint64_t frames_over_low_water() const noexcept;
    // By one thread: returns when little is left, or after wake_waiter(). False: not for so long.
    bool wait_for_pressure(std::chrono::seconds time) noexcept;
    void wake_waiter() noexcept;

    // Frames that machines have now, with those in their stashes.
    std::uint64_t in_use() const noexcept;

private:
    struct Run {
        std::uint64_t first;
        std::uint64_t count;
    };
    // Linked by `links_`.
    struct List {
        std::uint64_t first = 0;  // zero: none
        std::uint64_t count = 0;
    };
    static constexpr std::uint64_t frames_of_large_page = large_page_size >> 12;
    // The first large page has the two special ones.
    static constexpr std::uint64_t first_frame = frames_of_large_page;

    FramePool(FrameSpace space, Reservation links);
    void take_from(List& list, FrameBatch& batch) noexcept;
    bool take_neighbours(FrameBatch& batch) noexcept;  // true: they begin a large page with nothing in it
    void add_to(List& list, std::uint64_t frame) noexcept {
        link(frame) = static_cast<std::uint32_t>(list.first);
        list = {frame, list.count + 1};
    }
    std::uint64_t take_first(List& list) noexcept {
        std::uint64_t frame = list.first;
        list = {link(frame), list.count - 1};
        return frame;
    }
    void add_run(Run run);
    void begin_large_page(std::uint64_t first, std::uint64_t fresh) noexcept;
    void wake_if_little_is_left(std::uint64_t in_use) noexcept {
        if (in_use > pressure_from_ && pressure_.exchange(1, std::memory_order_relaxed) == 0) wake_waiter();
    }
    std::uint64_t room() const noexcept;
    void return_to_host(std::vector<MachineFrame>& frames);
    std::uint32_t& link(std::uint64_t frame) const noexcept {
        return reinterpret_cast<std::uint32_t*>(links_.data())[frame];
    }

    std::shared_ptr<BackingThread> backing_ = BackingThread::shared();
    FrameSpace space_;
    std::unique_ptr<CompressedStore> compressed_;
    std::unique_ptr<ImagePages> images_;
    std::unique_ptr<SwapFile> swap_;
    std::uint64_t limit_ = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t pressure_from_ = limit_;
    // A futex: one while little is left and nobody has seen to it.
    std::atomic<std::uint32_t> pressure_{0};
    Reservation links_;      // a word per frame: the next one on the list of used frames, or its sharers
    std::uint64_t end_;      // of the frames
    mutable SpinLock lock_;  // of everything below; innermost
    std::uint64_t promised_ = 0;
    std::uint64_t in_use_ = 0;
    List used_;                          // given back, holding anything
    List empty_;                         // given back, and not backed by the host
    std::vector<Run> runs_;              // the same, many together; sorted
    std::uint64_t fresh_ = first_frame;  // it and all above were never taken
};

}  // namespace undercroft
