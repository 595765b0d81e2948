// SPDX-License-Identifier: Apache-2.0
#include "disk/storage.hpp"

#include <algorithm>
#include <array>

namespace undercroft {

DiskStatus write_zero_bytes(Storage& storage, std::uint64_t offset, std::uint64_t length) {
    static constexpr std::array<std::byte, 65536> zeros{};
    while (length > 0) {
        auto now = std::min<std::uint64_t>(length, zeros.size());
        DiskStatus status = storage.write_bytes(offset, std::span{zeros}.first(now));
        if (status != DiskStatus::Ok) return status;
        offset += now;
        length -= now;
    }
    return DiskStatus::Ok;
}

}  // namespace undercroft
