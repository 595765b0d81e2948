// SPDX-License-Identifier: Apache-2.0
// Gear: when user code is executed directly.
//
// To execute directly pays for code that computes: each way out costs some ten microseconds, where translated
// code makes a system call in a tenth of one. So a program is shifted up when it has been found computing, by
// the timer's interrupts; and down again when too much of its time goes into ways out, then for longer each
// time that this happens.
//
// All times are ticks of the host's TSC. Knows no vCPU: for tests.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace undercroft::direct {

class Gear {
public:
    // What is known of a program where it did not pay.
    struct Rest {
        std::uint64_t program = 0;
        std::uint64_t until = 0;
        std::uint64_t length = 0;
    };
    static constexpr std::uint64_t shortest_look = 1'000'000;  // between two looks: some 0.3 ms
    static constexpr std::uint64_t per_entry = 100'000;        // ticks that a kernel entry has to be apart
    static constexpr std::uint64_t window = 20'000'000;        // of which the costs are looked at
    static constexpr std::uint64_t first_rest = 20'000'000;    // after too many ways out; doubled each time
    static constexpr std::uint64_t longest_rest = 2'500'000'000;

    // An interrupt has found user code of this program in this address space, which executes translated; so
    // often the kernel has been entered for other reasons so far. True: it is to execute directly from now
    // on.
    bool looked(std::uint64_t space, std::uint64_t program, std::uint64_t now,
                std::uint64_t entries) noexcept {
        bool same = space == space_ && now - looked_at_ < 100 * shortest_look;
        std::uint64_t time = now - looked_at_;
        if (same && time < shortest_look) return false;
        std::uint64_t since = entries - entries_;
        space_ = space;
        looked_at_ = now;
        entries_ = entries;
        const Rest* rest = find_rest(program);
        if (!same || (rest != nullptr && now < rest->until) || since * per_entry > time) return false;
        if (program != high_program_) {
            since_ = now;
            invested_ = 0;
        }
        high_ = true;
        high_space_ = space;
        high_program_ = program;
        spent_ = useful_ = mapping_ = 0;
        return true;
    }
    bool is_high(std::uint64_t space) const noexcept { return high_ && space == high_space_; }

    // A stay in direct execution is over: of `spent` ticks, the guest's code had `useful`, and `mapping` went
    // into pages that were missing. False: it goes on translated.
    bool stayed(std::uint64_t now, std::uint64_t spent, std::uint64_t useful,
                std::uint64_t mapping) noexcept {
        spent_ += spent;
        useful_ += useful;
        mapping_ += mapping;
        if (spent_ < window) return true;
        invested_ += mapping_;
        bool may_invest = invested_ <= 2 * window + (now - since_) / 4;
        bool pays = useful_ >= (may_invest ? spent_ - mapping_ : spent_) / 5 * 3;
        spent_ = useful_ = mapping_ = 0;
        if (pays) {
            if (Rest* rest = find_rest(high_program_)) rest->length = 0;  // forgotten
            return true;
        }
        shift_down(now);
        return false;
    }
    // For want of the host's help, or as its code cannot be executed so.
    void shift_down(std::uint64_t now) noexcept {
        high_ = false;
        Rest* rest = find_rest(high_program_);
        if (rest == nullptr) {
            rest = &rests_[next_rest_++ % rests_.size()];
            *rest = {.program = high_program_};
        }
        rest->length = std::clamp(2 * rest->length, first_rest, longest_rest);
        rest->until = now + rest->length;
    }

private:
    Rest* find_rest(std::uint64_t program) noexcept {
        for (Rest& rest : rests_)
            if (rest.length != 0 && rest.program == program) return &rest;
        return nullptr;
    }

    std::array<Rest, 8> rests_{};
    unsigned next_rest_ = 0;
    bool high_ = false;
    std::uint64_t high_space_ = 0;
    std::uint64_t high_program_ = 0;
    std::uint64_t space_ = 0;
    std::uint64_t looked_at_ = 0;
    std::uint64_t entries_ = 0;
    std::uint64_t since_ = 0;     // when high_program_ was first shifted up
    std::uint64_t invested_ = 0;  // in its pages
    std::uint64_t spent_ = 0;     // of this window, like the next two
    std::uint64_t useful_ = 0;
    std::uint64_t mapping_ = 0;
};

}  // namespace undercroft::direct
