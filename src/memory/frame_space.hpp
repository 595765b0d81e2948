// SPDX-License-Identifier: Apache-2.0
// FrameSpace: the memory that a pool's frames lie in.
//
// One sparse file of no name (memfd), mapped as a whole and shared, so that another process of ours can map
// its pages as well. The host gives such files small pages only, unless it is told otherwise for all of the
// machine; those cost three times as much as private ones. But it brings what was touched of a large page
// together on request (base/large_pages.hpp), untouched rest included, in the time that it takes to clear it.
// When part of a large page is given back, the host takes it apart; what is left is mapped again when it is
// next used, and does not count as resident until then.
//
// A host that cannot do that (before Linux 6.1), or limits the size of files, gives a private reservation
// instead, whose large pages come with the first touch.

#pragma once

#include "base/backing_thread.hpp"
#include "base/fd.hpp"
#include "base/large_pages.hpp"
#include "base/populate.hpp"
#include "memory/reservation.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace undercroft {

enum class FrameBacking : std::uint8_t {
    Shared,  // by a file if the host can, else as Private
    Private,
};

class FrameSpace {
public:
    FrameSpace() = default;
    // Of whole large pages. Empty, with errno set, if the host refuses.
    FrameSpace(std::uint64_t size, FrameBacking wanted);

    explicit operator bool() const { return static_cast<bool>(memory_); }
    std::byte* data() const { return memory_.data(); }
    std::uint64_t size() const { return memory_.size(); }
    // The file: byte n of the space is its byte n. -1: there is none.
    int file() const { return file_.get(); }

    // How a large page is backed before it is touched.
    Backing backing() const { return file_ ? Backing::Collapse : Backing::Populate; }
    // Has the host back a large page that nobody has touched, if it does not when it is touched. A hint.
    // Cheap if that was done (1 us). Any thread, also in helpers of translated code: general registers only.
    void begin_large_page(std::byte* page) noexcept {
        if (file_) (void)collapse_large_pages(page, large_page_size);
    }
    // The host gets the memory of whole pages, which are zero then. False: it does not want it.
    [[nodiscard]] bool give_to_host(std::byte* begin, std::size_t size) noexcept;
    // Whole pages of private memory come to `to`, which nobody has touched, at the same distance from a 2 MiB
    // border. They may hold anything afterwards. False: the host refuses, and nothing is done.
    [[nodiscard]] bool move_in(std::byte* to, std::span<std::byte> from) noexcept;

private:
    bool map_file();  // and try out whether that is as good as private memory

    Reservation memory_;
    Fd file_;
};

}  // namespace undercroft
