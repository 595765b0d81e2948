// SPDX-License-Identifier: Apache-2.0
// What the generator puts before an instruction, so that most of its operands can be accessed and most
// branches go somewhere.
#include "generator.hpp"
#include "values.hpp"

#include <algorithm>
#include <cstring>

namespace undercroft::differential {
namespace {

void put32(std::uint8_t* to, std::uint64_t value) {
    auto low = static_cast<std::uint32_t>(value);
    std::memcpy(to, &low, 4);
}

bool is_xsave(ZydisMnemonic mnemonic) {
    return mnemonic == ZYDIS_MNEMONIC_XSAVE || mnemonic == ZYDIS_MNEMONIC_XSAVE64 ||
           mnemonic == ZYDIS_MNEMONIC_XRSTOR || mnemonic == ZYDIS_MNEMONIC_XRSTOR64;
}

bool is_plain(std::uint64_t area) {
    return frame_of(area) >= static_cast<int>(code_frames) &&
           frame_of(area + 831) >= static_cast<int>(code_frames);
}

}  // namespace

std::uint64_t Generator::address_for(const Decoded& decoded, const ZydisDecodedOperand& operand) {
    std::uint64_t address = any_address(random_);
    if (random_.one_in(24)) address = code_address_ + random_.below(96);
    if (random_.one_in(48)) address = places[1].moved(code_address_) + random_.below(96);
    bool aligned = operand.size >= 128 && !random_.one_in(4) && decoded.raw.meta.isa_ext != ZYDIS_ISA_EXT_X87;
    if (aligned || decoded.has(ZYDIS_ATTRIB_HAS_LOCK)) address &= ~std::uint64_t{31};
    return address;
}

// Has the explicit memory operand lie at `address`.
void Generator::reach(Item& item, const Decoded& decoded, const ZydisDecodedOperand& operand,
                      std::uint64_t address) {
    const auto& memory = operand.mem;
    if (memory.segment == ZYDIS_REGISTER_FS) address -= fs_;
    if (memory.segment == ZYDIS_REGISTER_GS) address -= gs_;
    const auto& displacement = decoded.raw.raw.disp;
    if (memory.base == ZYDIS_REGISTER_RIP || memory.base == ZYDIS_REGISTER_EIP) {
        item.relative_to = address;
        item.at = displacement.offset;
        return;
    }
    if (memory.base == ZYDIS_REGISTER_NONE && memory.index == ZYDIS_REGISTER_NONE) {
        std::memcpy(item.bytes.data() + displacement.offset, &address, displacement.size / 8u);
        return;
    }
    if (memory.type == ZYDIS_MEMOP_TYPE_VSIB) {
        // All of its elements small: vpcmpeqd, vpsrlq.
        auto number = static_cast<unsigned>(ZydisRegisterGetId(memory.index));
        bool high = number >= 8;
        raw({0xc4, high ? 0x41u : 0xe1u, (~number & 15u) << 3 | 5u, 0x76,
             0xc0 | (number & 7) << 3 | (number & 7)});
        raw({0xc4, high ? 0xc1u : 0xe1u, (~number & 15u) << 3 | 5u, 0x73, 0xd0 | (number & 7),
             static_cast<unsigned>(54 + random_.below(10))});
    } else if (memory.index != ZYDIS_REGISTER_NONE && memory.index != memory.base) {
        std::uint64_t index = random_.one_in(3) ? random_.below(64) : 0 - random_.below(64);
        set_register(static_cast<unsigned>(ZydisRegisterGetId(memory.index)), index);
        address -= index * memory.scale;
    } else if (memory.index != ZYDIS_REGISTER_NONE) {
        return;  // one register in both places
    }
    address -= static_cast<std::uint64_t>(memory.disp.value);
    if (memory.base == ZYDIS_REGISTER_NONE) return;
    auto base = static_cast<unsigned>(ZydisRegisterGetId(memory.base));
    if (base == 4 && !random_.one_in(8)) return;
    set_register(base, address);
}

void Generator::set_up_string(const Decoded&) {
    if (random_.one_in(12)) return;
    set_register(6, any_address(random_));
    set_register(7, random_.one_in(40) ? code_address_ + random_.below(96) : any_address(random_));
    set_register(1, random_.one_in(16) ? random_.below(6000) : random_.below(40));
}

void Generator::set_up_branch(Item& item, const Decoded& decoded) {
    const auto& operand = decoded.operand[0];
    if (decoded.raw.meta.category == ZYDIS_CATEGORY_RET) {
        if (random_.one_in(5)) return;
        Item push;
        push.bytes[0] = 0x68;
        push.length = 5;
        push.at = 1;
        push.absolute = static_cast<std::int8_t>(items_.size() + 2 + random_.below(3));
        items_.push_back(push);
        return;
    }
    if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        item.target = any_target();
        item.at = decoded.raw.raw.imm[0].offset;
        return;
    }
    if (random_.one_in(6)) return;
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
        auto number = static_cast<unsigned>(ZydisRegisterGetId(operand.reg.value));
        set_register(number, 0);
        Item& move = items_.back();
        move.at = static_cast<std::uint8_t>(move.length - 4);
        move.absolute = static_cast<std::int8_t>(items_.size() + 1 + random_.below(3));
        return;
    }
    std::uint64_t address = good_address(random_);
    if (address / page != (address + 8) / page && random_.one_in(2)) address -= 64;
    reach(item, decoded, operand, address);
    Item store;  // mov qword [address], item
    constexpr std::uint8_t bytes[] = {0x48, 0xc7, 0x04, 0x25};
    std::memcpy(store.bytes.data(), bytes, 4);
    put32(store.bytes.data() + 4, address);
    store.length = 12;
    store.at = 8;
    store.absolute = static_cast<std::int8_t>(items_.size() + 2 + random_.below(3));
    items_.push_back(store);
}

