// SPDX-License-Identifier: Apache-2.0
// The pmap: from guest-physical page numbers to the machine frames that hold them, and to host addresses.
//
// One flat table per machine, one word per guest page up to the highest RAM page; its untouched parts (holes)
// cost nothing. A word is the frame's number in the pool; zero stands for "no frame here", which is why frame
// 0 is never handed out. The four bits above the number are kept for states to come (shared, swapped,
// ballooned).
//
// host_page() and frame() may be called from every thread and from translated code's helpers. map() belongs
// to set-up, before a vCPU runs.

#pragma once

#include "x86/address.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace undercroft {

class PhysicalMap {
public:
    static constexpr unsigned frame_bits = 28;  // 1 TiB of pool
    static constexpr MachineFrame no_frame{0};

    PhysicalMap() = default;

    // A map of `page_limit` pages without frames; `pool` is the host address of frame 0. Empty when there is
    // no memory for the table: see valid().
    PhysicalMap(std::uint64_t page_limit, std::byte* pool);
    bool valid() const { return entries_ != nullptr; }

    void map(std::uint64_t pfn, MachineFrame frame);

    // The host address of the page's first byte; null when nothing is mapped there.
    std::byte* host_page(std::uint64_t pfn) const noexcept {
        if (pfn >= page_limit_) return nullptr;
        std::uint64_t entry = entries_[pfn];
        return entry != 0 ? pool_ + (entry << 12) : nullptr;
    }
    MachineFrame frame(std::uint64_t pfn) const noexcept {
        return pfn < page_limit_ ? MachineFrame{entries_[pfn]} : no_frame;
    }
    std::uint64_t page_limit() const noexcept { return page_limit_; }

private:
    struct Free {
        void operator()(std::uint32_t* table) const { std::free(table); }
    };

    std::unique_ptr<std::uint32_t[], Free> entries_;
    std::uint64_t page_limit_ = 0;
    std::byte* pool_ = nullptr;
};

}  // namespace undercroft
