// SPDX-License-Identifier: Apache-2.0
// ImagePages: pages of disk images that several machines read. Each lies in one frame, which all of them
// show: the second machine's read is a mapping, not a copy. (Bugnion et al., "Disco: Running Commodity
// Operating Systems on Scalable Multiprocessors", SOSP 1997, section 4.2.2.)
//
// A machine that writes to such a page gets a frame of its own, like with every shared page
// (GuestMemory::writable). A page that no machine shows any more is forgotten with the next drop_unused().

#pragma once

#include "x86/address.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

namespace undercroft {

class FramePool;

// A page of an image that does not change.
struct ImagePage {
    std::uint64_t image = 0;   // whose number no other image ever gets
    std::uint64_t number = 0;  // of the page in it
    bool operator==(const ImagePage&) const = default;
};

// Thread-safe.
class ImagePages {
public:
    // Of the pool, with which it ends, and all frames.
    explicit ImagePages(FramePool& pool) : pool_{pool} {}
    ImagePages(const ImagePages&) = delete;
    ImagePages& operator=(const ImagePages&) = delete;

    // Before machines run. At first they are not shared; somebody has to call drop_unused() if they are.
    void enable() { enabled_ = true; }
    bool is_enabled() const { return enabled_; }

    // The frame that holds it, of which the caller becomes a sharer.
    std::optional<MachineFrame> find(const ImagePage& page);
    // `frame` is the caller's, and holds the page. Returns the frame to show, of which the caller becomes a
    // sharer: this one, or one that somebody was quicker to add.
    MachineFrame add(const ImagePage& page, MachineFrame frame);
    void drop_unused();

    std::size_t count() const;

private:
    struct Hash {
        std::size_t operator()(const ImagePage& page) const {
            return static_cast<std::size_t>((page.image * 0x9e3779b97f4a7c15 + page.number) *
                                            0xff51afd7ed558ccd);
        }
    };

    FramePool& pool_;
    std::atomic<bool> enabled_{false};
    mutable std::mutex mutex_;
    std::unordered_map<ImagePage, MachineFrame, Hash> frames_;  // each counts as one sharer
};

}  // namespace undercroft
