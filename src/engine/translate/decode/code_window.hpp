// SPDX-License-Identifier: Apache-2.0
// CodeWindow: a page of guest code as the translator sees it, copied before it is looked at.
//
// Guest memory may change between two looks: another vCPU or a device writes it. A translation decodes some
// bytes more than once, and an emitted instruction has to be the one that was classified. So each byte is
// read once, into private memory, and only that is decoded.

#pragma once

#include "mmu/code_pages.hpp"
#include "x86/paging.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace undercroft::translate {

class CodeWindow {
public:
    static constexpr std::size_t piece = CodePages::granule_size;  // bytes copied at a time

    // Of this page from now on; nothing is copied yet. `pages` learns what is read of it, at `address`.
    void open(const std::byte* page, CodePages& pages, GuestPhysical address) noexcept {
        page_ = page;
        pages_ = &pages;
        address_ = address;
        copied_ = 0;
    }
    // Bytes [offset, offset + size) of the page, or up to its end: as they were when first asked for.
    std::span<const std::byte> bytes(std::size_t offset, std::size_t size) noexcept {
        size = std::min<std::size_t>(size, page_size - offset);
        if (size == 0) return {};
        for (std::size_t n = offset / piece; n <= (offset + size - 1) / piece; ++n) {
            if ((copied_ >> n & 1) != 0) continue;
            pages_->about_to_read(address_ + n * piece, piece);
            std::memcpy(copy_.data() + n * piece, page_ + n * piece, piece);
            copied_ |= std::uint64_t{1} << n;
        }
        return std::span{copy_}.subspan(offset, size);
    }

private:
    const std::byte* page_ = nullptr;
    CodePages* pages_ = nullptr;
    GuestPhysical address_;
    std::uint64_t copied_ = 0;  // a bit per piece
    alignas(piece) std::array<std::byte, page_size> copy_;
};
static_assert(page_size / CodeWindow::piece == 64, "a bit per piece fits into a word");

}  // namespace undercroft::translate
