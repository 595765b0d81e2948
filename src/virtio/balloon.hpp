// SPDX-License-Identifier: Apache-2.0
// VirtioBalloon: memory that the guest does without (virtio 1.2 section 5.5).
//
// The guest's driver gives up pages until it holds as many as the monitor asks for (set_target()), takes them
// back when it is asked for fewer, or when it has no memory left itself; and it reports free pages in large
// pieces, which it may use again without a word. The balloon is told of pages given up and forgets what they
// hold; a page that is written again simply is memory again, so taking back needs no answer.
//
// Queues as Linux counts them, without gaps for features that are not offered: inflate, deflate, reporting.
// (The specification's fixed numbers are not what drivers use.) Left out: statistics, free page hints, page
// poisoning.

#pragma once

#include "virtio/device.hpp"
#include "virtio/queue_server.hpp"

#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

namespace undercroft {

struct PageRange {
    std::uint64_t pfn = 0;
    std::uint64_t count = 0;
    bool operator==(const PageRange&) const = default;
};

enum class GivenUp : std::uint8_t {
    IntoBalloon,  // until the driver takes them out again
    Reported,     // free at the moment
};

class BalloonMemory {
public:
    // What these pages hold is of no use to the guest, which may write to them again at any time. The guest
    // says which: they may be anything, and are sorted. False: nothing was done, as its vCPUs have to stop
    // for it and do not. Waits for a few milliseconds at most.
    [[nodiscard]] virtual bool give_up(std::span<const PageRange> pages, GivenUp how) = 0;

protected:
    ~BalloonMemory() = default;
};

class VirtioBalloon final : public VirtioDevice {
public:
    struct Feature {
        static constexpr std::uint64_t DeflateOnOom = 1ull << 2;
        static constexpr std::uint64_t Reporting = 1ull << 5;
    };

    // `lock` is that of the machine's devices. All of them outlive the device.
    VirtioBalloon(BalloonMemory& pages, const DmaMemory& memory, std::mutex& lock)
        : pages_{pages}, server_{memory, lock, 1} {}

    // Who makes a thread call serve(), see QueueServer.
    void on_work(std::function<void()> ask) { server_.on_work(std::move(ask)); }
    void serve();

    // Under the lock. How many pages the guest shall do without, and how many it says that it does.
    void set_target(std::uint32_t pages);
    std::uint32_t target() const { return target_; }
    std::uint32_t held() const { return actual_; }
    bool has_driver() const { return transport_ != nullptr; }

    VirtioDeviceId id() const override { return VirtioDeviceId::Balloon; }
    std::uint64_t features() const override { return Feature::DeflateOnOom | Feature::Reporting; }
    unsigned queue_count() const override { return queues; }
    std::uint8_t config(std::uint64_t offset) const override;
    void write_config(std::uint64_t offset, std::uint8_t value) override;
    void start(std::uint64_t agreed_features, std::span<Queue> queues, VirtioTransport& transport) override;
    void notify(unsigned) override { server_.notify(); }
    void reset() override;

private:
    static constexpr unsigned inflate = 0, deflate = 1, reporting = 2, queues = 3;

    void read_page_numbers(Chain& request);
    void read_ranges(const Chain& request);

    BalloonMemory& pages_;

    // Under the lock.
    VirtioTransport* transport_ = nullptr;
    std::uint32_t target_ = 0;
    std::uint32_t actual_ = 0;

    std::vector<PageRange> ranges_;  // of the request at hand
    QueueServer server_;
};

}  // namespace undercroft
