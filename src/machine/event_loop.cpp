// SPDX-License-Identifier: Apache-2.0
#include "event_loop.hpp"

#include "base/check.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

namespace undercroft {
namespace {

void drain(int fd) noexcept {
    std::uint64_t count = 0;
    [[maybe_unused]] auto n = ::read(fd, &count, sizeof count);  // nothing there: somebody else was faster
}

void set_timer(int fd, std::uint64_t ns) noexcept {
    itimerspec time{};
    time.it_value.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
    time.it_value.tv_nsec = static_cast<long>(ns % 1'000'000'000);
    timerfd_settime(fd, 0, &time, nullptr);
}

}  // namespace

Result<Alarm> Alarm::create() {
    Alarm alarm;
    alarm.fd_ = Fd{timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)};
    if (!alarm.fd_) return host_error().in("timerfd");
    return alarm;
}

void Alarm::set_in_ns(std::uint64_t ns) noexcept { set_timer(fd_.get(), std::max<std::uint64_t>(ns, 1)); }
void Alarm::clear() noexcept { set_timer(fd_.get(), 0); }
void Alarm::acknowledge() noexcept { drain(fd_.get()); }

Result<Doorbell> Doorbell::create() {
    Doorbell bell;
    bell.fd_ = Fd{eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    if (!bell.fd_) return host_error().in("eventfd");
    return bell;
}

void Doorbell::ring() noexcept {
    std::uint64_t one = 1;
    [[maybe_unused]] auto n = ::write(fd_.get(), &one, sizeof one);  // full: it rings already
}

void Doorbell::acknowledge() noexcept { drain(fd_.get()); }

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
    std::unique_ptr<EventLoop> loop{new EventLoop};
    loop->epoll_ = Fd{epoll_create1(EPOLL_CLOEXEC)};
    if (!loop->epoll_) return host_error().in("epoll");
    auto bell = Doorbell::create();
    if (!bell) return bell.error();
    loop->stop_bell_ = *std::move(bell);
    loop->watch(loop->stop_bell_.fd(), [self = loop.get()] {
        self->stop_bell_.acknowledge();
        self->stopping_ = true;
    });
    return loop;
}

void EventLoop::watch(int fd, Handler handler) {
    CHECK(!watches_.contains(fd), "a file is watched once");
    auto watch = std::make_shared<Watch>();
    watch->handler = std::move(handler);
    attach(fd, *watch);
    watches_.emplace(fd, std::move(watch));
}

void EventLoop::attach(int fd, Watch& watch) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return;
    CHECK(errno == EPERM, "epoll_ctl");  // a file that is never busy
    watch.always_ready = true;
    ++always_ready_;
}

// Removed altogether: epoll reports a hang-up even to who asks for nothing.
void EventLoop::detach(int fd, Watch& watch) {
    if (watch.always_ready) {
        --always_ready_;
    } else {
        epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    }
    watch.always_ready = false;
}

void EventLoop::pause(int fd) {
    auto found = watches_.find(fd);
    if (found == watches_.end() || found->second->paused) return;
    found->second->paused = true;
    detach(fd, *found->second);
}

void EventLoop::resume(int fd) {
    auto found = watches_.find(fd);
    if (found == watches_.end() || !found->second->paused) return;
    found->second->paused = false;
    attach(fd, *found->second);
}

void EventLoop::forget(int fd) {
    auto found = watches_.find(fd);
    if (found == watches_.end()) return;
    if (!found->second->paused) detach(fd, *found->second);
    watches_.erase(found);
}

void EventLoop::handle(int fd) {
    auto found = watches_.find(fd);
    if (found == watches_.end() || found->second->paused)
        return;  // an earlier handler of this round did that
    auto watch = found->second;
    watch->handler();
}

void EventLoop::run() {
    stopping_ = false;
    while (!stopping_) {
        std::array<epoll_event, 16> events{};
        int timeout = always_ready_ > 0 ? 0 : -1;
        int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout);
        CHECK(count >= 0 || errno == EINTR, "epoll_wait");
        for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)].data.fd);
        if (always_ready_ == 0) continue;
        std::vector<int> ready;
        for (const auto& [fd, watch] : watches_) {
            if (watch->always_ready) ready.push_back(fd);
        }
        for (int fd : ready) handle(fd);
    }
}

void EventLoop::stop() noexcept { stop_bell_.ring(); }

}  // namespace undercroft
