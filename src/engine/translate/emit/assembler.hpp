// SPDX-License-Identifier: Apache-2.0
// The emitter: the forms of x86-64 instructions that the translator itself needs, as bytes.
//
// Writes into a buffer that the caller sized generously: has_room() before each run of at most `most_at_once`
// bytes. Code is position-independent within the buffer; `origin` is the address at which the buffer's first
// byte will execute. Source: Intel SDM vol. 2A chapter 2.

#pragma once

#include "base/check.hpp"
#include "x86/registers.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>

namespace undercroft::translate {

// An address of code as the host executes it.
using HostCode = const std::byte*;

// A host memory operand. `frame(offset)` is gs:[offset]: something of the running vCPU, see runtime/frame.
struct Mem {
    static constexpr int none = -1;
    int base = none;
    int index = none;
    unsigned scale = 0;  // log2
    std::int32_t disp = 0;
    bool gs = false;

    static constexpr Mem frame(std::size_t offset) {
        return {.disp = static_cast<std::int32_t>(offset), .gs = true};
    }
    static constexpr Mem frame_indexed(int index, std::size_t offset) {
        return {.base = index, .disp = static_cast<std::int32_t>(offset), .gs = true};
    }
};

constexpr int number(Gpr reg) { return static_cast<int>(reg); }

enum class Alu : std::uint8_t { Add, Or, Adc, Sbb, And, Sub, Xor, Cmp };
enum class Condition : std::uint8_t { O, NO, B, AE, E, NE, BE, A, S, NS, P, NP, L, GE, LE, G };
constexpr Condition inverse(Condition condition) {
    return static_cast<Condition>(static_cast<unsigned>(condition) ^ 1);
}

class Assembler {
public:
    Assembler(std::span<std::byte> buffer, HostCode origin)
        : buffer_{buffer}, data_{buffer.data()}, origin_{origin} {}

    std::size_t size() const { return size_; }
    HostCode here() const { return origin_ + size_; }
    HostCode address(std::size_t offset) const { return origin_ + offset; }

    static constexpr std::size_t most_at_once = 512;
    bool has_room() const { return buffer_.size() - size_ >= most_at_once; }

    void byte(unsigned value) { data_[size_++] = static_cast<std::byte>(value); }
    template <class T>
    void value(T v) {
        std::memcpy(data_ + size_, &v, sizeof v);
        size_ += sizeof(T);
    }

    // --- general forms
    // --------------------------------------------------------------------------------------- [prefix] [REX]
    // opcode ModRM: `opcode` holds up to three bytes, e.g. 0x0fb7; prefix 0: none.
    void op_rm(unsigned prefix, bool wide, unsigned opcode, int reg, const Mem& m) {
        if (m.gs) byte(0x65);
        if (prefix != 0) byte(prefix);
        int base = m.base == Mem::none ? 0 : m.base;
        int index = m.index == Mem::none ? 0 : m.index;
        rex(wide, reg, index, base, false);
        opcode_bytes(opcode);
        modrm(reg, m);
    }
    // `byte_register`: an 8-bit register operand that needs REX for spl..dil.
    void op_rr(unsigned prefix, bool wide, unsigned opcode, int reg, int rm, bool byte_register = false) {
        if (prefix != 0) byte(prefix);
        rex(wide, reg, 0, rm, byte_register && (reg >= 4 || rm >= 4));
        opcode_bytes(opcode);
        byte(static_cast<unsigned>(0xc0 | (reg & 7) << 3 | (rm & 7)));
    }

