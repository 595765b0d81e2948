// SPDX-License-Identifier: Apache-2.0
#include "trial.hpp"

#include <algorithm>
#include <cstring>

namespace undercroft::differential {
namespace {

class Shrinker {
public:
    Shrinker(Runners& runners, const Sequence& sequence) : runners_{runners}, best_{sequence} {}

    Sequence result() {
        for (unsigned round = 0; round < 3 && changed_; ++round) {
            changed_ = false;
            drop_instructions();
            plainer_state();
        }
        for (unsigned n = best_.instructions; n-- > 0;) take_out_nops(n);
        return best_;
    }

private:
    bool still_differs(Sequence candidate) {
        Outcome outcome = runners_.run(candidate);
        return outcome.comparable && !outcome.agrees();
    }

    template <class Change>
    void attempt(Change change) {
        Sequence candidate = best_;
        change(candidate);
        bool same = std::memcmp(static_cast<const void*>(&candidate), static_cast<const void*>(&best_),
                                sizeof candidate) == 0;
        if (same || !still_differs(candidate)) return;
        best_ = candidate;
        changed_ = true;
    }

    // An instruction becomes as many NOPs, so that all else stays where it is.
    void drop_instructions() {
        std::size_t at = best_.length;
        for (unsigned n = best_.instructions; n-- > 0;) {
            std::size_t length = best_.instruction_length[n];
            at -= length;
            if (n + 1u == best_.instructions) continue;
            attempt([&](Sequence& s) {
                std::fill_n(s.code.begin() + static_cast<long>(at), length, std::uint8_t{0x90});
            });
        }
    }

    // What follows moves; the jump to the exit still reaches it.
    void take_out_nops(unsigned n) {
        std::size_t at = 0;
        for (unsigned before = 0; before < n; ++before) at += best_.instruction_length[before];
        std::size_t length = best_.instruction_length[n];
        auto begin = best_.code.begin() + static_cast<long>(at);
        if (!std::all_of(begin, begin + static_cast<long>(length),
                         [](std::uint8_t byte) { return byte == 0x90; }))
            return;
        attempt([&](Sequence& s) {
            std::memmove(s.code.data() + at, s.code.data() + at + length, s.length - at - length);
            s.length = static_cast<std::uint16_t>(s.length - length);
            for (unsigned later = n + 1; later < s.instructions; ++later)
                s.instruction_length[later - 1] = s.instruction_length[later];
            --s.instructions;
            std::uint32_t distance;
            std::memcpy(&distance, s.code.data() + s.length - 4, 4);
            distance += static_cast<std::uint32_t>(length);
            std::memcpy(s.code.data() + s.length - 4, &distance, 4);
        });
    }

    void plainer_state() {
        attempt([](Sequence& s) { s.memory = 0; });
        attempt([](Sequence& s) { s.flush = 1; });
        attempt([](Sequence& s) { s.slot = 0; });
        attempt([](Sequence& s) { s.initial.rflags = 0x202; });
        attempt([](Sequence& s) { s.initial.fs = 0; });
        attempt([](Sequence& s) { s.initial.gs = 0; });
        for (unsigned n = 0; n < 16; ++n) {
            if (n != 4) attempt([n](Sequence& s) { s.initial.gpr[n] = 0; });
        }
        auto zero = [&](std::size_t from, std::size_t size) {
            attempt([=](Sequence& s) {
                std::fill_n(s.initial.xsave.begin() + static_cast<long>(from), size, std::byte{0});
            });
        };
        attempt([](Sequence& s) {
            s.initial.xsave[0] = std::byte{0x7f}, s.initial.xsave[1] = std::byte{3};
            std::fill_n(s.initial.xsave.begin() + 2, 4, std::byte{0});
        });
        attempt([](Sequence& s) {
            s.initial.xsave[24] = std::byte{0x80}, s.initial.xsave[25] = std::byte{0x1f};
        });
        zero(32, 128);
        zero(160, 256);
        zero(576, 256);
        for (std::size_t n = 0; n < 8; ++n) zero(32 + 16 * n, 16);
        for (std::size_t n = 0; n < 16; ++n) zero(160 + 16 * n, 16), zero(576 + 16 * n, 16);
    }

    Runners& runners_;
    Sequence best_;
    bool changed_ = true;
};

}  // namespace

Sequence shrink(Runners& runners, const Sequence& sequence) { return Shrinker{runners, sequence}.result(); }

}  // namespace undercroft::differential
