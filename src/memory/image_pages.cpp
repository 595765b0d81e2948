// SPDX-License-Identifier: Apache-2.0
#include "memory/image_pages.hpp"

#include "memory/frame_pool.hpp"

namespace undercroft {

std::optional<MachineFrame> ImagePages::find(const ImagePage& page) {
    std::lock_guard lock{mutex_};
    auto found = frames_.find(page);
    if (found == frames_.end()) return std::nullopt;
    pool_.join(found->second);
    return found->second;
}

MachineFrame ImagePages::add(const ImagePage& page, MachineFrame frame) {
    std::lock_guard lock{mutex_};
    auto [place, is_new] = frames_.try_emplace(page, frame);
    if (is_new)
        pool_.begin_to_share(frame);
    else
        pool_.give_back(frame);
    pool_.join(place->second);
    return place->second;
}

void ImagePages::drop_unused() {
    std::lock_guard lock{mutex_};
    std::erase_if(frames_, [this](const auto& entry) { return pool_.leave_if_alone(entry.second); });
}

std::size_t ImagePages::count() const {
    std::lock_guard lock{mutex_};
    return frames_.size();
}

}  // namespace undercroft
