// SPDX-License-Identifier: Apache-2.0
// Vector instructions and everything that VEX encodes.

#include "random_code.hpp"

namespace micro {

void RandomCode::encode_vex(const Vex& vex, unsigned reg, unsigned second, const Operand& operand) {
    byte(0xc4);
    byte((reg < 8 ? 0x80u : 0u) | (operand.indexed && operand.index >= 8 ? 0u : 0x40u) |
         (operand.reg < 8 ? 0x20u : 0u) | vex.map);
    byte((vex.w ? 0x80u : 0u) | (~second & 15) << 3 | (vex.l ? 4u : 0u) | vex.pp);
    byte(vex.opcode);
    modrm(reg, operand);
}

void RandomCode::vector() {
    static constexpr unsigned operations[] = {0x0ffe, 0x0fef, 0x0ffa,
                                              0x0f61, 0x0fd4, 0x0f76};  // integer ones
    const unsigned xmm = random_.below(16);
    switch (random_.below(5)) {
        case 0: return encode(4, 0x0f10, xmm, memory_operand());
        case 1: return encode(4, 0x0f11, xmm, memory_operand());
        case 2: return encode(8, 0x0f6e, xmm, any_operand(8), 0x66);
        case 3: return encode(8, 0x0f7e, xmm, any_operand(8), 0x66);
        default: {
            Operand operand;
            operand.reg = static_cast<u8>(random_.below(16));
            return encode(4, operations[random_.below(6)], xmm, operand, 0x66);
        }
    }
}

void RandomCode::bit_field() {
    static constexpr Vex operations[] = {
        {2, 0, 0xf2}, {2, 0, 0xf7}, {2, 0, 0xf5}, {2, 1, 0xf7}, {2, 2, 0xf7},
        {2, 3, 0xf7}, {2, 3, 0xf5}, {2, 2, 0xf5}, {2, 3, 0xf6},
    };  // andn bextr bzhi shlx sarx shrx pdep pext mulx
    const unsigned size = random_.one_in(2) ? 8 : 4;
    const Operand operand = any_operand(size);
    switch (random_.below(6)) {
        case 0:
            encode_vex({2, 0, 0xf3, size == 8}, 1 + random_.below(3), free_register(), operand);
            break;  // blsr blsmsk blsi
        case 1:     // rorx
            encode_vex({3, 3, 0xf0, size == 8}, free_register(), 0, operand);
            byte(random_.below(64));
            break;
        case 2:
            encode(size, 0x0f38f6, free_register(), operand, random_.one_in(2) ? 0x66 : 0xf3);
            break;  // adcx adox
        case 3: encode(size, 0x0f38f0 | random_.below(2), free_register(), memory_operand()); break;  // movbe
        default: {
            Vex vex = operations[random_.below(9)];
            vex.w = size == 8;
            encode_vex(vex, free_register(), free_register(), operand);
        }
    }
}

void RandomCode::wide_vector() {
    // vpaddd vpxor vpsubq vpshufb vpsllvd vpmulld vaddps vmulps vfmadd213ps
    static constexpr Vex operations[] = {{1, 1, 0xfe}, {1, 1, 0xef}, {1, 1, 0xfb}, {2, 1, 0x00}, {2, 1, 0x47},
                                         {2, 1, 0x40}, {1, 0, 0x58}, {1, 0, 0x59}, {2, 1, 0xa8}};
    const unsigned ymm = random_.below(16);
    const bool wide = random_.one_in(2);
    Operand other = memory_operand();
    switch (random_.below(6)) {
        case 0: return encode_vex({1, 2, 0x6f, false, wide}, ymm, 0, other);  // vmovdqu
        case 1: return encode_vex({1, 2, 0x7f, false, wide}, ymm, 0, other);
        case 2:  // vinserti128, vextracti128
            encode_vex({3, 1, random_.one_in(2) ? 0x38u : 0x39u, false, true}, ymm, 0, other);
            return byte(random_.below(2));
        default: {
            Vex vex = operations[random_.below(9)];
            vex.l = wide;
            if (random_.one_in(2)) {
                other = {};
                other.reg = static_cast<u8>(random_.below(16));
            }
            return encode_vex(vex, ymm, random_.below(16), other);
        }
    }
}

}  // namespace micro
