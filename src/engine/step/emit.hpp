// SPDX-License-Identifier: Apache-2.0
// CodeBuffer: the few host instructions that stubs are made of.

#pragma once

#include "base/check.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace undercroft {

// Host registers by number in encoding order.
using HostRegister = std::uint8_t;

class CodeBuffer {
public:
    std::span<const std::uint8_t> code() const { return {bytes_.data(), size_}; }

    void byte(unsigned value) {
        CHECK(size_ < bytes_.size());
        bytes_[size_++] = static_cast<std::uint8_t>(value);
    }
    void bytes(std::span<const std::uint8_t> values) {
        for (std::uint8_t value : values) byte(value);
    }
    void dword(std::size_t value) {
        for (unsigned shift = 0; shift < 32; shift += 8) byte(static_cast<unsigned>(value >> shift) & 0xff);
    }

    void push(HostRegister reg) {
        if (reg >= 8) byte(0x41);
        byte(0x50 + (reg & 7u));
    }
    void pop(HostRegister reg) {
        if (reg >= 8) byte(0x41);
        byte(0x58 + (reg & 7u));
    }
    void ret() { byte(0xc3); }
    void move(HostRegister to, HostRegister from) {
        byte(0x48u | from / 8u << 2 | to / 8u);
        byte(0x89);
        byte(0xc0 | (from & 7u) << 3 | (to & 7u));
    }
    // 64-bit moves from and to [base + offset]. `base` is not rsp or r12.
    void load(HostRegister to, HostRegister base, std::size_t offset) {
        legacy(0x48, 0x8b, to, base, offset);
    }
    void store(HostRegister base, std::size_t offset, HostRegister from) {
        legacy(0x48, 0x89, from, base, offset);
    }

    // ax <-> the arithmetic flags, as lahf and seto leave them; `offset` is that of the 16-bit field.
    void load_flags(HostRegister base, std::size_t offset) {
        escaped(0xb7, 0, base, offset);                        // movzx eax, word
        bytes(std::array<std::uint8_t, 3>{0x04, 0x7f, 0x9e});  // add al,0x7f; sahf
    }
    void store_flags(HostRegister base, std::size_t offset) {
        bytes(std::array<std::uint8_t, 4>{0x9f, 0x0f, 0x90, 0xc0});  // lahf; seto al
        byte(0x66);
        legacy(0x40, 0x89, 0, base, offset);
    }

    void load_mxcsr(HostRegister base, std::size_t offset) { escaped(0xae, 2, base, offset); }
    void store_mxcsr(HostRegister base, std::size_t offset) { escaped(0xae, 3, base, offset); }
    void load_xmm(unsigned to, HostRegister base, std::size_t offset) {
        escaped(0x10, to, base, offset);
    }  // movups
    void store_xmm(HostRegister base, std::size_t offset, unsigned from) {
        escaped(0x11, from, base, offset);
    }
    // Halves of a YMM register: vmovups, vinsertf128, vextractf128.
    void load_low(unsigned to, HostRegister base, std::size_t offset) {
        vex(1, 0x78, 0x10, to, base, offset);
    }
    void store_low(HostRegister base, std::size_t offset, unsigned from) {
        vex(1, 0x78, 0x11, from, base, offset);
    }
    void load_high(unsigned to, HostRegister base, std::size_t offset) {
        vex(3, 0x05 | (~to & 15u) << 3, 0x18, to, base, offset);
        byte(1);
    }
    void store_high(HostRegister base, std::size_t offset, unsigned from) {
        vex(3, 0x7d, 0x19, from, base, offset);
        byte(1);
    }
    void vzeroupper() { bytes(std::array<std::uint8_t, 3>{0xc5, 0xf8, 0x77}); }

private:
    void memory(unsigned reg, HostRegister base, std::size_t offset) {
        byte(0x80 | (reg & 7u) << 3 | (base & 7u));
        dword(offset);
    }
    void legacy(unsigned rex, unsigned opcode, unsigned reg, HostRegister base, std::size_t offset) {
        byte(rex | (reg >> 3) << 2 | base / 8u);
        byte(opcode);
        memory(reg, base, offset);
    }
    void escaped(unsigned opcode, unsigned reg, HostRegister base, std::size_t offset) {
        byte(0x40 | (reg >> 3) << 2 | base / 8u);
        byte(0x0f);
        byte(opcode);
        memory(reg, base, offset);
    }
    // `tail` is the third byte of the prefix: W vvvv L pp.
    void vex(unsigned map, unsigned tail, unsigned opcode, unsigned reg, HostRegister base,
             std::size_t offset) {
        byte(0xc4);
        byte((reg < 8 ? 0x80u : 0u) | 0x40u | (base < 8 ? 0x20u : 0u) | map);
        byte(tail);
        byte(opcode);
        memory(reg, base, offset);
    }

    std::array<std::uint8_t, 512> bytes_{};
    std::size_t size_ = 0;
};

}  // namespace undercroft
