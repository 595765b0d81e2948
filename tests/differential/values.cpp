// SPDX-License-Identifier: Apache-2.0
#include "values.hpp"

#include <bit>
#include <cstring>

namespace undercroft::differential {
namespace {

constexpr std::array<std::uint64_t, 20> corners{
    0,    1,      2,      7,      8,     0x0f,       0x3f,       0x40,       0x7f,       0x80,
    0xff, 0x7fff, 0x8000, 0xffff, ~0ull, 0x7fffffff, 0x80000000, 1ull << 63, 0xffffffff, ~(1ull << 63)};

std::uint64_t any_double(Random& random) {
    constexpr std::array<std::uint64_t, 12> special{0,
                                                    1ull << 63,          // -0
                                                    0x3ff0000000000000,  // 1
                                                    0xbff8000000000000,  // -1.5
                                                    0x7ff0000000000000,  // infinity
                                                    0xfff0000000000000,
                                                    0x7ff8000000000000,   // quiet NaN
                                                    0x7ff0000000000001,   // signalling NaN
                                                    0x000fffffffffffff,   // denormal
                                                    0x0010000000000000,   // least normal
                                                    0x7fefffffffffffff,   // greatest
                                                    0x43e0000000000000};  // 2^63
    if (random.one_in(2)) return random.of(special);
    auto near_one = static_cast<double>(static_cast<std::int64_t>(random.next()) >> random.below(64));
    return std::bit_cast<std::uint64_t>(near_one / static_cast<double>(1 + random.below(1000)));
}

std::uint32_t any_float(Random& random) {
    constexpr std::array<std::uint32_t, 12> special{0,          0x80000000, 0x3f800000, 0xbfc00000,
                                                    0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001,
                                                    0x007fffff, 0x00800000, 0x7f7fffff, 0x4f000000};
    if (random.one_in(2)) return random.of(special);
    auto value = static_cast<float>(static_cast<std::int32_t>(random.next()) >> random.below(32));
    return std::bit_cast<std::uint32_t>(value / 3);
}

void put(State& state, std::size_t at, std::uint64_t value, std::size_t size) {
    std::memcpy(state.xsave.data() + at, &value, size);
}

// An 80-bit register: normal, special, denormal, or in one of the formats that are not supported any more.
void any_x87_register(Random& random, State& state, std::size_t at) {
    std::uint64_t significand = random.next() | 1ull << 63;
    std::uint64_t exponent = 0x3fff - 40 + random.below(80);
    switch (random.below(10)) {
        case 0: significand = 0, exponent = 0; break;
        case 1: significand = 1ull << 63, exponent = 0x7fff; break;
        case 2: significand |= 1ull << 62, exponent = 0x7fff; break;
        case 3: significand &= ~(1ull << 62), exponent = 0x7fff; break;
        case 4: significand &= ~(1ull << 63), exponent = 0; break;
        case 5:
            if (random.one_in(3)) significand = random.next(), exponent = random.below(0x8000);
            break;
        case 6: significand = 1ull << 63; break;
        default: break;
    }
    put(state, at, significand, 8);
    put(state, at + 8, exponent | (random.next() & 0x8000), 2);
}

void any_x87(Random& random, State& state) {
    std::uint64_t control = 0x7f;
    if (random.one_in(3))
        control |= random.next() & 0xf00;
    else
        control |= 0x300;
    if (random.one_in(6)) control &= ~(random.next() & 0x3f);
    std::uint64_t status = random.below(8) << 11;
    if (random.one_in(3)) status |= random.next() & 0x4700;
    if (random.one_in(4)) status |= random.next() & 0x7f;
    if ((status & ~control & 0x3f) != 0) {  // an exception that is not masked is pending
        if (random.one_in(2))
            control |= status & 0x3f;
        else
            status |= 0x8080;
    }
    put(state, 0, control, 2);
    put(state, 2, status, 2);
    put(state, 4, random.one_in(2) ? 0 : random.one_in(3) ? 0xff : random.byte(), 1);
    for (std::size_t n = 0; n < 8; ++n) any_x87_register(random, state, 32 + 16 * n);
}

void any_vectors(Random& random, State& state) {
    std::uint64_t mxcsr = 0x1f80;
    if (random.one_in(3)) mxcsr |= random.next() & 0xe040;
    if (random.one_in(3)) mxcsr |= random.next() & 0x3f;
    if (random.one_in(8)) mxcsr &= ~(random.next() & 0x1f80);
    if (random.one_in(24)) mxcsr |= 0x20000;  // AMD's MM: misaligned operands of SSE
    put(state, 24, mxcsr, 4);
    for (std::size_t at = 0; at < 256; at += 8) {
        put(state, 160 + at, any_number(random), 8);
        put(state, 576 + at, any_number(random), 8);
    }
}

}  // namespace

std::uint64_t good_address(Random& random) {
    constexpr std::array<std::uint64_t, 4> pages{data, data + page, data + 3 * page, data + 5 * page};
    if (random.one_in(12)) return data + page - random.below(40);  // across a border
    std::uint64_t offset = 64 + random.below(page - 192);
    if (random.one_in(2)) offset &= ~std::uint64_t{63};
    return random.of(pages) + offset;
}

std::uint64_t any_address(Random& random) {
    switch (random.below(32)) {
        case 0: return data + 2 * page + random.below(page);  // read only
        case 1: return data + 2 * page - random.below(40);    // into it
        case 2: return data + 3 * page - random.below(40);    // out of it
        case 3: return data + 4 * page + random.below(page);  // not mapped
        case 4: return data + 4 * page - random.below(40);    // into it
        case 5: return data + 6 * page - random.below(40);
        case 6: return data - random.below(40);  // from what is not mapped
        case 7: return data + 5 * page - random.below(40);
        case 8: return stack + random.below(2 * page);
        case 9: return random.one_in(2) ? 0 : random.below(page);
        case 10:
            return random.one_in(2) ? 0x8000000000000000 + random.below(page)
                                    : 0x7ffffffffff8 + random.below(16);
        case 11: return random.one_in(4) ? ~std::uint64_t{0} - random.below(64) : good_address(random);
        default: return good_address(random);
    }
}

std::uint64_t any_number(Random& random) {
    switch (random.below(8)) {
        case 0: return random.of(corners);
        case 1: return any_double(random);
        case 2: return std::uint64_t{any_float(random)} << 32 | any_float(random);
        case 3: return good_address(random);
        case 4: return random.next() >> random.below(64);
        case 5:
            return static_cast<std::uint64_t>(static_cast<std::int64_t>(random.next()) >> random.below(64));
        default: return random.next();
    }
}

State any_state(Random& random) {
    State state;
    for (std::uint64_t& reg : state.gpr) reg = random.percent(40) ? good_address(random) : any_number(random);
    state.gpr[4] = stack + page + (random.below(0x600) & ~std::uint64_t{7});
    if (random.one_in(12)) state.gpr[4] = any_address(random);
    if (random.one_in(3)) state.gpr[5] = stack + random.below(2 * page - 64);
    state.rflags = 0x202 | (random.next() & 0x8d5);
    if (random.one_in(16)) state.rflags |= 0x400;     // DF
    if (random.one_in(24)) state.rflags |= 0x40000;   // AC
    if (random.one_in(64)) state.rflags |= 0x200000;  // ID
    state.fs = random.one_in(3) ? 0 : good_address(random);
    state.gs = random.one_in(3) ? 0 : good_address(random);
    any_x87(random, state);
    any_vectors(random, state);
    put(state, 512, 7, 8);
    return state;
}

}  // namespace undercroft::differential
