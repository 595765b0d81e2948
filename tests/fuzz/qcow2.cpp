// SPDX-License-Identifier: Apache-2.0
// A qcow2 image from anywhere, opened, read and written: whatever its tables say, only its own bytes and the
// caller's buffers are touched (AddressSanitizer watches), and every request ends.
//
// Input: requests (a byte for the kind, two for the place, one for the length) up to a zero byte; then the
// file's first bytes. The file is as large as an image of a few clusters.
#include "base/log.hpp"
#include "disk/memory_storage.hpp"
#include "disk/qcow2_disk.hpp"
#include "input.hpp"

#include <memory>
#include <vector>

using namespace undercroft;

namespace {

constexpr std::uint64_t most_bytes = 1 << 20;  // that the file may grow to

struct Request {
    std::uint8_t kind;
    std::uint16_t sector;
    std::uint8_t sectors;
};

std::vector<Request> requests(fuzz::Input& input) {
    std::vector<Request> all;
    while (auto kind = input.take<std::uint8_t>()) {
        auto sector = input.take<std::uint16_t>();
        all.push_back({kind, sector, input.take<std::uint8_t>()});
    }
    return all;
}

void serve(Disk& disk, const Request& request) {
    std::uint64_t sectors = disk.size() / Disk::sector_size;
    std::uint64_t begin = request.sector % sectors;
    std::uint64_t count = std::min<std::uint64_t>(sectors - begin, 1 + request.sectors);
    std::vector<std::byte> bytes(count * Disk::sector_size, std::byte{0xa5});
    iovec buffer{bytes.data(), bytes.size()};
    std::uint64_t offset = begin * Disk::sector_size;
    switch (request.kind % 6) {
        case 0: (void)disk.read(offset, {&buffer, 1}); break;
        case 1: (void)disk.flush(); break;
        case 2: (void)disk.discard(offset, bytes.size()); break;
        case 3: (void)disk.write_zeroes(offset, bytes.size(), request.sectors % 2 == 0); break;
        default:
            if (disk.write(offset, {&buffer, 1}) != DiskStatus::Ok) break;
            std::vector<std::byte> again(bytes.size());
            buffer = {again.data(), again.size()};
            // Tables of a damaged image may lie in each other's clusters: then anything can be read.
            (void)disk.read(offset, {&buffer, 1});
    }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    set_log_level(LogLevel::Error);
    fuzz::Input input{data, size};
    std::vector<Request> todo = requests(input);
    auto header = Qcow2Header::parse(input.rest());
    if (!header) {
        CHECK(!header.error().message.empty());
        return 0;
    }
    auto storage = std::make_unique<test::MemoryStorage>();
    storage->limit = most_bytes;
    (void)storage->write_bytes(0, input.rest());
    (void)storage->write_bytes(std::max<std::uint64_t>(input.rest().size(), 64 << 10),
                               std::vector<std::byte>(512));
    auto disk = Qcow2Disk::open(std::move(storage), *std::move(header), DiskAccess::ReadWrite, nullptr);
    if (!disk) return 0;
    for (const Request& request : todo) serve(**disk, request);
    return 0;
}