    // --- moves
    // -----------------------------------------------------------------------------------------------
    void load(int reg, const Mem& m) { op_rm(0, true, 0x8b, reg, m); }
    void load32(int reg, const Mem& m) { op_rm(0, false, 0x8b, reg, m); }
    void load16_zero_extended(int reg, const Mem& m) { op_rm(0, false, 0x0fb7, reg, m); }
    void store(const Mem& m, int reg) { op_rm(0, true, 0x89, reg, m); }
    void store32(const Mem& m, int reg) { op_rm(0, false, 0x89, reg, m); }
    void store16(const Mem& m, int reg) { op_rm(0x66, false, 0x89, reg, m); }
    void store8_imm(const Mem& m, unsigned imm) {
        op_rm(0, false, 0xc6, 0, m);
        byte(imm);
    }
    void store32_imm(const Mem& m, std::uint32_t imm) {
        op_rm(0, false, 0xc7, 0, m);
        value(imm);
    }
    // Sign-extended to 64 bits.
    void store_imm(const Mem& m, std::int32_t imm) {
        op_rm(0, true, 0xc7, 0, m);
        value(imm);
    }
    void mov(int to, int from) { op_rr(0, true, 0x8b, to, from); }
    void mov32(int to, int from) { op_rr(0, false, 0x8b, to, from); }
    void mov_imm(int reg, std::uint64_t imm) {
        if (imm <= 0xffffffff) {
            rex(false, 0, 0, reg, false);
            byte(static_cast<unsigned>(0xb8 | (reg & 7)));
            value(static_cast<std::uint32_t>(imm));
        } else if (fits_int32(imm)) {
            op_rr(0, true, 0xc7, 0, reg);
            value(static_cast<std::int32_t>(imm));
        } else {
            rex(true, 0, 0, reg, false);
            byte(static_cast<unsigned>(0xb8 | (reg & 7)));
            value(imm);
        }
    }
    void lea(int reg, const Mem& m) { op_rm(0, true, 0x8d, reg, m); }
    void lea32(int reg, const Mem& m) { op_rm(0, false, 0x8d, reg, m); }
    // lea reg, [rip + target]: the target within 2 GiB.
    void lea_rip(int reg, HostCode target) {
        rex(true, reg, 0, 0, false);
        byte(0x8d);
        byte(static_cast<unsigned>(reg & 7) << 3 | 5);
        value(std::int32_t{0});
        bind_to(size_ - 4, target);
    }
    // dec dword [rip + target]
    void dec32_rip(HostCode target) {
        byte(0xff);
        byte(1u << 3 | 5);
        value(std::int32_t{0});
        bind_to(size_ - 4, target);
    }
    void xchg(const Mem& m, int reg) { op_rm(0, true, 0x87, reg, m); }

    // --- arithmetic
    // ------------------------------------------------------------------------------------------
    void alu(Alu op, int reg, const Mem& m) { op_rm(0, true, static_cast<unsigned>(op) << 3 | 3, reg, m); }
    void alu(Alu op, int reg, int rm) { op_rr(0, true, static_cast<unsigned>(op) << 3 | 3, reg, rm); }
    void alu_imm(Alu op, int reg, std::int32_t imm) { alu_imm_sized(true, op, reg, imm); }
    void alu32_imm(Alu op, int reg, std::int32_t imm) { alu_imm_sized(false, op, reg, imm); }
    void cmp32_imm(const Mem& m, std::int32_t imm) { alu32_imm(Alu::Cmp, m, imm); }
    void alu32_imm(Alu op, const Mem& m, std::int32_t imm) {
        bool small = imm >= -128 && imm <= 127;
        op_rm(0, false, small ? 0x83 : 0x81, static_cast<int>(op), m);
        if (small)
            byte(static_cast<unsigned>(imm) & 0xff);
        else
            value(imm);
    }
    // Always with a 32-bit immediate, to be patched; returns the immediate's offset.
    std::size_t cmp32_imm_patchable(const Mem& m, std::uint32_t imm) {
        op_rm(0, false, 0x81, static_cast<int>(Alu::Cmp), m);
        value(imm);
        return size_ - 4;
    }
    void cmp8_imm(const Mem& m, unsigned imm) {
        op_rm(0, false, 0x80, static_cast<int>(Alu::Cmp), m);
        byte(imm);
    }
    // RORX (BMI2): writes no flags.
    void rorx(int to, int from, unsigned count) {
        byte(0xc4);
        byte(static_cast<unsigned>((to & 8 ? 0 : 0x80) | 0x40 | (from & 8 ? 0 : 0x20) | 3));
        byte(0xfb);
        byte(0xf0);
        byte(static_cast<unsigned>(0xc0 | (to & 7) << 3 | (from & 7)));
        byte(count);
    }
    void shift_imm(unsigned extension, int reg, unsigned count) {
        op_rr(0, true, 0xc1, static_cast<int>(extension), reg);
        byte(count);
    }
    void shl_imm(int reg, unsigned count) { shift_imm(4, reg, count); }
    void shr_imm(int reg, unsigned count) { shift_imm(5, reg, count); }
    void sar_imm(int reg, unsigned count) { shift_imm(7, reg, count); }
    void movsxd(int to, int from) { op_rr(0, true, 0x63, to, from); }

    // --- flags
    // -----------------------------------------------------------------------------------------------
    void lahf() { byte(0x9f); }
    void sahf() { byte(0x9e); }
    void seto_al() { op_rr(0, false, 0x0f90, 0, 0); }
    void add_al_imm(unsigned imm) {
        byte(0x04);
        byte(imm);
    }

