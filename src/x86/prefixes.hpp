// SPDX-License-Identifier: Apache-2.0
// Bytes that may come before an instruction's opcode in 64-bit mode (Intel SDM vol. 2A
// sections 2.1.1, 2.2.1).

#pragma once

namespace undercroft {

constexpr bool is_segment_prefix(unsigned byte) {
    switch (byte) {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
        case 0x64:
        case 0x65: return true;
        default: return false;
    }
}

constexpr bool is_address_size_prefix(unsigned byte) { return byte == 0x67; }

constexpr bool is_legacy_prefix(unsigned byte) {
    switch (byte) {
        case 0x66:
        case 0xf0:
        case 0xf2:
        case 0xf3: return true;
        default: return is_segment_prefix(byte) || is_address_size_prefix(byte);
    }
}

constexpr bool is_rex_prefix(unsigned byte) { return (byte & 0xf0) == 0x40; }

constexpr bool is_prefix(unsigned byte) { return is_legacy_prefix(byte) || is_rex_prefix(byte); }

}  // namespace undercroft
