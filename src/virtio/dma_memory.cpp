// SPDX-License-Identifier: Apache-2.0
#include "virtio/dma_memory.hpp"

#include <algorithm>

namespace undercroft {

bool DmaMemory::find(GuestPhysical address, std::uint64_t length, Access access, Buffers& into) const {
    while (length > 0) {
        // Buffers have one type; what was found for reading is only read.
        std::byte* host = access == Access::Write ? memory_.writable(address)
                                                  : const_cast<std::byte*>(memory_.readable(address));
        if (host == nullptr) return false;
        std::uint64_t now = std::min(length, page_size - address.page_offset());
        into.add(host, now);
        address = address + now;
        length -= now;
    }
    return true;
}

}  // namespace undercroft
