// SPDX-License-Identifier: Apache-2.0
// A kernel file from anywhere: the bzImage wrapping, each decompressor, and the ELF inside.
#include "boot/bzimage.hpp"

#include "boot/decompress.hpp"
#include "boot/elf.hpp"
#include "input.hpp"

using namespace undercroft;

// What is unpacked here; the real limit is 512 MiB, which would only make each input slow.
constexpr std::size_t limit = std::size_t{1} << 20;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    boot::ByteSpan file{reinterpret_cast<const std::byte*>(data), size};
    auto image = boot::parse_bzimage(file);
    if (!image) {
        CHECK(!image.error().message.empty());
        return 0;
    }
    CHECK(!image->payload.empty());
    CHECK(image->payload.data() >= file.data());
    CHECK(image->payload.data() + image->payload.size() <= file.data() + file.size());
    auto unpacked = boot::decompress(image->payload, limit);
    if (!unpacked) {
        CHECK(!unpacked.error().message.empty());
        return 0;
    }
    CHECK(unpacked->size() <= limit);
    auto elf = boot::parse_elf(unpacked->span());
    CHECK(elf ? !elf->segments.empty() : !elf.error().message.empty());
    return 0;
}
