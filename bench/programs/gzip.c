// SPDX-License-Identifier: Apache-2.0
// gzip's work: zlib's deflate, level 6, of 32 KiB of text.
// Links: -lz

#include <zlib.h>

#include "text.h"

enum { bytes = 32 << 10 };

static char text[bytes];
static uint8_t packed[bytes];

static uint64_t compress_all(void) {
    uLongf size = sizeof packed;
    if (compress2(packed, &size, (const Bytef*)text, bytes, 6) != Z_OK) exit(1);
    return size << 32 | crc32(0, packed, (uInt)size);
}

int main(void) {
    write_text(text, bytes);
    bench("gzip", "MB/s", bytes, compress_all);
}
