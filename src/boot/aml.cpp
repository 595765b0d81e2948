// SPDX-License-Identifier: Apache-2.0
#include "boot/aml.hpp"

#include "base/check.hpp"

#include <cstddef>

namespace undercroft::boot::aml {
namespace {

enum class Op : std::uint8_t {
    Zero = 0x00,
    One = 0x01,
    Name = 0x08,
    Byte = 0x0a,
    Word = 0x0b,
    DWord = 0x0c,
    String = 0x0d,
    QWord = 0x0e,
    Scope = 0x10,
    Buffer = 0x11,
    Package = 0x12,
    Method = 0x14,
    DualName = 0x2e,
    MultiName = 0x2f,
    Root = 0x5c,
    Extended = 0x5b,
    Notify = 0x86,
    ExtendedDevice = 0x82,
};

enum class Descriptor : std::uint8_t {
    IoPorts = 0x47,
    End = 0x79,
    MemoryFixed32 = 0x86,
    ExtendedInterrupt = 0x89
};

Code code(Op op) { return {static_cast<std::uint8_t>(op)}; }

void append(Code& to, const Code& from) { to.insert(to.end(), from.begin(), from.end()); }

Code little_endian(std::uint64_t value, std::size_t size) {
    Code bytes;
    for (std::size_t i = 0; i < size; ++i) bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    return bytes;
}

// PkgLength (section 20.2.4) counts itself: one byte up to 63, else a lead byte with the low four bits and
// the number of bytes that follow.
Code package_length(std::size_t content) {
    if (content + 1 < 64) return {static_cast<std::uint8_t>(content + 1)};
    for (std::size_t following = 1; following <= 3; ++following) {
        const std::size_t total = content + 1 + following;
        if (total >> (4 + 8 * following) != 0) continue;
        Code bytes{static_cast<std::uint8_t>(following << 6 | (total & 0xf))};
        append(bytes, little_endian(total >> 4, following));
        return bytes;
    }
    CHECK(false, "AML term too long");
}

// The lead operator, the length of what follows, and that.
Code enclose(const Code& op, const Code& content) {
    return join({op, package_length(content.size()), content});
}

Code name_string(std::string_view path) {
    Code bytes;
    if (path.starts_with('\\')) {
        append(bytes, code(Op::Root));
        path.remove_prefix(1);
    }
    Code segments;
    std::uint8_t count = 0;
    for (bool more = true; more; ++count) {
        const std::size_t dot = path.find('.');
        const std::string_view segment = path.substr(0, dot);
        CHECK(!segment.empty() && segment.size() <= 4);
        for (std::size_t i = 0; i < 4; ++i)
            segments.push_back(static_cast<std::uint8_t>(i < segment.size() ? segment[i] : '_'));
        more = dot != std::string_view::npos;
        if (more) path.remove_prefix(dot + 1);
    }
    if (count == 2) append(bytes, code(Op::DualName));
    if (count > 2) append(bytes, join({code(Op::MultiName), {count}}));
    append(bytes, segments);
    return bytes;
}

}  // namespace

Code join(std::initializer_list<Code> terms) {
    Code all;
    for (const Code& term : terms) append(all, term);
    return all;
}

Code join(const std::vector<Code>& terms) {
    Code all;
    for (const Code& term : terms) append(all, term);
    return all;
}

Code integer(std::uint64_t value) {
    if (value == 0) return code(Op::Zero);
    if (value == 1) return code(Op::One);
    if (value <= 0xff) return join({code(Op::Byte), little_endian(value, 1)});
    if (value <= 0xffff) return join({code(Op::Word), little_endian(value, 2)});
    if (value <= 0xffffffff) return join({code(Op::DWord), little_endian(value, 4)});
    return join({code(Op::QWord), little_endian(value, 8)});
}

Code string(std::string_view text) { return join({code(Op::String), Code(text.begin(), text.end()), {0}}); }

Code eisa_id(std::string_view id) {
    CHECK(id.size() == 7);
    std::uint32_t value = 0;
    for (const char letter : id.substr(0, 3)) {
        CHECK(letter >= 'A' && letter <= 'Z');
        value = value << 5 | static_cast<std::uint32_t>(letter - 'A' + 1);
    }
    for (const char digit : id.substr(3)) {
        CHECK((digit >= '0' && digit <= '9') || (digit >= 'A' && digit <= 'F'));
        value = value << 4 | static_cast<std::uint32_t>(digit <= '9' ? digit - '0' : digit - 'A' + 10);
    }
    // Big-endian in memory; the operator is that of a DWord whatever the value.
    return join({code(Op::DWord), little_endian(__builtin_bswap32(value), 4)});
}

Code buffer(const Code& bytes) { return enclose(code(Op::Buffer), join({integer(bytes.size()), bytes})); }

Code package(const std::vector<Code>& elements) {
    CHECK(elements.size() <= 0xff);
    return enclose(code(Op::Package), join({{static_cast<std::uint8_t>(elements.size())}, join(elements)}));
}

Code name(std::string_view path, const Code& value) {
    return join({code(Op::Name), name_string(path), value});
}

Code scope(std::string_view path, const std::vector<Code>& terms) {
    return enclose(code(Op::Scope), join({name_string(path), join(terms)}));
}

Code device(std::string_view path, const std::vector<Code>& terms) {
    return enclose(join({code(Op::Extended), code(Op::ExtendedDevice)}),
                   join({name_string(path), join(terms)}));
}

Code method(std::string_view path, unsigned arguments, const std::vector<Code>& terms) {
    constexpr unsigned serialized = 1u << 3;
    CHECK(arguments < serialized);
    const auto flags = static_cast<std::uint8_t>(arguments | serialized);
    return enclose(code(Op::Method), join({name_string(path), {flags}, join(terms)}));
}

Code notify(std::string_view object, std::uint64_t value) {
    return join({code(Op::Notify), name_string(object), integer(value)});
}

Code io_ports(std::uint16_t base, std::uint8_t length) {
    constexpr std::uint8_t decodes_16_bits = 1;
    constexpr std::uint8_t alignment = 1;
    return join({{static_cast<std::uint8_t>(Descriptor::IoPorts), decodes_16_bits},
                 little_endian(base, 2),  // the lowest
                 little_endian(base, 2),  // and the highest it may be moved to
                 {alignment, length}});
}

Code memory_window(std::uint32_t base, std::uint32_t length) {
    constexpr std::uint8_t writable = 1;
    return join({{static_cast<std::uint8_t>(Descriptor::MemoryFixed32)},
                 little_endian(9, 2),
                 {writable},
                 little_endian(base, 4),
                 little_endian(length, 4)});
}

Code interrupt(std::uint32_t gsi, Trigger trigger) {
    constexpr std::uint8_t consumer = 1u << 0;
    constexpr std::uint8_t edge = 1u << 1;  // active low is bit 2, shared bit 3
    const auto flags = static_cast<std::uint8_t>(trigger == Trigger::Edge ? consumer | edge : consumer);
    return join({{static_cast<std::uint8_t>(Descriptor::ExtendedInterrupt)},
                 little_endian(6, 2),
                 {flags, 1},  // one interrupt
                 little_endian(gsi, 4)});
}

Code resources(const std::vector<Code>& descriptors) {
    constexpr std::uint8_t no_checksum = 0;
    return buffer(join({join(descriptors), {static_cast<std::uint8_t>(Descriptor::End), no_checksum}}));
}

}  // namespace undercroft::boot::aml
