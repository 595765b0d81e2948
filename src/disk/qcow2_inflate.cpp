// SPDX-License-Identifier: Apache-2.0
#include "disk/qcow2_inflate.hpp"

#include <zlib.h>
#include <zstd.h>

#include <memory>

namespace undercroft {
namespace {

// A raw deflate stream, without zlib's header.
bool inflate_zlib(std::span<const std::byte> packed, std::span<std::byte> to) {
    z_stream stream{};
    if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK) return false;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
    stream.avail_in = static_cast<uInt>(packed.size());
    stream.next_out = reinterpret_cast<Bytef*>(to.data());
    stream.avail_out = static_cast<uInt>(to.size());
    ::inflate(&stream, Z_FINISH);  // may say that there is more to come
    ::inflateEnd(&stream);
    return stream.avail_out == 0;
}

bool inflate_zstd(std::span<const std::byte> packed, std::span<std::byte> to) {
    std::unique_ptr<ZSTD_DCtx, decltype(&::ZSTD_freeDCtx)> context{::ZSTD_createDCtx(), &::ZSTD_freeDCtx};
    if (context == nullptr) return false;
    ZSTD_inBuffer in{packed.data(), packed.size(), 0};
    ZSTD_outBuffer out{to.data(), to.size(), 0};
    while (out.pos < out.size) {
        std::size_t before = in.pos + out.pos;
        if (::ZSTD_isError(::ZSTD_decompressStream(context.get(), &out, &in)) != 0) return false;
        if (in.pos + out.pos == before) return false;  // it ends too early
    }
    return true;
}

}  // namespace

bool qcow2_inflate(Qcow2Header::Compression compression, std::span<const std::byte> packed,
                   std::span<std::byte> to) {
    return compression == Qcow2Header::Compression::Zstd ? inflate_zstd(packed, to)
                                                         : inflate_zlib(packed, to);
}

}  // namespace undercroft
