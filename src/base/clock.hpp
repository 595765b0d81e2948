// SPDX-License-Identifier: Apache-2.0
// Time, given to whoever needs it: no device reads the time itself.
//
// The unit is the tick of the processor's time-stamp counter, because that is what the guest reads; `hz`
// says how many make a second. Tests use FakeClock.

#pragma once

#include <cstdint>

namespace undercroft {

class Clock {
public:
    virtual ~Clock() = default;
    // The guest's TSC, now. Between two processors of the host it may go back by a microsecond, even where a
    // lock says which came first (seen on a cloud host: 3000 ticks, once in 200 000).
    virtual std::uint64_t ticks() const = 0;
    virtual std::uint64_t hz() const = 0;       // ticks per second; constant
    virtual std::uint64_t wall_ns() const = 0;  // nanoseconds since the Unix epoch (CLOCK_REALTIME)

    // a * b / c without overflow of the product.
    static constexpr std::uint64_t scale(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
        __extension__ using Wide = unsigned __int128;
        return static_cast<std::uint64_t>(Wide{a} * b / c);
    }
    std::uint64_t to_ns(std::uint64_t tick_count) const { return scale(tick_count, 1'000'000'000, hz()); }
    std::uint64_t from_ns(std::uint64_t ns) const { return scale(ns, hz(), 1'000'000'000); }
    // How long the host takes until that many ticks have passed.
    virtual std::uint64_t host_ns(std::uint64_t tick_count) const { return to_ns(tick_count); }
};

// The host's TSC, its frequency measured against CLOCK_MONOTONIC_RAW.
class HostClock final : public Clock {
public:
    // Measures from the start of the program, for 20 ms at least.
    HostClock();
    std::uint64_t ticks() const override { return __builtin_ia32_rdtsc(); }
    std::uint64_t hz() const override { return hz_; }
    std::uint64_t wall_ns() const override;

private:
    std::uint64_t hz_;
};

// Passes slowly, for guests that do: one that is executed a hundred times slower than others would spend its
// time on timer interrupts.
class SlowClock final : public Clock {
public:
    SlowClock(const Clock& real, std::uint64_t factor) : real_{real}, factor_{factor} {}
    std::uint64_t ticks() const override { return real_.ticks() / factor_; }
    std::uint64_t hz() const override { return real_.hz(); }
    std::uint64_t wall_ns() const override { return real_.wall_ns(); }
    std::uint64_t host_ns(std::uint64_t tick_count) const override {
        return real_.host_ns(tick_count) * factor_;
    }

private:
    const Clock& real_;
    std::uint64_t factor_;
};

class FakeClock final : public Clock {
public:
    explicit FakeClock(std::uint64_t hz = 1'000'000'000) : hz_{hz} {}
    std::uint64_t ticks() const override { return ticks_; }
    std::uint64_t hz() const override { return hz_; }
    std::uint64_t wall_ns() const override { return wall_base_ns_ + to_ns(ticks_); }
    void advance(std::uint64_t tick_count) { ticks_ += tick_count; }
    void fall_behind(std::uint64_t tick_count) { ticks_ -= tick_count; }  // as another processor's may be
    void set_wall_base_ns(std::uint64_t ns) { wall_base_ns_ = ns; }

private:
    std::uint64_t hz_;
    std::uint64_t ticks_ = 0;
    std::uint64_t wall_base_ns_ = 0;
};

}  // namespace undercroft
