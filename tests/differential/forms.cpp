// SPDX-License-Identifier: Apache-2.0
#include "forms.hpp"

#include "assemble.hpp"
#include "x86/prefixes.hpp"

namespace undercroft::differential {

Group group_of(const Decoded& i) {
    switch (i.raw.meta.category) {
        case ZYDIS_CATEGORY_CALL:
        case ZYDIS_CATEGORY_RET:
        case ZYDIS_CATEGORY_UNCOND_BR:
        case ZYDIS_CATEGORY_COND_BR: return Group::Branch;
        case ZYDIS_CATEGORY_PUSH:
        case ZYDIS_CATEGORY_POP: return Group::Stack;
        case ZYDIS_CATEGORY_STRINGOP: return Group::String;
        case ZYDIS_CATEGORY_SYSTEM:
        case ZYDIS_CATEGORY_IO:
        case ZYDIS_CATEGORY_IOSTRINGOP:
        case ZYDIS_CATEGORY_INTERRUPT:
        case ZYDIS_CATEGORY_SEGOP: return Group::System;
        default: break;
    }
    if ((i.raw.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) != 0) return Group::System;
    if (i.raw.mnemonic == ZYDIS_MNEMONIC_LEAVE || i.raw.mnemonic == ZYDIS_MNEMONIC_ENTER) return Group::Stack;
    switch (i.raw.meta.isa_ext) {
        case ZYDIS_ISA_EXT_X87: return Group::X87;
        case ZYDIS_ISA_EXT_MMX: return Group::Mmx;
        case ZYDIS_ISA_EXT_SSE:
        case ZYDIS_ISA_EXT_SSE2:
        case ZYDIS_ISA_EXT_SSE3:
        case ZYDIS_ISA_EXT_SSSE3:
        case ZYDIS_ISA_EXT_SSE4:
        case ZYDIS_ISA_EXT_AES:
        case ZYDIS_ISA_EXT_PCLMULQDQ:
        case ZYDIS_ISA_EXT_SHA: return Group::Sse;
        case ZYDIS_ISA_EXT_AVX:
        case ZYDIS_ISA_EXT_AVX2:
        case ZYDIS_ISA_EXT_AVX2GATHER:
        case ZYDIS_ISA_EXT_AVXAES:
        case ZYDIS_ISA_EXT_VAES:
        case ZYDIS_ISA_EXT_VPCLMULQDQ:
        case ZYDIS_ISA_EXT_FMA:
        case ZYDIS_ISA_EXT_F16C: return Group::Avx;
        default: return Group::Integer;
    }
}

void Forms::add(const Encoding& encoding) {
    std::array<std::uint8_t, 32> bytes{};
    assemble_plain(encoding, bytes);
    Decoded decoded;
    if (!decode({bytes.data(), 15}, decoded)) return;
    if (decoded.raw.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
        decoded.raw.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
        decoded.raw.encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW) {
        return;
    }
    std::uint64_t key = form_of(decoded);
    auto [found, is_new] = numbers_.try_emplace(key, static_cast<std::uint32_t>(forms_.size()));
    if (is_new) {
        const char* reason = left_out(decoded);
        Group group = group_of(decoded);
        if (reason == nullptr) tried_[static_cast<unsigned>(group)].push_back(found->second);
        forms_.push_back({form_name(decoded), reason, group, {}});
    }
    Form& form = forms_[found->second];
    // INT 80h is one of many: another immediate makes the form possible.
    if (form.encodings.size() < 256) form.encodings.push_back(encoding);
}

void Forms::add_all_modrm(Encoding encoding) {
    encoding.has_modrm = true;
    for (unsigned reg = 0; reg < 8; ++reg) {
        encoding.reg = static_cast<std::uint8_t>(reg);
        encoding.in_memory = true;
        encoding.rm = 3;
        add(encoding);
        encoding.in_memory = false;
        for (unsigned rm = 0; rm < 8; ++rm) {
            encoding.rm = static_cast<std::uint8_t>(rm);
            add(encoding);
        }
    }
}

namespace {

// One-byte opcodes that are prefixes or begin another map.
bool is_no_opcode(unsigned byte) {
    return is_prefix(byte) || byte == 0x0f || byte == 0x62 || byte == 0xc4 || byte == 0xc5;
}

bool has_modrm(const Encoding& encoding) {
    std::array<std::uint8_t, 32> bytes{};
    Encoding with = encoding;
    with.has_modrm = true;
    for (unsigned reg = 0; reg < 8; ++reg) {
        for (bool in_memory : {false, true}) {
            with.reg = static_cast<std::uint8_t>(reg);
            with.in_memory = in_memory;
            with.rm = 3;
            assemble_plain(with, bytes);
            Decoded decoded;
            if (decode({bytes.data(), 15}, decoded)) return decoded.has(ZYDIS_ATTRIB_HAS_MODRM);
        }
    }
    return false;
}

}  // namespace

Forms::Forms() {
    for (unsigned map = 0; map < 4; ++map) {
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
            if (map == 0 && is_no_opcode(opcode)) continue;
            if (map == 1 && (opcode == 0x38 || opcode == 0x3a)) continue;
            for (unsigned prefix : {0x00u, 0x66u, 0xf2u, 0xf3u, 0xf0u}) {
                for (bool w : {false, true}) {
                    Encoding encoding{.map = static_cast<std::uint8_t>(map),
                                      .prefix = static_cast<std::uint8_t>(prefix),
                                      .w = w,
                                      .opcode = static_cast<std::uint8_t>(opcode)};
                    if (has_modrm(encoding))
                        add_all_modrm(encoding);
                    else
                        add(encoding);
                }
            }
            if (map == 0) continue;
            for (unsigned bits = 0; bits < 16; ++bits) {
                constexpr std::uint8_t prefixes[] = {0, 0x66, 0xf3, 0xf2};
                Encoding encoding{.map = static_cast<std::uint8_t>(map),
                                  .prefix = prefixes[bits & 3],
                                  .vex = true,
                                  .w = (bits & 4) != 0,
                                  .l = (bits & 8) != 0,
                                  .opcode = static_cast<std::uint8_t>(opcode)};
                if (map == 1 && opcode == 0x77)
                    add(encoding);
                else
                    add_all_modrm(encoding);
            }
        }
    }
}

}  // namespace undercroft::differential
