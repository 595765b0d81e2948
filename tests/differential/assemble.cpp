// SPDX-License-Identifier: Apache-2.0
#include "assemble.hpp"

#include <algorithm>
#include <cstring>

namespace undercroft::differential {
namespace {

class Writer {
public:
    explicit Writer(std::span<std::uint8_t> bytes) : bytes_{bytes} {}
    void byte(unsigned value) {
        if (at_ < bytes_.size()) bytes_[at_++] = static_cast<std::uint8_t>(value);
    }
    std::size_t size() const { return at_; }

private:
    std::span<std::uint8_t> bytes_;
    std::size_t at_ = 0;
};

// Register numbers' high bits, and what VEX says besides.
struct Extension {
    bool r = false;
    bool x = false;
    bool b = false;
    bool rex = false;  // even if nothing asks for it
    unsigned vvvv = 0;
    bool two_bytes = false;
};

void put_vex(Writer& out, const Encoding& e, const Extension& extension) {
    unsigned pp = e.prefix == 0x66 ? 1 : e.prefix == 0xf3 ? 2 : e.prefix == 0xf2 ? 3 : 0;
    unsigned tail = (~extension.vvvv & 15u) << 3 | (e.l ? 4u : 0u) | pp;
    if (extension.two_bytes && e.map == 1 && !e.w && !extension.x && !extension.b) {
        out.byte(0xc5);
        out.byte((extension.r ? 0u : 0x80u) | tail);
        return;
    }
    out.byte(0xc4);
    out.byte((extension.r ? 0u : 0x80u) | (extension.x ? 0u : 0x40u) | (extension.b ? 0u : 0x20u) | e.map);
    out.byte((e.w ? 0x80u : 0u) | tail);
}

void put_opcode(Writer& out, const Encoding& e, const Extension& extension) {
    if (e.vex) {
        put_vex(out, e, extension);
    } else {
        if (e.prefix != 0) out.byte(e.prefix);
        unsigned rex =
            (e.w ? 8u : 0u) | (extension.r ? 4u : 0u) | (extension.x ? 2u : 0u) | (extension.b ? 1u : 0u);
        if (rex != 0 || extension.rex) out.byte(0x40 | rex);
        if (e.map != 0) out.byte(0x0f);
        if (e.map == 2) out.byte(0x38);
        if (e.map == 3) out.byte(0x3a);
    }
    out.byte(e.opcode);
}

void put_random_prefixes(Writer& out, const Encoding& e, Random& random) {
    constexpr std::array<std::uint8_t, 5> repeated{0x66, 0xf2, 0xf3, 0x66, 0xf3};
    constexpr std::array<std::uint8_t, 6> segment{0x64, 0x65, 0x64, 0x65, 0x2e, 0x3e};
    if (random.one_in(10)) out.byte(random.of(segment));
    if (random.one_in(16)) out.byte(0x67);
    if (!e.vex && random.one_in(24)) out.byte(random.of(repeated));
}

std::uint64_t any_immediate(Random& random) {
    switch (random.below(4)) {
        case 0: return random.below(80);
        case 1: return static_cast<std::uint64_t>(-static_cast<std::int64_t>(random.below(80)));
        case 2: return 0x80000000 >> random.below(32);
        default: return random.next();
    }
}

void put_modrm(Writer& out, const Encoding& e, Random& random, const Extension& extension) {
    // Registers that select an instruction stay.
    unsigned reg = e.reg;
    unsigned rm = e.rm;
    if (!e.in_memory) {
        out.byte(0xc0 | reg << 3 | rm);
        return;
    }
    rm = static_cast<unsigned>(random.below(8));
    bool indexed = random.one_in(3);
    if (indexed) rm = 4;
    auto mod = static_cast<unsigned>(random.below(3));
    if (random.one_in(12)) mod = 0, rm = 5;  // relative to RIP
    out.byte(mod << 6 | reg << 3 | rm);
    if (rm == 4) {
        auto base = static_cast<unsigned>(random.below(8));
        auto index = static_cast<unsigned>(random.below(8));
        if (random.one_in(16)) mod = 0, base = 5;
        out.byte(static_cast<unsigned>(random.below(4)) << 6 | index << 3 | base);
    }
    (void)extension;
    if (random.one_in(4)) return;
    // A small displacement, whatever its size.
    auto displacement = static_cast<std::uint64_t>(static_cast<std::int64_t>(random.below(256)) - 128);
    if (mod == 1) out.byte(static_cast<unsigned>(displacement & 0xff));
    if (mod == 2) {
        for (unsigned n = 0; n < 4; ++n) out.byte(static_cast<unsigned>(displacement >> (8 * n) & 0xff));
    }
}

}  // namespace

void assemble_plain(const Encoding& e, std::span<std::uint8_t> bytes) {
    std::fill(bytes.begin(), bytes.end(), std::uint8_t{0});
    Writer out{bytes};
    put_opcode(out, e, {});
    if (!e.has_modrm) return;
    // A gather wants an index that is none of its other registers.
    if (e.in_memory && e.vex && e.map == 2 && e.opcode >= 0x90 && e.opcode <= 0x93) {
        out.byte(static_cast<unsigned>(e.reg << 3 | 4));
        out.byte(static_cast<unsigned>((e.reg ^ 1) << 3 | 3));
        return;
    }
    out.byte(static_cast<unsigned>((e.in_memory ? 0 : 0xc0) | e.reg << 3 | e.rm));
}

void assemble_randomly(const Encoding& e, Random& random, std::span<std::uint8_t> bytes) {
    std::uint64_t tail = any_immediate(random);
    for (std::size_t n = 0; n < bytes.size(); ++n) {
        bytes[n] = static_cast<std::uint8_t>(n % 8 < 4 || e.w ? tail >> (8 * (n % 8)) : random.next());
    }
    Writer out{bytes};
    put_random_prefixes(out, e, random);
    Extension extension{.r = random.one_in(3),
                        .x = random.one_in(3),
                        .b = random.one_in(3),
                        .rex = random.one_in(6),
                        .vvvv = static_cast<unsigned>(random.below(16)),
                        .two_bytes = random.one_in(2)};
    if (e.vex && random.one_in(4)) extension.vvvv = 0;
    put_opcode(out, e, extension);
    std::size_t begin = out.size();
    if (e.has_modrm) put_modrm(out, e, random, extension);
    // What follows is an immediate or a displacement: from its lowest byte on.
    std::size_t from = std::max(out.size(), begin);
    for (std::size_t n = from; n < bytes.size() && n < from + 8; ++n)
        bytes[n] = static_cast<std::uint8_t>(tail >> (8 * (n - from)));
}

}  // namespace undercroft::differential
