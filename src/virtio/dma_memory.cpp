// SPDX-License-Identifier: Apache-2.0
#include "virtio/dma_memory.hpp"

#include "x86/paging.hpp"

#include <algorithm>

namespace undercroft {

bool DmaMemory::find(GuestPhysical address, std::uint64_t length, Buffers& into) const {
    while (length > 0) {
        std::byte* host = memory_.host(address);
        if (host == nullptr) return false;
        std::uint64_t now = std::min(length, page_size - address.page_offset());
        into.add(host, now);
        address = address + now;
        length -= now;
    }
    return true;
}

}  // namespace undercroft
