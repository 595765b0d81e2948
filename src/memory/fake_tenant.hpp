// SPDX-License-Identifier: Apache-2.0
// A machine as those who take frames away see it, played by a test.

#pragma once

#include "memory/memory_tenant.hpp"

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace undercroft::test {

inline constexpr std::uint64_t pages = 512;

// A PageSharing::Pace without any wait.
inline bool at_once(std::uint64_t) { return true; }

// Calls `look` again and again on a thread of its own until both players have played, each on one of theirs.
template <class Look, class First, class Second>
void look_while_they_play(Look look, First first, Second second) {
    std::atomic<bool> done{false};
    std::thread looker{[&] {
        while (!done) look();
    }};
    std::thread one{first};
    std::thread other{second};
    one.join();
    other.join();
    done = true;
    looker.join();
}

class FakeTenant final : public MemoryTenant {
public:
    explicit FakeTenant(std::shared_ptr<FramePool> pool)
        : memory_{*GuestMemory::create({{GuestPhysical{0}, pages << 12}}, std::move(pool))} {}

    GuestMemory& guest_memory() noexcept override { return *memory_; }
    bool hold() override {
        ++holds;
        if (!may_hold) return false;
        ++wanted_;
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [this] { return !executes_; });
        if (held_) {
            --wanted_;
            return false;
        }
        held_ = true;
        return true;
    }
    void release() override {
        {
            std::lock_guard lock{mutex_};
            held_ = false;
            --wanted_;
        }
        changed_.notify_all();
    }
    std::chrono::nanoseconds ran() const override { return work; }
    // Its guest gives up pages from the front, at once.
    bool ask_to_do_without(std::uint64_t count) override {
        if (!has_balloon) return false;
        asked = count;
        std::vector<std::uint64_t> given;
        for (std::uint64_t pfn = 0; pfn < count; ++pfn) given.push_back(pfn);
        if (count > 0 && hold()) {
            memory_->give_up(given, PageState::Ballooned);
            release();
        }
        return true;
    }

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
            while (tenant.wanted_ != 0 || tenant.memory_->pool().is_over_limit()) std::this_thread::yield();
            std::unique_lock lock{tenant.mutex_};
            tenant.changed_.wait(lock, [&] { return !tenant.held_; });
            tenant.executes_ = true;
        }
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;
        ~Turn() {
            {
                std::lock_guard lock{tenant_.mutex_};
                tenant_.executes_ = false;
            }
            tenant_.changed_.notify_all();
        }

    private:
        FakeTenant& tenant_;
    };

    bool may_hold = true;
    bool has_balloon = false;
    std::atomic<std::uint64_t> asked = 0;
    std::atomic<unsigned> holds = 0;
    std::chrono::nanoseconds work{};

private:
    std::atomic<unsigned> wanted_{0};
    std::mutex mutex_;  // of the next three
    std::condition_variable changed_;
    bool held_ = false;
    bool executes_ = false;
    std::unique_ptr<GuestMemory> memory_;
};

}  // namespace undercroft::test
