// SPDX-License-Identifier: Apache-2.0
#include "virtio/image_read.hpp"

#include "base/check.hpp"
#include "memory/image_pages.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

namespace undercroft {
namespace {

static_assert(Disk::origin_size == page_size);

class ImageRead {
public:
    ImageRead(Disk& disk, const DmaMemory& memory, std::uint64_t offset, Buffers& room)
        : disk_{disk},
          memory_{memory},
          pool_{memory.guest().pool()},
          sharing_{pool_.images().is_enabled()},
          offset_{offset},
          run_{room} {}
    ~ImageRead() {
        while (unused_.count > 0) pool_.give_back(unused_.frames[--unused_.count]);
    }
    ImageRead(const ImageRead&) = delete;
    ImageRead& operator=(const ImageRead&) = delete;

    DiskStatus read(const Chain::Range& range) {
        GuestPhysical address = range.address;
        for (std::uint64_t left = range.length; left > 0;) {
            std::uint64_t now = std::min(left, page_size - address.page_offset());
            if (auto page = image_page(address, now); !page || !share(*page, address.page()))
                add(address, now);
            if (status_ != DiskStatus::Ok) return status_;
            address = address + now;
            offset_ += now;
            left -= now;
        }
        return status_;
    }

    // What is still to be read.
    DiskStatus finish() {
        if (run_.empty()) return status_;
        status_ = disk_.read(run_offset_, run_.pieces());
        for (const Filled& filled : filled_) settle(filled);
        run_.clear();
        filled_.clear();
        return status_;
    }

private:
    struct Filled {
        ImagePage page;
        std::uint64_t pfn;
        MachineFrame frame;
    };

    std::optional<ImagePage> image_page(GuestPhysical address, std::uint64_t length) {
        if (!sharing_ || length != page_size || offset_ % page_size != 0 ||
            !memory_.guest().may_show(address.page()))
            return std::nullopt;
        auto origin = disk_.origin(offset_);
        if (!origin) return std::nullopt;
        return ImagePage{origin->image, origin->page};
    }

    bool share(const ImagePage& page, std::uint64_t pfn) {
        std::optional<MachineFrame> frame = pool_.images().find(page);
        if (!frame) {
            fill(page, pfn);
            return true;
        }
        if (!memory_.guest().show(pfn, *frame)) {
            pool_.leave(*frame);
            return false;
        }
        static_cast<void>(finish());  // what comes next is not behind what came before
        return true;
    }

    void fill(const ImagePage& page, std::uint64_t pfn) {
        if (unused_.count == 0) pool_.take(unused_);
        MachineFrame frame = unused_.frames[--unused_.count];
        filled_.push_back({page, pfn, frame});
        begin();
        run_.add(pool_.host(frame), page_size);
    }

    void add(GuestPhysical address, std::uint64_t length) {
        begin();
        CHECK(memory_.find(address, length, Access::Write, run_), "RAM");
    }

    void begin() {
        if (run_.empty()) run_offset_ = offset_;
    }

    // The guest may have written the page meanwhile, and so given it a frame.
    void settle(const Filled& filled) {
        if (status_ != DiskStatus::Ok) return pool_.give_back(filled.frame);
        MachineFrame frame = pool_.images().add(filled.page, filled.frame);
        if (memory_.guest().show(filled.pfn, frame)) return;
        std::memcpy(memory_.guest().writable(GuestPhysical{filled.pfn << 12}), pool_.host(frame), page_size);
        pool_.leave(frame);
    }

    Disk& disk_;
    const DmaMemory& memory_;
    FramePool& pool_;
    bool sharing_;          // images' pages
    std::uint64_t offset_;  // on the disk, of what comes next
    FrameBatch unused_;
    // Neighbours on the disk, to be read at once.
    Buffers& run_;
    std::uint64_t run_offset_ = 0;
    std::vector<Filled> filled_;  // frames among them
    DiskStatus status_ = DiskStatus::Ok;
};

}  // namespace

DiskStatus read_sharing_pages(Disk& disk, const DmaMemory& memory, std::uint64_t offset,
                              std::span<const Chain::Range> ranges, Buffers& room) {
    ImageRead image_read{disk, memory, offset, room};
    for (const Chain::Range& range : ranges) {
        if (auto status = image_read.read(range); status != DiskStatus::Ok) return status;
    }
    return image_read.finish();
}

}  // namespace undercroft
