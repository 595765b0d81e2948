// SPDX-License-Identifier: Apache-2.0
#include "boot/decompress.hpp"

#include <fmt/core.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace undercroft::boot {
namespace {

// Unpacks `stream` into exactly `out`. Returns what is wrong, or null.
using Unpack = const char* (*)(ByteSpan stream, std::span<std::byte> out);

constexpr const char* too_short = "unpacks to less than its size";

const std::uint8_t* octets(const std::byte* bytes) { return reinterpret_cast<const std::uint8_t*>(bytes); }
std::uint8_t* octets(std::byte* bytes) { return reinterpret_cast<std::uint8_t*>(bytes); }

const char* lzma_reason(lzma_ret code) {
    switch (code) {
        case LZMA_FORMAT_ERROR: return "not such a stream";
        case LZMA_OPTIONS_ERROR: return "unsupported options";
        case LZMA_DATA_ERROR: return "damaged data";
        case LZMA_MEM_ERROR: return "out of memory";
        case LZMA_MEMLIMIT_ERROR: return "dictionary too large";
        case LZMA_OK:
        case LZMA_BUF_ERROR: return "ends early or unpacks to more than its size";
        default: return "cannot be decoded";
    }
}

const char* unpack_lzma_family(lzma_stream& stream, lzma_ret initialised, ByteSpan in,
                               std::span<std::byte> out) {
    if (initialised != LZMA_OK) return lzma_reason(initialised);
    stream.next_in = octets(in.data());
    stream.avail_in = in.size();
    stream.next_out = octets(out.data());
    stream.avail_out = out.size();
    const lzma_ret code = lzma_code(&stream, LZMA_FINISH);
    const std::size_t missing = stream.avail_out;
    lzma_end(&stream);
    if (code != LZMA_STREAM_END) return lzma_reason(code);
    return missing == 0 ? nullptr : too_short;
}

constexpr std::uint64_t lzma_memory_limit = std::uint64_t{512} << 20;

const char* unpack_xz(ByteSpan in, std::span<std::byte> out) {
    lzma_stream stream = LZMA_STREAM_INIT;
    const lzma_ret initialised = lzma_stream_decoder(&stream, lzma_memory_limit, 0);
    return unpack_lzma_family(stream, initialised, in, out);
}

const char* unpack_lzma(ByteSpan in, std::span<std::byte> out) {
    lzma_stream stream = LZMA_STREAM_INIT;
    const lzma_ret initialised = lzma_alone_decoder(&stream, lzma_memory_limit);
    return unpack_lzma_family(stream, initialised, in, out);
}

const char* unpack_zstd(ByteSpan in, std::span<std::byte> out) {
    const std::size_t size = ZSTD_decompress(out.data(), out.size(), in.data(), in.size());
    if (ZSTD_isError(size)) return ZSTD_getErrorName(size);
    return size == out.size() ? nullptr : too_short;
}

const char* unpack_gzip(ByteSpan in, std::span<std::byte> out) {
    z_stream stream{};
    if (inflateInit2(&stream, MAX_WBITS + 16) != Z_OK)
        return "out of memory";  // + 16: gzip, and nothing else
    stream.next_in = const_cast<std::uint8_t*>(octets(in.data()));
    stream.avail_in = static_cast<uInt>(in.size());
    stream.next_out = octets(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int code = inflate(&stream, Z_FINISH);
    const uInt missing = stream.avail_out;
    inflateEnd(&stream);
    if (code == Z_DATA_ERROR) return "damaged data";
    if (code != Z_STREAM_END) return "ends early or unpacks to more than its size";
    return missing == 0 ? nullptr : too_short;
}

// A magic number, then blocks of {packed size, packed data}; each but the last unpacks to 8 MiB.
struct Lz4Block {
    ByteSpan packed;
    std::span<std::byte> out;

    bool unpack() const {
        const int size = LZ4_decompress_safe(reinterpret_cast<const char*>(packed.data()),
                                             reinterpret_cast<char*>(out.data()),
                                             static_cast<int>(packed.size()), static_cast<int>(out.size()));
        return size >= 0 && static_cast<std::size_t>(size) == out.size();
    }
};

// Blocks know nothing of each other: a second thread takes every other one, about. If there can be none, the
// first takes them all.
bool unpack_all(const std::vector<Lz4Block>& blocks) {
    std::atomic<std::size_t> next{0};
    std::atomic<bool> good{true};
    auto work = [&] {
        for (std::size_t i = next++; i < blocks.size() && good; i = next++) {
            if (!blocks[i].unpack()) good = false;
        }
    };
    std::thread helper;
    try {
        if (blocks.size() > 1) helper = std::thread{work};
    } catch (const std::system_error&) {
    }
    work();
    if (helper.joinable()) helper.join();
    return good;
}

const char* unpack_lz4(ByteSpan in, std::span<std::byte> out) {
    constexpr std::size_t block_size = std::size_t{8} << 20;
    std::vector<Lz4Block> blocks;
    std::size_t at = sizeof(std::uint32_t);
    while (!out.empty()) {
        if (!lies_within(at, sizeof(std::uint32_t), in.size())) return "ends early";
        const auto packed = load_at<std::uint32_t>(in, at);
        at += sizeof packed;
        if (packed > LZ4_COMPRESSBOUND(block_size) || !lies_within(at, packed, in.size()))
            return "ends early";
        const std::size_t room = std::min(out.size(), block_size);
        blocks.push_back({in.subspan(at, packed), out.first(room)});
        out = out.subspan(room);
        at += packed;
    }
    if (at != in.size()) return "unpacks to more than its size";
    return unpack_all(blocks) ? nullptr : "damaged data";
}

struct Format {
    const char* name;
    std::string_view magic;
    bool size_is_trailer;  // the stream's own last bytes are the size
    Unpack unpack;         // null: known, not supported
};

using namespace std::string_view_literals;
constexpr std::array formats{
    Format{"xz",
           "\xfd"
           "7zXZ\0"sv,
           false, unpack_xz},
    Format{"lz4", "\x02\x21\x4c\x18"sv, false, unpack_lz4},
    Format{"zstd", "\x28\xb5\x2f\xfd"sv, false, unpack_zstd},
    Format{"gzip", "\x1f\x8b"sv, true, unpack_gzip},
    Format{"lzma", "\x5d\0\0"sv, false, unpack_lzma},
    Format{"bzip2", "BZh"sv, false, nullptr},
    Format{"lzo", "\x89LZO"sv, false, nullptr},
};

const Format* format_of(ByteSpan payload) {
    const std::string_view text{reinterpret_cast<const char*>(payload.data()), payload.size()};
    for (const Format& format : formats)
        if (text.starts_with(format.magic)) return &format;
    return nullptr;
}

}  // namespace

Result<Buffer> decompress(ByteSpan payload, std::size_t limit) {
    const Format* format = format_of(payload);
    if (format == nullptr) return Error{"payload compression is not known"};
    if (format->unpack == nullptr)
        return Error{fmt::format("payload compression is not supported ({})", format->name)};

    if (payload.size() < format->magic.size() + sizeof(std::uint32_t))
        return Error{fmt::format("payload is corrupt ({}: ends early)", format->name)};
    const std::size_t size_offset = payload.size() - sizeof(std::uint32_t);
    const auto size = load_at<std::uint32_t>(payload, size_offset);
    if (size > limit)
        return Error{fmt::format("payload is corrupt ({}: {} bytes claimed)", format->name, size)};

    auto unpacked = Buffer::allocate(size);
    if (!unpacked) return std::move(unpacked.error()).in("payload");
    const ByteSpan stream = format->size_is_trailer ? payload : payload.first(size_offset);
    const char* wrong = format->unpack(stream, {unpacked->data(), size});
    if (wrong != nullptr) return Error{fmt::format("payload is corrupt ({}: {})", format->name, wrong)};
    return unpacked;
}

}  // namespace undercroft::boot
