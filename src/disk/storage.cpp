// SPDX-License-Identifier: Apache-2.0
#include "disk/storage.hpp"

#include <algorithm>
#include <array>

namespace undercroft {

// When Linux cannot write a page of a file back, one fdatasync of each open file reports it. The page may be
// marked clean even so, and is not written again: the next fdatasync returns 0 without it. That goes for
// ENOSPC as well, where a file system finds out only then that there is no room. To try again is right only
// for who still has all bytes since the last sync, and writes them again; nobody here has.
DiskStatus Storage::sync() {
    if (is_inconsistent_) return DiskStatus::Failed;
    is_inconsistent_ = try_sync() != DiskStatus::Ok;
    return is_inconsistent_ ? DiskStatus::Failed : DiskStatus::Ok;
}

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
