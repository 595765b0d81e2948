// SPDX-License-Identifier: Apache-2.0
#include "random_code.hpp"

namespace micro {

namespace {

constexpr u8 rsp = 4, rbp = 5, rsi = 6, r14 = 14;

}  // namespace

u8 RandomCode::free_register() {
    static constexpr u8 free[] = {0, 1, 2, 3, 7, 8, 9, 10, 10, 11, 11, 12, 13, 15};
    return free[random_.below(sizeof free)];
}

// Without REX, 4…7 are ah…bh; with it they would be spl…dil.
u8 RandomCode::byte_register(bool rex_follows) {
    while (true) {
        const u8 reg = random_.one_in(4) ? static_cast<u8>(4 + random_.below(4)) : free_register();
        if (reg == 7 && rex_follows) continue;
        if (reg >= 4 && reg < 8 && rex_follows) continue;
        return reg;
    }
}

RandomCode::Operand RandomCode::register_operand(unsigned size) {
    Operand operand;
    operand.reg = free_register();
    if (size == 1 && operand.reg == 7) operand.reg = 3;
    return operand;
}

RandomCode::Operand RandomCode::memory_operand() {
    Operand operand;
    operand.memory = true;
    operand.displacement = static_cast<int>(random_.below(96)) - 48;
    switch (random_.below(holes_ ? 16 : 14)) {
        case 0:
        case 1: operand.reg = rbp; break;
        case 2:
            operand.reg = rsp;
            operand.displacement = -static_cast<int>(random_.below(64)) - 8;
            break;
        case 3:
        case 4: {  // through another register
            static constexpr u8 bases[] = {10, 11, 10, 11, 3, 12, 13, 9};
            operand.reg = bases[random_.below(8)];
            encode(8, 0x8d, operand.reg,
                   {.memory = true, .reg = rsi, .displacement = static_cast<int>(random_.below(32))});
            break;
        }
        case 5:
        case 6: {  // an index
            static constexpr u8 indices[] = {10, 11, 0, 1, 12, 15};
            operand.reg = random_.one_in(4) ? rbp : rsi;
            operand.indexed = true;
            operand.index = indices[random_.below(6)];
            operand.scale = static_cast<u8>(random_.below(4));
            if (operand.index >= 8) byte(0x41);
            byte(0xb8 + (operand.index & 7u));
            bytes(random_.below(6), 4);
            break;
        }
        case 14:
        case 15: operand.reg = r14; break;
        default: operand.reg = rsi; break;
    }
    return operand;
}

void RandomCode::encode(unsigned size, unsigned opcode, unsigned reg, const Operand& operand,
                        unsigned prefix) {
    if (size == 2) byte(0x66);
    if (prefix != 0) byte(prefix);
    const unsigned rex = (size == 8 ? 8u : 0u) | (reg >> 3 & 1) << 2 |
                         (operand.indexed ? operand.index >> 3 & 1u : 0u) << 1 | (operand.reg >> 3 & 1u);
    if (rex != 0) byte(0x40 | rex);
    if (opcode > 0xffff) byte(opcode >> 16);
    if (opcode > 0xff) byte(opcode >> 8 & 0xff);
    byte(opcode & 0xff);
    modrm(reg, operand);
}

void RandomCode::modrm(unsigned reg, const Operand& operand) {
    const unsigned middle = (reg & 7) << 3;
    if (!operand.memory) return byte(0xc0 | middle | (operand.reg & 7u));
    const bool sib = operand.indexed || (operand.reg & 7) == 4;
    const bool wide = random_.one_in(4);
    byte((wide ? 0x80u : 0x40u) | middle | (sib ? 4u : operand.reg & 7u));
    if (sib)
        byte(static_cast<unsigned>(operand.scale) << 6 | (operand.indexed ? operand.index & 7u : 4u) << 3 |
             (operand.reg & 7u));
    bytes(static_cast<u64>(static_cast<std::int64_t>(operand.displacement)), wide ? 4 : 1);
}

namespace {

constexpr unsigned sizes[] = {1, 2, 4, 4, 8, 8};

}  // namespace

// The reg field of a byte instruction may name a high byte only if nothing else asks for REX.
#define REG_FOR(size, operand)                                                                      \
    ((size) == 1 ? byte_register((operand).reg >= 8 || ((operand).indexed && (operand).index >= 8)) \
                 : free_register())

void RandomCode::arithmetic() {
    const unsigned size = sizes[random_.below(6)], operation = random_.below(8) * 8;
    const Operand operand = any_operand(size);
    const unsigned direction = random_.one_in(2) ? 2 : 0;
    encode(size, operation | direction | (size == 1 ? 0u : 1u), REG_FOR(size, operand), operand);
}

void RandomCode::immediate_arithmetic() {
    const unsigned size = sizes[random_.below(6)], operation = random_.below(8);
    const Operand operand = any_operand(size);
    if (size == 1) {
        encode(1, 0x80, operation, operand);
        return byte(random_.below(256));
    }
    const bool short_form = random_.one_in(2);
    encode(size, short_form ? 0x83 : 0x81, operation, operand);
    bytes(random_.next(), short_form ? 1 : size == 2 ? 2 : 4);
}

void RandomCode::move() {
    const unsigned size = sizes[random_.below(6)];
    const Operand operand = random_.one_in(4) ? register_operand(size) : memory_operand();
    switch (random_.below(5)) {
        case 0: encode(size, size == 1 ? 0x88 : 0x89, REG_FOR(size, operand), operand); break;
        case 1:
            encode(size, size == 1 ? 0xc6 : 0xc7, 0, operand);
            bytes(random_.next(), size == 8 ? 4 : size);
            break;
        case 2: {
            const u8 reg = free_register();
            byte(0x48 | reg >> 3);
            byte(0xb8 | (reg & 7u));
            bytes(random_.next(), 8);
            break;
        }
        case 3: encode(8, 0x8d, free_register(), memory_operand()); break;
        default: encode(size, size == 1 ? 0x8a : 0x8b, REG_FOR(size, operand), operand); break;
    }
}

void RandomCode::shift() {
    const unsigned size = sizes[random_.below(6)];
    const Operand operand = any_operand(size);
    if (random_.one_in(6)) {  // shld, shrd
        const unsigned wide = size == 1 ? 4 : size;
        encode(wide, random_.one_in(2) ? 0x0fa4 : 0x0fac, free_register(), operand);
        return byte(random_.below(16));
    }
    const unsigned operation = random_.below(8), low = size == 1 ? 0 : 1;
    switch (random_.below(3)) {
        case 0: encode(size, 0xd0 | low, operation, operand); break;
        case 1: encode(size, 0xd2 | low, operation, operand); break;
        default: encode(size, 0xc0 | low, operation, operand); byte(random_.below(40));
    }
}

void RandomCode::unary() {
    const unsigned size = sizes[random_.below(6)], low = size == 1 ? 0 : 1;
    const Operand operand = any_operand(size);
    if (random_.one_in(2)) return encode(size, 0xfe | low, random_.below(2), operand);
    encode(size, 0xf6 | low, 2 + random_.below(2), operand);
}

void RandomCode::bit() {
    const unsigned size = sizes[2 + random_.below(4)];
    switch (random_.below(4)) {
        case 0: {  // with an immediate: stays in the operand
            encode(size, 0x0fba, 4 + random_.below(4), any_operand(size));
            return byte(random_.below(256));
        }
        case 1: return encode(size, 0x0fa3 + 8 * random_.below(4), free_register(), register_operand(size));
        case 2:
            return encode(size, random_.one_in(2) ? 0x0fbc : 0x0fbd, free_register(), any_operand(size),
                          random_.one_in(2) ? 0xf3 : 0);
        default: return encode(size, 0x0fb8, free_register(), any_operand(size), 0xf3);  // popcnt
    }
}

void RandomCode::extend() {
    static constexpr unsigned opcodes[] = {0x0fb6, 0x0fb7, 0x0fbe, 0x0fbf};
    const unsigned opcode = opcodes[random_.below(4)];
    encode(sizes[2 + random_.below(4)], opcode, free_register(), any_operand(opcode & 1 ? 2 : 1));
}

void RandomCode::conditional() {
    const unsigned condition = random_.below(16);
    if (random_.one_in(2)) return encode(1, 0x0f90 | condition, 0, any_operand(1));
    const unsigned size = sizes[2 + random_.below(4)];
    encode(size, 0x0f40 | condition, free_register(), any_operand(size));
}

void RandomCode::multiply() {
    const unsigned size = sizes[2 + random_.below(4)];
    switch (random_.below(3)) {
        case 0: return encode(size, 0x0faf, free_register(), any_operand(size));
        case 1: encode(size, 0x6b, free_register(), any_operand(size)); return byte(random_.below(256));
        default: return encode(size, 0xf7, 4 + random_.below(2), any_operand(size));
    }
}

void RandomCode::stack() {
    switch (random_.below(4)) {
        case 0:
        case 1: {
            const u8 reg = free_register();
            if (reg >= 8) byte(0x41);
            byte(0x50 | (reg & 7u));
            ++pushed_;
            break;
        }
        case 2:
            encode(4, 0xff, 6,
                   {.memory = true, .reg = rsi, .displacement = static_cast<int>(random_.below(64))});
            ++pushed_;
            break;
        default:
            if (pushed_ == 0) return;
            --pushed_;
            const u8 reg = free_register();
            if (reg >= 8) byte(0x41);
            byte(0x58 | (reg & 7u));
    }
}

// Forward, over one or two instructions, or a call to the next one.
void RandomCode::branch() {
    if (random_.one_in(6)) {
        bytes(0x00000000e8, 5);  // call next; the return address is popped
        const u8 reg = free_register();
        if (reg >= 8) byte(0x41);
        byte(0x58 | (reg & 7u));
        return;
    }
    byte(random_.one_in(8) ? 0xeb : 0x70 | random_.below(16));
    u8* distance = at_;
    byte(0);
    const unsigned before = pushed_;
    arithmetic();
    if (random_.one_in(2)) move();
    pushed_ = before;
    *distance = static_cast<u8>(at_ - distance - 1);
}

void RandomCode::exchange() {
    const unsigned size = sizes[random_.below(6)], low = size == 1 ? 0 : 1;
    const Operand operand = any_operand(size);
    const bool lock = operand.memory && random_.one_in(2);
    const unsigned reg = REG_FOR(size, operand);
    if (lock) byte(0xf0);
    switch (random_.below(3)) {
        case 0: return encode(size, 0x86 | low, reg, operand);
        case 1: return encode(size, 0x0fc0 | low, reg, operand);
        default: return encode(size, 0x0fb0 | low, reg, operand);
    }
}

// Short ones, between rdi = rsi + something and rsi; rsi comes back.
void RandomCode::string() {
    encode(8, 0x8d, 7, {.memory = true, .reg = rsi, .displacement = static_cast<int>(random_.below(40))});
    byte(0x49), byte(0x89), byte(0xf0);  // mov r8, rsi
    byte(0xb9), bytes(random_.below(9), 4);
    static constexpr u8 operations[] = {0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xa6, 0xae};
    const u8 operation = operations[random_.below(8)];
    if (!random_.one_in(3)) byte(random_.one_in(3) ? 0xf2 : 0xf3);
    byte(operation);
    byte(0x4c), byte(0x89), byte(0xc6);  // mov rsi, r8
}

void RandomCode::flags() {
    static constexpr u8 simple[] = {0xf8, 0xf9, 0xf5, 0x9f,
                                    0x9e, 0x98, 0x99};  // clc stc cmc lahf sahf cwde cdq
    if (random_.one_in(3)) {
        byte(0x9c), ++pushed_;  // pushfq
        return;
    }
    byte(simple[random_.below(sizeof simple)]);
}

// `lea reg, [rip + 3]; jmp reg` or `call reg` with the return address taken off, to what follows.
void RandomCode::indirect() {
    const u8 reg = free_register();
    byte(reg >= 8 ? 0x4c : 0x48), byte(0x8d), byte(0x05 | (reg & 7u) << 3), bytes(3, 4);
    const bool call = random_.one_in(2);
    byte(reg >= 8 ? 0x41 : 0x40), byte(0xff), byte((call ? 0xd0u : 0xe0u) | (reg & 7u));
    if (call) byte(0x58);  // pop rax
}

// A register that numbers bits beyond the operand.
void RandomCode::bit_string() {
    static constexpr u8 numbers[] = {0, 10, 11, 12};
    const u8 number = numbers[random_.below(4)];
    if (number >= 8) byte(0x41);
    byte(0xb8 | (number & 7u)),
        bytes(static_cast<u64>(static_cast<std::int64_t>(random_.below(512)) - 256), 4);
    const Operand operand{.memory = true,
                          .reg = random_.one_in(4) ? rbp : rsi,
                          .displacement = static_cast<int>(random_.below(32))};
    const unsigned operation = random_.below(4);
    if (operation != 0 && random_.one_in(3)) byte(0xf0);
    encode(4, 0x0fa3 + 8 * operation, number, operand);
}

void RandomCode::instruction() {
    using Maker = void (RandomCode::*)();
    static constexpr Maker makers[] = {&RandomCode::arithmetic,
                                       &RandomCode::arithmetic,
                                       &RandomCode::arithmetic,
                                       &RandomCode::immediate_arithmetic,
                                       &RandomCode::immediate_arithmetic,
                                       &RandomCode::move,
                                       &RandomCode::move,
                                       &RandomCode::move,
                                       &RandomCode::shift,
                                       &RandomCode::unary,
                                       &RandomCode::bit,
                                       &RandomCode::extend,
                                       &RandomCode::conditional,
                                       &RandomCode::conditional,
                                       &RandomCode::multiply,
                                       &RandomCode::stack,
                                       &RandomCode::stack,
                                       &RandomCode::branch,
                                       &RandomCode::branch,
                                       &RandomCode::exchange,
                                       &RandomCode::string,
                                       &RandomCode::vector,
                                       &RandomCode::flags,
                                       &RandomCode::indirect,
                                       &RandomCode::bit_string,
                                       &RandomCode::bit_field,
                                       &RandomCode::wide_vector};
    constexpr unsigned count = sizeof makers / sizeof makers[0];
    (this->*makers[random_.below(newer_ ? count : count - 2)])();
}

void RandomCode::finish(int counter) {
    byte(0x41), byte(0xff), byte(0x8e);  // dec dword ptr [r14 + counter]
    bytes(static_cast<u64>(static_cast<std::int64_t>(counter)), 4);
    byte(0x0f), byte(0x85);  // jnz start
    bytes(static_cast<u64>(start_ - at_ - 4), 4);
    byte(0xcd), byte(0x81);
}

}  // namespace micro