// XSAVE and XRSTOR: a mask within XCR0, an aligned area with a header that is zero but for what XSAVE puts
// there.
void Generator::set_up_xsave(Item& item, const Decoded& decoded) {
    std::uint64_t area = (good_address(random_) & ~std::uint64_t{page - 1}) + 64 * (1 + random_.below(50));
    if (random_.one_in(12)) area = address_for(decoded, *decoded.memory());
    for (std::uint64_t word = 512; word < 576; word += 8) {
        Item zero;  // mov qword [area + word], 0
        constexpr std::uint8_t bytes[] = {0x48, 0xc7, 0x04, 0x25};
        std::memcpy(zero.bytes.data(), bytes, 4);
        put32(zero.bytes.data() + 4, area + word);
        zero.length = 12;
        if (is_plain(area)) items_.push_back(zero);
    }
    reach(item, decoded, *decoded.memory(), area);
    set_register(2, 0);
    if (decoded.raw.mnemonic == ZYDIS_MNEMONIC_XRSTOR || decoded.raw.mnemonic == ZYDIS_MNEMONIC_XRSTOR64) {
        set_register(0, random_.below(8));
        Item save = item;  // the same with XSAVE's ModRM.reg
        save.bytes[decoded.raw.raw.modrm.offset] &= static_cast<std::uint8_t>(~8u);
        items_.push_back(save);
    }
    set_register(0, random_.below(8));
}

void Generator::set_up_implicit(const Decoded& decoded) {
    switch (decoded.raw.mnemonic) {
        case ZYDIS_MNEMONIC_DIV:
        case ZYDIS_MNEMONIC_IDIV:
            if (random_.one_in(2)) set_register(2, random_.below(3));
            break;
        case ZYDIS_MNEMONIC_XLAT: set_register(3, any_address(random_)); break;
        case ZYDIS_MNEMONIC_MASKMOVQ:
        case ZYDIS_MNEMONIC_MASKMOVDQU:
        case ZYDIS_MNEMONIC_VMASKMOVDQU: set_register(7, any_address(random_)); break;
        case ZYDIS_MNEMONIC_LEAVE:
            if (!random_.one_in(4)) set_register(5, stack + random_.below(2 * page - 8));
            break;
        case ZYDIS_MNEMONIC_POPF:
        case ZYDIS_MNEMONIC_POPFQ: {
            std::uint64_t flags = random_.next() & 0x240fffu;
            if (!random_.one_in(8)) flags &= ~std::uint64_t{0x100};
            raw({0x68, static_cast<unsigned>(flags & 0xff), static_cast<unsigned>(flags >> 8 & 0xff),
                 static_cast<unsigned>(flags >> 16 & 0xff), 0});
            break;
        }
        default: break;
    }
}

void Generator::make_operands_good(Item& item, const Decoded& decoded) {
    switch (group_of(decoded)) {
        case Group::String: set_up_string(decoded); return;
        case Group::Branch: set_up_branch(item, decoded); return;
        default: break;
    }
    if (is_xsave(decoded.raw.mnemonic) && !random_.one_in(6)) return set_up_xsave(item, decoded);
    set_up_implicit(decoded);
    const auto* operand = decoded.memory();
    if (operand != nullptr && !random_.one_in(4))
        reach(item, decoded, *operand, address_for(decoded, *operand));
}

}  // namespace undercroft::differential
