// SPDX-License-Identifier: Apache-2.0
#include "virtio/block.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

namespace undercroft {
namespace {

// struct virtio_blk_config, up to what our features make valid.
struct Config {
    std::uint64_t capacity = 0;  // in sectors of 512 bytes, whatever blk_size
    std::uint32_t size_max = 0;
    std::uint32_t seg_max = 0;
    std::uint32_t geometry = 0;
    std::uint32_t blk_size = Disk::sector_size;
    std::uint8_t physical_block_exp = 0;  // 2^so many sectors
    std::uint8_t alignment_offset = 0;    // this and the next two: in sectors
    std::uint16_t min_io_size = 0;
    std::uint32_t opt_io_size = 0;
    std::uint8_t writeback = 0;
    std::uint8_t unused0 = 0;
    std::uint16_t num_queues = 1;
    std::uint32_t max_discard_sectors = BlockContext::most_discard_sectors;
    std::uint32_t max_discard_seg = 1;
    std::uint32_t discard_sector_alignment = 1;
    std::uint32_t max_write_zeroes_sectors = BlockContext::most_zero_sectors;
    std::uint32_t max_write_zeroes_seg = 1;
    std::uint8_t write_zeroes_may_unmap = 1;
    std::array<std::uint8_t, 3> unused1{};
};
static_assert(sizeof(Config) == 64 && offsetof(Config, max_discard_sectors) == 36,
              "virtio 1.2 section 5.2.4");

// What is too large for its field is not said.
template <class Field>
void set_sectors(Field& field, std::uint32_t bytes) {
    std::uint32_t sectors = bytes / Disk::sector_size;
    if (sectors <= std::numeric_limits<Field>::max()) field = static_cast<Field>(sectors);
}

constexpr std::uint32_t most_segments = Queue::most_entries - 2;  // and a header, and a status

}  // namespace

VirtioBlock::VirtioBlock(Disk& disk, const DmaMemory& memory, std::mutex& lock, std::string serial,
                         unsigned processors)
    : memory_{memory},
      queues_{std::min(processors, most_queues)},
      context_{.disk = disk, .memory = memory, .serial = std::move(serial)},
      server_{memory, lock} {}

std::uint64_t VirtioBlock::features() const {
    std::uint64_t always = Feature::SegMax | Feature::BlockSize | Feature::Flush | Feature::Topology;
    if (queues_ > 1) always |= Feature::MultiQueue;
    return always |
           (context_.disk.is_read_only() ? Feature::ReadOnly : Feature::Discard | Feature::WriteZeroes);
}

std::uint8_t VirtioBlock::config(std::uint64_t offset) const {
    Config config;
    config.capacity = context_.disk.size() / Disk::sector_size;
    config.seg_max = most_segments;
    Disk::Topology topology = context_.disk.topology();
    config.physical_block_exp =
        static_cast<std::uint8_t>(std::countr_zero(topology.physical_block_size / Disk::sector_size));
    set_sectors(config.alignment_offset, topology.alignment_offset);
    set_sectors(config.min_io_size, topology.minimum_io_size);
    set_sectors(config.opt_io_size, topology.optimal_io_size);
    config.num_queues = static_cast<std::uint16_t>(queues_);
    return config_byte(config, offset);
}

void VirtioBlock::start(std::uint64_t agreed_features, std::span<Queue> queues, VirtioTransport& transport) {
    context_.write_through = (agreed_features & Feature::Flush) == 0;
    for (Queue& queue : queues) queue.want_ranges();
    server_.start(queues, transport);
    context_.disk.set_patient(true);
}

void VirtioBlock::reset() {
    context_.disk.set_patient(false);
    server_.reset();
}

// Of a read that was done. (Its status is no whole page.)
void VirtioBlock::tell_origin(const Chain& chain) const {
    for (const Chain::Range& range : chain.writable_ranges)
        memory_.came_from_disk(range.address, range.length);
}

void VirtioBlock::serve() {
    while (server_.fetch()) {
        auto requests = server_.at_hand();
        if (requests.size() > 1)
            for (const QueueServer::Request& request : requests)
                announce_block_request(context_, request.chain);
        for (QueueServer::Request& request : requests) request.fault = serve(request);
        server_.give_back();
    }
}

const char* VirtioBlock::serve(QueueServer::Request& request) {
    if (request.chain.length > UINT32_MAX) return "a request of more than 4 GiB";
    for (const Chain::Range& range : request.chain.writable_ranges)
        if (!memory_.guest().is_ram(range.address, range.length))
            return "a descriptor's bytes are not in memory";
    request.written = serve_block_request(context_, request.chain);
    if (request.written >= 4096) tell_origin(request.chain);
    return request.written != 0 ? nullptr : "a block request without header or status";
}

}  // namespace undercroft
