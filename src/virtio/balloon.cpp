// SPDX-License-Identifier: Apache-2.0
#include "virtio/balloon.hpp"

#include "x86/paging.hpp"

#include <algorithm>
#include <array>

namespace undercroft {
namespace {

// struct virtio_balloon_config: num_pages, actual; little-endian.
constexpr std::uint64_t actual_at = 4;
constexpr std::uint64_t config_size = 8;

}  // namespace

void VirtioBalloon::set_target(std::uint32_t pages) {
    if (target_ == pages) return;
    target_ = pages;
    if (transport_ != nullptr) transport_->config_changed();
}

std::uint8_t VirtioBalloon::config(std::uint64_t offset) const {
    if (offset >= config_size) return 0;
    std::uint32_t value = offset < actual_at ? target_ : actual_;
    return static_cast<std::uint8_t>(value >> 8 * (offset % 4));
}

void VirtioBalloon::write_config(std::uint64_t offset, std::uint8_t value) {
    if (offset < actual_at || offset >= config_size) return;
    unsigned shift = 8 * static_cast<unsigned>(offset % 4);
    actual_ = (actual_ & ~(0xffu << shift)) | std::uint32_t{value} << shift;
}

void VirtioBalloon::start(std::uint64_t agreed_features, std::span<Queue> all, VirtioTransport& transport) {
    bool reports = (agreed_features & Feature::Reporting) != 0;
    all[reporting].want_ranges();
    transport_ = &transport;
    server_.start(all.first(reports ? queues : queues - 1u), transport);
}

void VirtioBalloon::reset() {
    transport_ = nullptr;
    actual_ = 0;
    server_.reset();
}

// Numbers of pages of 4 KiB, 32 bits each.
void VirtioBalloon::read_page_numbers(Chain& request) {
    std::array<std::uint32_t, 256> numbers;
    for (;;) {
        auto bytes = std::as_writable_bytes(std::span{numbers});
        std::size_t count = request.readable.take_front(bytes) / sizeof numbers[0];
        if (count == 0) return;
        for (std::size_t n = 0; n < count; ++n) ranges_.push_back({numbers[n], 1});
    }
}

// Whole pages of what the driver would let us write.
void VirtioBalloon::read_ranges(const Chain& request) {
    for (const Chain::Range& range : request.writable_ranges) {
        std::uint64_t first = (range.address.value() + page_size - 1) >> 12;
        std::uint64_t end = (range.address.value() + range.length) >> 12;
        if (range.address.value() <= range.address.value() + range.length && first < end)
            ranges_.push_back({first, end - first});
    }
}

// Who takes the pages away waits until no device uses guest memory; and a vCPU that waits in a reset of this
// one does not stop for it.
void VirtioBalloon::serve() {
    server_.serve([this](QueueServer::Request& request) -> const char* {
        ranges_.clear();
        if (request.queue == inflate) read_page_numbers(request.chain);
        if (request.queue == reporting) read_ranges(request.chain);
        std::ranges::sort(ranges_, {}, &PageRange::pfn);
        server_.leave_memory();
        GivenUp how = request.queue == reporting ? GivenUp::Reported : GivenUp::IntoBalloon;
        while (!ranges_.empty() && !server_.is_resetting() && !pages_.give_up(ranges_, how)) {
        }
        return nullptr;
    });
}

}  // namespace undercroft