    // --- control
    // --------------------------------------------------------------------------------------------- All jumps
    // have 32-bit displacements; the functions return the offset of the displacement for later binding.
    std::size_t jmp() {
        byte(0xe9);
        value(std::int32_t{0});
        return size_ - 4;
    }
    std::size_t jcc(Condition condition) {
        byte(0x0f);
        byte(0x80u | static_cast<unsigned>(condition));
        value(std::int32_t{0});
        return size_ - 4;
    }
    void jmp(HostCode target) { bind_to(jmp(), target); }
    void jmp(const Mem& m) { op_rm(0, false, 0xff, 4, m); }
    void call(const Mem& m) { op_rm(0, false, 0xff, 2, m); }
    void ret() { byte(0xc3); }

    // Makes the displacement at `site` reach the present position, an offset, or an address.
    void bind(std::size_t site) { bind_to(site, here()); }
    void bind_to(std::size_t site, HostCode target) {
        auto disp = static_cast<std::int32_t>(target - (origin_ + site + 4));
        std::memcpy(data_ + site, &disp, sizeof disp);
    }

    // The longest form of NOP up to `bytes`, repeated.
    void nops(std::size_t bytes) {
        static constexpr unsigned char table[8][8] = {{0x90},
                                                      {0x66, 0x90},
                                                      {0x0f, 0x1f, 0x00},
                                                      {0x0f, 0x1f, 0x40, 0x00},
                                                      {0x0f, 0x1f, 0x44, 0x00, 0x00},
                                                      {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
                                                      {0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
                                                      {0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00}};
        while (bytes > 0) {
            std::size_t n = bytes < 8 ? bytes : 8;
            for (std::size_t i = 0; i < n; ++i) byte(table[n - 1][i]);
            bytes -= n;
        }
    }
    void align(std::size_t boundary) {
        auto position = reinterpret_cast<std::uintptr_t>(here());
        nops((boundary - position % boundary) % boundary);
    }

    // ModRM, SIB and displacement of a memory operand.
    void modrm(int reg, const Mem& m) {
        auto r = static_cast<unsigned>(reg & 7) << 3;
        if (m.base == Mem::none && m.index == Mem::none) {
            byte(r | 4);  // [disp32] without RIP: SIB with neither base nor index
            byte(0x25);
            value(m.disp);
            return;
        }
        if (m.base == Mem::none) {
            byte(r | 4);
            byte(m.scale << 6 | static_cast<unsigned>(m.index & 7) << 3 | 5);
            value(m.disp);
            return;
        }
        auto b = static_cast<unsigned>(m.base & 7);
        unsigned mod = m.disp == 0 && b != 5 ? 0u : m.disp >= -128 && m.disp <= 127 ? 0x40u : 0x80u;
        if (m.index == Mem::none && b != 4) {
            byte(mod | r | b);
        } else {
            unsigned index = m.index == Mem::none ? 4u : static_cast<unsigned>(m.index & 7);
            CHECK(m.index != 4, "rsp cannot be an index");
            byte(mod | r | 4);
            byte(m.scale << 6 | index << 3 | b);
        }
        if (mod == 0x40) byte(static_cast<unsigned>(m.disp) & 0xff);
        if (mod == 0x80) value(m.disp);
    }

    static constexpr bool fits_int32(std::uint64_t v) {
        auto s = static_cast<std::int64_t>(v);
        return s >= std::numeric_limits<std::int32_t>::min() && s <= std::numeric_limits<std::int32_t>::max();
    }
    // cmp reg, value, by way of `scratch` when it has no immediate form.
    void cmp_constant(int reg, std::uint64_t value, int scratch) {
        if (fits_int32(value)) {
            alu_imm(Alu::Cmp, reg, static_cast<std::int32_t>(value));
        } else {
            mov_imm(scratch, value);
            alu(Alu::Cmp, reg, scratch);
        }
    }

private:
    void alu_imm_sized(bool wide, Alu op, int reg, std::int32_t imm) {
        bool small = imm >= -128 && imm <= 127;
        op_rr(0, wide, small ? 0x83 : 0x81, static_cast<int>(op), reg);
        if (small)
            byte(static_cast<unsigned>(imm) & 0xff);
        else
            value(imm);
    }
    void rex(bool wide, int reg, int index, int base, bool force) {
        unsigned bits = (wide ? 8u : 0u) | (reg & 8 ? 4u : 0u) | (index & 8 ? 2u : 0u) | (base & 8 ? 1u : 0u);
        if (bits != 0 || force) byte(0x40 | bits);
    }
    void opcode_bytes(unsigned opcode) {
        if (opcode > 0xffff) byte(opcode >> 16 & 0xff);
        if (opcode > 0xff) byte(opcode >> 8 & 0xff);
        byte(opcode & 0xff);
    }
    std::span<std::byte> buffer_;
    std::byte* data_;
    HostCode origin_;
    std::size_t size_ = 0;
};

}  // namespace undercroft::translate
