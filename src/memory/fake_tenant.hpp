// SPDX-License-Identifier: Apache-2.0
// A machine as those who take frames away see it, played by a test.

#pragma once

#include "memory/memory_tenant.hpp"

#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace undercroft::test {

inline constexpr std::uint64_t pages = 512;

class FakeTenant final : public MemoryTenant {
public:
    explicit FakeTenant(std::shared_ptr<FramePool> pool)
        : memory_{*GuestMemory::create({{GuestPhysical{0}, pages << 12}}, std::move(pool))} {}

    GuestMemory& guest_memory() noexcept override { return *memory_; }
    bool hold() override {
        ++holds;
        if (!may_hold) return false;
        ++wanted;
        held_.lock();
        return true;
    }
    void release() override {
        held_.unlock();
        --wanted;
    }
    std::chrono::nanoseconds ran() const override { return work; }

    // A page that looks like this all over.
    void fill(std::uint64_t pfn, std::uint8_t value) {
        std::memset(memory_->writable(GuestPhysical{pfn << 12}), value, 4096);
    }
    std::byte at(std::uint64_t pfn, unsigned offset = 100) const {
        return *memory_->readable(GuestPhysical{(pfn << 12) + offset});
    }
    MemoryFigures figures() const { return memory_->figures(); }

    // While it lives, its owner is a vCPU that executes. It begins when the machine is not held, nor about to
    // be.
    class Turn {
    public:
        explicit Turn(FakeTenant& tenant) : tenant_{tenant} {
            while (tenant.wanted != 0 || tenant.memory_->pool().is_over_limit()) std::this_thread::yield();
            tenant.held_.lock();
        }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;
        ~Turn() { tenant_.held_.unlock(); }

    private:
        FakeTenant& tenant_;
    };

    std::atomic<unsigned> wanted{0};
    bool may_hold = true;
    unsigned holds = 0;
    std::chrono::nanoseconds work{};

private:
    std::mutex held_;
    std::unique_ptr<GuestMemory> memory_;
};

}  // namespace undercroft::test
