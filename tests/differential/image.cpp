// SPDX-License-Identifier: Apache-2.0
#include "image.hpp"

#include "values.hpp"

#include <algorithm>
#include <cstring>

namespace undercroft::differential {

Images::Images() {
    for (unsigned n = 0; n < template_count; ++n) {
        auto image = std::make_unique<Image>();
        Random random{0x6d656d6f7279u + n};
        for (Page& each : *image) {
            for (std::size_t at = 0; at < each.size(); at += 8) {
                std::uint64_t value = n == 0 ? 0 : any_number(random);
                std::memcpy(each.data() + at, &value, 8);
            }
        }
        templates_.push_back(std::move(image));
    }
}

// Code pages are INT3 around the code: running into them ends the run.
void Images::prepare(const Sequence& sequence, unsigned frame, std::byte* to) const {
    if (frame >= code_frames) {
        std::memcpy(to, (*templates_[sequence.memory % template_count])[frame].data(), page);
        return;
    }
    std::memset(to, 0xcc, page);
    std::uint64_t begin = std::max<std::uint64_t>(sequence.offset, frame * page);
    std::uint64_t end = std::min<std::uint64_t>(sequence.offset + sequence.length, (frame + 1) * page);
    if (begin < end)
        std::memcpy(to + (begin - frame * page), sequence.code.data() + (begin - sequence.offset),
                    end - begin);
}

namespace {

std::uint64_t hash(const std::byte* bytes) {
    std::array<std::uint64_t, 8> lane{1, 2, 3, 4, 5, 6, 7, 8};
    for (std::size_t at = 0; at < page; at += 64) {
        for (std::size_t n = 0; n < 8; ++n) {
            std::uint64_t word;
            std::memcpy(&word, bytes + at + 8 * n, 8);
            lane[n] = (lane[n] ^ word) * 0x9e3779b97f4a7c15;
            lane[n] ^= lane[n] >> 29;
        }
    }
    std::uint64_t all = 0;
    for (std::uint64_t each : lane) all = (all ^ each) * 0xff51afd7ed558ccd + (all >> 31);
    return all;
}

}  // namespace

std::uint64_t hash_frame(const Sequence& sequence, unsigned frame, const std::byte* bytes) {
    if (sequence.ignored_count == 0) return hash(bytes);
    Page copy;
    std::memcpy(copy.data(), bytes, page);
    for (unsigned n = 0; n < sequence.ignored_count; ++n) {
        for (std::uint32_t i = 0; i < sequence.ignored[n].length; ++i) {
            std::uint64_t at = sequence.ignored[n].start + i;
            if (at / page == frame) copy[at % page] = std::byte{0};
        }
    }
    return hash(copy.data());
}

}  // namespace undercroft::differential
