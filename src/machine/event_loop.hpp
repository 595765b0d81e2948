// SPDX-License-Identifier: Apache-2.0
// EventLoop: the one thread that waits for everything but the guest (epoll), and what it waits for besides
// files: Alarm (a timerfd) and Doorbell (an eventfd, for other threads to wake it).
//
// All members of EventLoop but stop() belong to the thread that calls run(), or to whoever has not started it
// yet.

#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

namespace undercroft {

// Any thread may set it; the loop watches fd(). Costs a host call (0.4 us): set it only to an earlier time.
class Alarm {
public:
    static Result<Alarm> create();

    int fd() const { return fd_.get(); }
    void set_in_ns(std::uint64_t ns) noexcept;
    void clear() noexcept;
    void acknowledge() noexcept;  // after it has fired

private:
    Fd fd_;
};

class Doorbell {
public:
    static Result<Doorbell> create();

    int fd() const { return fd_.get(); }
    void ring() noexcept;         // async-signal-safe
    void acknowledge() noexcept;  // silent until the next ring()

private:
    Fd fd_;
};

class EventLoop {
public:
    using Handler = std::function<void()>;

    static Result<std::unique_ptr<EventLoop>> create();

    // Calls `handler` whenever `fd` is readable (or closed by the other end) until forget(fd). Files that
    // epoll does not know, such as regular ones, count as always readable. `fd` must stay open while watched.
    void watch(int fd, Handler handler);
    // Without being forgotten: back-pressure.
    void pause(int fd);
    void resume(int fd);
    void forget(int fd);

    void run();            // until stop(); may be called again
    void stop() noexcept;  // any thread

private:
    struct Watch {
        Handler handler;
        bool paused = false;
        bool always_ready = false;
    };

    EventLoop() = default;
    void attach(int fd, Watch& watch);
    void detach(int fd, Watch& watch);
    void handle(int fd);

    Fd epoll_;
    Doorbell stop_bell_;
    std::map<int, std::shared_ptr<Watch>> watches_;  // shared: a handler may forget its own file
    unsigned always_ready_ = 0;                      // how many of them are not paused
    bool stopping_ = false;
};

}  // namespace undercroft
