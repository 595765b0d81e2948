// SPDX-License-Identifier: Apache-2.0
#include "engine/direct/sensitive.hpp"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace undercroft::direct {
namespace {

constexpr std::size_t longest_instruction = bytes_behind;

constexpr std::byte two_byte_opcode{0x0f};
constexpr std::byte int_opcode{0xcd};

// May these three bytes be the opcode of one and its ModRM byte?
bool may_be_sensitive(std::byte first, std::byte second, std::byte third) {
    auto next = static_cast<std::uint8_t>(second);
    auto modrm = static_cast<std::uint8_t>(third);
    if (first == int_opcode) return next == 0x80 || next == 0x04;
    unsigned mod = modrm >> 6;
    unsigned reg = modrm >> 3 & 7;
    switch (next) {
        case 0x01:  // SGDT, SIDT, SMSW; VMCALL, VMMCALL, XGETBV, RDTSCP, RDPKRU, WRPKRU
            if (mod != 3) return reg < 2 || reg == 4;
            return reg == 4 || modrm == 0xc1 || modrm == 0xd9 || modrm == 0xd0 || modrm == 0xf9 ||
                   modrm == 0xee || modrm == 0xef;
        case 0x34:  // SYSENTER
        case 0xa2:  // CPUID
            return true;
        case 0xae: return mod != 3 && reg >= 4 && reg <= 6;  // XSAVE, XRSTOR, XSAVEOPT
        case 0xc7: return mod != 3 ? reg == 4 : reg == 7;    // XSAVEC, RDPID
        default: return false;
    }
}

bool is_sensitive(const ZydisDecodedInstruction& instruction) {
    switch (instruction.mnemonic) {
        case ZYDIS_MNEMONIC_CPUID:
        case ZYDIS_MNEMONIC_XGETBV:
        case ZYDIS_MNEMONIC_RDPID:
        case ZYDIS_MNEMONIC_RDTSCP:
        case ZYDIS_MNEMONIC_RDPKRU:
        case ZYDIS_MNEMONIC_WRPKRU:
        case ZYDIS_MNEMONIC_SGDT:
        case ZYDIS_MNEMONIC_SIDT:
        case ZYDIS_MNEMONIC_SMSW:
        case ZYDIS_MNEMONIC_XSAVE:
        case ZYDIS_MNEMONIC_XSAVE64:
        case ZYDIS_MNEMONIC_XSAVEC:
        case ZYDIS_MNEMONIC_XSAVEC64:
        case ZYDIS_MNEMONIC_XSAVEOPT:
        case ZYDIS_MNEMONIC_XSAVEOPT64:
        case ZYDIS_MNEMONIC_XRSTOR:
        case ZYDIS_MNEMONIC_XRSTOR64:
        case ZYDIS_MNEMONIC_SYSENTER:
        case ZYDIS_MNEMONIC_VMCALL:
        case ZYDIS_MNEMONIC_VMMCALL: return true;
        case ZYDIS_MNEMONIC_INT: return true;  // the filter has seen to its number
        default: return false;
    }
}

struct Covering {
    std::size_t start = 0;  // in the view
    bool sensitive = false;
    bool certain = false;  // it begins there if one does where decoding has begun
};

// Does nothing tell what is behind it?
bool ends_flow(const ZydisDecodedInstruction& instruction) {
    switch (instruction.meta.category) {
        case ZYDIS_CATEGORY_UNCOND_BR:
        case ZYDIS_CATEGORY_RET: return true;
        default: break;
    }
    switch (instruction.mnemonic) {
        case ZYDIS_MNEMONIC_UD0:
        case ZYDIS_MNEMONIC_UD1:
        case ZYDIS_MNEMONIC_UD2:
        case ZYDIS_MNEMONIC_INT3:
        case ZYDIS_MNEMONIC_HLT: return true;
        default: return false;
    }
}

// A near branch with an operand-size prefix: its displacement has two bytes on AMD's processors.
bool has_length_by_vendor(const ZydisDecodedInstruction& instruction) {
    bool relative = (instruction.attributes & ZYDIS_ATTRIB_IS_RELATIVE) != 0;
    bool branches = instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR;
    return relative && branches && (instruction.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) != 0;
}

// The instruction that the byte at `hit` is part of, if decoding begins at `from`. What is behind the view
// counts as zeroes: an instruction that begins before its end and goes on there has its length.
Covering decode_from(const ZydisDecoder& decoder, const CodeView& view, std::size_t from, std::size_t hit) {
    std::array<std::byte, longest_instruction> bytes{};
    ZydisDecodedInstruction instruction;
    bool certain = true;
    for (std::size_t at = from;;) {
        for (std::size_t n = 0; n < bytes.size(); ++n)
            bytes[n] = at + n < view.size() ? view[at + n] : std::byte{0};
        bool decoded = ZYAN_SUCCESS(
            ZydisDecoderDecodeInstruction(&decoder, nullptr, bytes.data(), bytes.size(), &instruction));
        std::size_t length = decoded ? instruction.length : 1;
        if (decoded && has_length_by_vendor(instruction)) certain = false;
        if (at + length > hit) return {at, decoded && is_sensitive(instruction), certain};
        if (!decoded || ends_flow(instruction)) certain = false;
        at += length;
    }
}

void add(std::vector<std::uint16_t>& offsets, const CodeView& view, std::size_t start) {
    std::size_t first = view.before.size();
    if (start < first || start >= first + view.code.size()) return;
    auto offset = static_cast<std::uint16_t>(start - first);
    if (std::find(offsets.begin(), offsets.end(), offset) == offsets.end()) offsets.push_back(offset);
}

bool is_prefix(std::byte value) {
    switch (auto byte = static_cast<std::uint8_t>(value)) {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
        case 0x64:
        case 0x65:
        case 0x66:
        case 0x67:
        case 0xf0:
        case 0xf2:
        case 0xf3: return true;
        default: return byte >> 4 == 4;  // REX
    }
}

// One that has its opcode there: a breakpoint is met by the first byte of an instruction, and that is any of
// what may be its prefixes, or the end of another one.
void suspect(const CodeView& view, std::size_t opcode, SensitiveInstructions& found) {
    add(found.suspected, view, opcode);
    for (std::size_t at = opcode; at > 0 && is_prefix(view[at - 1]); --at) add(found.suspected, view, at - 1);
}

// As most say who begin before the hit.
void vote(const ZydisDecoder& decoder, const CodeView& view, std::size_t hit, SensitiveInstructions& found) {
    constexpr std::size_t voters = 16;
    constexpr std::size_t apart = 3;
    constexpr std::size_t odd = 7;  // so that the first few lie far apart
    constexpr std::size_t few = 3;  // of whom it is enough that none says so
    std::size_t begin = hit < bytes_before ? 0 : hit - bytes_before;
    std::size_t said = 0;
    std::size_t count = 0;
    for (std::size_t n = 0; n < voters; ++n) {
        std::size_t from = begin + n * odd % voters * apart;
        if (from > hit) continue;
        ++count;
        Covering covering = decode_from(decoder, view, from, hit);
        if (covering.sensitive) ++said;
        if (count == few && said == 0) break;
    }
    if (2 * said >= count) suspect(view, hit, found);
}

void judge(const ZydisDecoder& decoder, const CodeView& view, std::size_t hit, SensitiveInstructions& found) {
    std::size_t in_code = hit - view.before.size();
    auto known = std::upper_bound(view.starts.begin(), view.starts.end(), in_code);
    if (known == view.starts.begin()) return vote(decoder, view, hit, found);
    Covering covering = decode_from(decoder, view, view.before.size() + *(known - 1), hit);
    if (!covering.certain) return vote(decoder, view, hit, found);
    if (covering.sensitive) add(found.certain, view, covering.start);
}

}  // namespace

SensitiveInstructions sensitive_instructions(const CodeView& view) {
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    // Where these are not enabled, their encodings are NOPs with any operand.
    for (ZydisDecoderMode mode :
         {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET, ZYDIS_DECODER_MODE_CLDEMOTE})
        ZydisDecoderEnableMode(&decoder, mode, ZYAN_FALSE);
    SensitiveInstructions found;
    std::size_t first = view.before.size();
    std::size_t end = first + view.code.size();
    for (std::size_t hit = first; hit + 1 < view.size(); ++hit) {
        std::byte opcode = hit < end ? view.code[hit - first] : view[hit];
        if (opcode != two_byte_opcode && opcode != int_opcode) continue;
        std::byte third = hit + 2 < view.size() ? view[hit + 2] : std::byte{0};
        if (may_be_sensitive(opcode, view[hit + 1], third)) judge(decoder, view, hit, found);
    }
    return found;
}

}  // namespace undercroft::direct
