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
    queues_ = all.first(reports ? queues : queues - 1u);
    all[reporting].want_ranges();
    transport_ = &transport;
}

void VirtioBalloon::notify(unsigned) { ask_(); }

void VirtioBalloon::reset() {
    queues_ = {};
    transport_ = nullptr;
    actual_ = 0;
    ++generation_;
    resetting_ = true;
    busy_.wait();
    resetting_ = false;
}

void VirtioBalloon::break_down(const char* why) {
    transport_->needs_reset(why);
    queues_ = {};
}

// The next request of any queue; if there is none, the driver will notify us of it.
bool VirtioBalloon::fetch() {
    for (from_ = 0; from_ < queues_.size(); ++from_) {
        Queue& queue = queues_[from_];
        if (!queue.state().ready) continue;
        Queue::Pop popped = queue.pop(chain_);
        if (popped == Queue::Pop::Empty && !queue.ask_for_notification()) popped = queue.pop(chain_);
        if (popped == Queue::Pop::Chain) return true;
        if (queue.fault() == nullptr) continue;
        break_down(queue.fault());
        return false;
    }
    return false;
}

void VirtioBalloon::give_back(std::uint64_t generation) {
    if (generation != generation_ || queues_.empty()) return;  // the driver has given up on it
    Queue& queue = queues_[from_];
    if (!queue.push(chain_, 0)) return break_down(queue.fault());
    if (queue.wants_interrupt()) transport_->used_buffers();
}

// Numbers of pages of 4 KiB, 32 bits each.
void VirtioBalloon::read_page_numbers() {
    std::array<std::uint32_t, 256> numbers;
    for (;;) {
        auto bytes = std::as_writable_bytes(std::span{numbers});
        std::size_t count = chain_.readable.take_front(bytes) / sizeof numbers[0];
        if (count == 0) return;
        for (std::size_t n = 0; n < count; ++n) ranges_.push_back({numbers[n], 1});
    }
}

// Whole pages of what the driver would let us write.
void VirtioBalloon::read_ranges() {
    for (const Chain::Range& range : chain_.writable_ranges) {
        std::uint64_t first = (range.address.value() + page_size - 1) >> 12;
        std::uint64_t end = (range.address.value() + range.length) >> 12;
        if (range.address.value() <= range.address.value() + range.length && first < end)
            ranges_.push_back({first, end - first});
    }
}

// Who takes the pages away waits until no device serves a request: so this is over before, and begins again
// after.
bool VirtioBalloon::take_request(std::uint64_t& generation) {
    RequestGate::Pass request{memory_.requests()};
    {
        std::lock_guard lock{lock_};
        if (!fetch()) return false;
        generation = generation_;
        busy_.set(true);
    }
    ranges_.clear();
    if (from_ == inflate) read_page_numbers();
    if (from_ == reporting) read_ranges();
    std::ranges::sort(ranges_, {}, &PageRange::pfn);
    return true;
}

void VirtioBalloon::serve() {
    for (std::uint64_t generation = 0; take_request(generation);) {
        GivenUp how = from_ == reporting ? GivenUp::Reported : GivenUp::IntoBalloon;
        while (!ranges_.empty() && !resetting_ && !pages_.give_up(ranges_, how)) {
        }
        busy_.set(false);
        RequestGate::Pass request{memory_.requests()};
        std::lock_guard lock{lock_};
        give_back(generation);
    }
}

}  // namespace undercroft
