// SPDX-License-Identifier: Apache-2.0
// A virtio balloon under anything a guest can do (virtio_guest.hpp).
#include "virtio/balloon.hpp"
#include "virtio_guest.hpp"

#include <algorithm>

using namespace undercroft;

namespace {

class Pages final : public BalloonMemory {
public:
    bool give_up(std::span<const PageRange> pages, GivenUp) override {
        CHECK(std::ranges::is_sorted(pages, {}, &PageRange::pfn), "they are sorted");
        for (const PageRange& range : pages) CHECK(range.count > 0, "and none is empty");
        return true;
    }
};

class Guest final : public fuzz::VirtioGuest {
public:
    Guest() { connect(balloon_); }

private:
    void serve() override { balloon_.serve(); }
    void event(fuzz::Input& input) override { balloon_.set_target(input.take<std::uint16_t>()); }

    // Page numbers, or pages, in two pieces.
    void request(fuzz::Input& input) override {
        unsigned to = queue(input);
        auto flags = static_cast<std::uint16_t>(input.below(2) * 2);
        std::uint64_t data = free_memory + input.take<std::uint16_t>() % 0x8000u;
        auto length = 1u + input.take<std::uint16_t>() % 0x3000u;
        offer(to,
              {{data, length, static_cast<std::uint16_t>(flags | 1), 1}, {data + length, 0x1000, flags, 0}});
    }

    Pages pages_;
    VirtioBalloon balloon_{pages_, dma_, lock_};
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::run_guest<Guest>(data, size);
}
