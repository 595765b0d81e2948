// SPDX-License-Identifier: Apache-2.0
// A virtio source of entropy under anything a guest can do (virtio_guest.hpp).
#include "virtio/entropy.hpp"
#include "virtio_guest.hpp"

using namespace undercroft;

namespace {

class Guest final : public fuzz::VirtioGuest {
public:
    Guest() { connect(entropy_); }

private:
    void serve() override { entropy_.serve(); }
    void event(fuzz::Input&) override {}

    void request(fuzz::Input& input) override {
        auto flags = static_cast<std::uint16_t>(input.below(2) * 2);
        std::uint64_t data = free_memory + input.take<std::uint16_t>() % 0x8000u;
        auto length = 1u + input.take<std::uint16_t>() % 0x3000u;
        offer(0, {{data, length, static_cast<std::uint16_t>(flags | 1), 1}, {data + length, 0x1000, 2, 0}});
    }

    VirtioEntropy entropy_{dma_, lock_};
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::run_guest<Guest>(data, size);
}
