// SPDX-License-Identifier: Apache-2.0
// Images: which files are open as images that are only read, by how many disks of this process, so that their
// machines can share what they read (memory/image_pages.hpp).
//
// A file is known by device and inode. As long as one disk has it open it keeps its number, and it cannot
// change: it is locked against writers of ours.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace undercroft {

struct Image {
    std::uint64_t number = 0;  // which no other image of the process ever gets
};

// Thread-safe.
class Images {
public:
    // Keep it as long as the file is open.
    std::shared_ptr<const Image> opened(dev_t device, ino_t inode) {
        std::lock_guard lock{mutex_};
        std::weak_ptr<const Image>& known = images_[{device, inode}];
        std::shared_ptr<const Image> image = known.lock();
        if (!image) known = image = std::make_shared<const Image>(Image{next_++});
        return image;
    }
    // Do others have it open, too?
    static bool is_shared(const std::shared_ptr<const Image>& image) { return image.use_count() > 1; }

private:
    std::mutex mutex_;
    std::map<std::pair<dev_t, ino_t>, std::weak_ptr<const Image>> images_;
    std::uint64_t next_ = 1;
};

}  // namespace undercroft
