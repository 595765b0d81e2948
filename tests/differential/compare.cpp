// SPDX-License-Identifier: Apache-2.0
#include "compare.hpp"

#include <algorithm>
#include <cstring>
#include <sstream>

namespace undercroft::differential {
namespace {

constexpr const char* names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                 "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

std::string hex(std::uint64_t value) {
    std::ostringstream text;
    text << std::hex << "0x" << value;
    return text.str();
}

std::string hex(const std::byte* bytes, std::size_t size) {
    std::string text;
    for (std::size_t n = size; n-- > 0;) {
        text += "0123456789abcdef"[static_cast<unsigned>(bytes[n]) >> 4];
        text += "0123456789abcdef"[static_cast<unsigned>(bytes[n]) & 15];
    }
    return text;
}

class Collector {
public:
    void value(const std::string& name, std::uint64_t bare, std::uint64_t engine) {
        if (bare != engine) lines.push_back(name + ": " + hex(bare) + " bare, " + hex(engine));
    }
    void bytes(const std::string& name, const State& bare, const State& engine, std::size_t at,
               std::size_t size) {
        const std::byte* one = bare.xsave.data() + at;
        const std::byte* other = engine.xsave.data() + at;
        if (std::memcmp(one, other, size) != 0)
            lines.push_back(name + ": " + hex(one, size) + " bare, " + hex(other, size));
    }
    std::vector<std::string> lines;
};

// Linux tells a program that the pages beyond its own half are present, whatever they are.
std::uint32_t visible_error(const Ending& result) {
    constexpr std::uint64_t first_beyond = 0x7ffffffff000;
    bool beyond = result.vector == 14 && result.address >= first_beyond;
    return beyond ? result.error & ~1u : result.error;
}

bool is_access_fault(const Ending& result) {
    return result.vector == 13 || result.vector == 14 || result.vector == 17;
}

bool same_fault(const Ending& bare, const Ending& engine, std::uint32_t undefined) {
    if ((undefined & choice_of_fault_undefined) != 0 && is_access_fault(bare) && is_access_fault(engine))
        return true;
    return bare.vector == engine.vector && visible_error(bare) == visible_error(engine) &&
           bare.address == engine.address;
}

std::uint64_t visible_flags(const Ending& result, std::uint32_t undefined) {
    constexpr std::uint64_t resume = 1u << 16;
    return result.state.rflags & ~std::uint64_t{undefined} & ~resume;
}

}  // namespace

void normalize(State& state, std::uint32_t undefined) {
    std::byte* area = state.xsave.data();
    std::uint64_t present = 0;
    std::memcpy(&present, area + 512, 8);
    if ((present & 1) == 0) {
        std::fill(area, area + 24, std::byte{0});
        std::fill(area + 32, area + 160, std::byte{0});
        area[0] = std::byte{0x7f}, area[1] = std::byte{0x03};
    }
    if ((present & 2) == 0) std::fill(area + 160, area + 416, std::byte{0});
    if ((present & 4) == 0) std::fill(area + 576, area + 832, std::byte{0});
    bool pending = (static_cast<unsigned>(area[2]) & 0x80) != 0;
    area[5] = std::byte{0};
    // The opcode and the pointers: as FXSAVE has them. The bare processor forgets the operand's whenever its
    // kernel switches tasks; it is the last instruction's own only if that had one.
    if (!pending || (undefined & x87_pointers_undefined) != 0) std::fill(area + 6, area + 24, std::byte{0});
    if (static_cast<unsigned>(area[6]) >= 0xc0) std::fill(area + 16, area + 24, std::byte{0});
    std::fill(area + 28, area + 32, std::byte{0});  // MXCSR_MASK
    for (std::size_t n = 0; n < 8; ++n) std::fill(area + 42 + 16 * n, area + 48 + 16 * n, std::byte{0});
    std::fill(area + 416, area + 576, std::byte{0});  // unused, header
}

std::vector<std::string> differences(const Ending& bare, const Ending& engine,
                                     std::uint32_t undefined_flags) {
    Collector out;
    if (!same_fault(bare, engine, undefined_flags)) {
        out.value("vector", bare.vector, engine.vector);
        out.value("error code", visible_error(bare), visible_error(engine));
        out.value("address", bare.address, engine.address);
    }
    out.value("rip", bare.state.rip, engine.state.rip);
    out.value("rflags", visible_flags(bare, undefined_flags), visible_flags(engine, undefined_flags));
    for (std::size_t n = 0; n < 16; ++n) out.value(names[n], bare.state.gpr[n], engine.state.gpr[n]);
    out.value("fs base", bare.state.fs, engine.state.fs);
    out.value("gs base", bare.state.gs, engine.state.gs);
    State one = bare.state;
    State other = engine.state;
    normalize(one, undefined_flags);
    normalize(other, undefined_flags);
    out.bytes("x87 control word", one, other, 0, 2);
    out.bytes("x87 status word", one, other, 2, 2);
    out.bytes("x87 tags", one, other, 4, 1);
    out.bytes("x87 pointers", one, other, 6, 18);
    out.bytes("mxcsr", one, other, 24, 4);
    for (std::size_t n = 0; n < 8; ++n) out.bytes("st" + std::to_string(n), one, other, 32 + 16 * n, 10);
    for (std::size_t n = 0; n < 16; ++n) {
        out.bytes("xmm" + std::to_string(n), one, other, 160 + 16 * n, 16);
        out.bytes("ymm" + std::to_string(n) + " high", one, other, 576 + 16 * n, 16);
    }
    for (unsigned n = 0; n < frame_count; ++n)
        out.value("hash of frame " + std::to_string(n), bare.hash[n], engine.hash[n]);
    return out.lines;
}

bool equal(const Ending& bare, const Ending& engine, std::uint32_t undefined_flags) {
    bool same = same_fault(bare, engine, undefined_flags) && bare.state.rip == engine.state.rip &&
                visible_flags(bare, undefined_flags) == visible_flags(engine, undefined_flags) &&
                bare.state.gpr == engine.state.gpr && bare.state.fs == engine.state.fs &&
                bare.state.gs == engine.state.gs && bare.hash == engine.hash;
    if (!same) return false;
    State one = bare.state;
    State other = engine.state;
    normalize(one, undefined_flags);
    normalize(other, undefined_flags);
    return one.xsave == other.xsave;
}

}  // namespace undercroft::differential
