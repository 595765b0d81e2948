// SPDX-License-Identifier: Apache-2.0
// BackingThread: has the host back large pages shortly before others touch them.
//
// The host clears memory when it is first touched, and where it is a guest itself, its own host has to find
// some: 0.1 to 1 ms for a large page. A processor that has nothing else to do can see to that meanwhile. One
// thread for the process, while anybody holds it.

#pragma once

#include "base/large_pages.hpp"
#include "base/spin_lock.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

namespace undercroft {

enum class Backing : std::uint8_t {
    Populate,  // of private memory for which large pages were asked, and of which this one was not touched
    Collapse,  // of any memory, whatever was touched
};

class BackingThread {
public:
    static std::shared_ptr<BackingThread> shared();
    BackingThread();
    BackingThread(const BackingThread&) = delete;
    BackingThread& operator=(const BackingThread&) = delete;
    ~BackingThread();

    // A large page that will be wanted soon. A hint: too many at once are forgotten, and so is what a host
    // refuses. Any thread, also in helpers of translated code: general registers only.
    void ask(std::byte* page, Backing how) noexcept;
    // Before the memory goes away: nothing in it is or will be worked on.
    void forget(const std::byte* begin, std::size_t size) noexcept;
    // Until all that was asked for is done.
    void finish() noexcept;

private:
    struct Request {
        std::byte* page = nullptr;
        Backing how = Backing::Populate;
    };
    void run() noexcept;
    bool take(Request& request) noexcept;  // false: there is none
    void wake() noexcept;

    SpinLock lock_;  // of the next two
    std::array<Request, 16> requests_;
    std::size_t count_ = 0;
    std::mutex working_;                   // while a request is taken and worked on
    std::atomic<std::uint32_t> asked_{0};  // a futex: how often
    std::atomic<bool> ending_{false};
    std::thread thread_;
};

}  // namespace undercroft
