// SPDX-License-Identifier: Apache-2.0
#include "net/checksum.hpp"

#include "base/check.hpp"

#include <cstring>

namespace undercroft {

std::uint16_t internet_checksum(std::span<const std::byte> bytes) {
    // Words of 32 bits in a sum of 64: the carries are added at the end (RFC 1071 section 2).
    std::uint64_t sum = 0;
    std::size_t at = 0;
    for (; at + 4 <= bytes.size(); at += 4) {
        std::uint32_t word = 0;
        std::memcpy(&word, bytes.data() + at, sizeof word);
        sum += word;
    }
    std::uint32_t rest = 0;
    if (at < bytes.size()) std::memcpy(&rest, bytes.data() + at, bytes.size() - at);
    sum += rest;
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

void complete_checksum(std::span<std::byte> frame, OffloadHeader& offload) {
    std::size_t field = std::size_t{offload.csum_start} + offload.csum_offset;
    CHECK(offload.csum_start <= frame.size() && field + 2 <= frame.size());
    // The field holds the sum over the pseudo-header. Zero would mean that there is none (RFC 768).
    std::uint16_t sum = internet_checksum(frame.subspan(offload.csum_start));
    if (sum == 0) sum = 0xffff;
    std::memcpy(frame.data() + field, &sum, sizeof sum);
    offload.flags = 0;
    offload.csum_start = offload.csum_offset = 0;
}

}  // namespace undercroft
