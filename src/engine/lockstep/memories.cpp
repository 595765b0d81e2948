// SPDX-License-Identifier: Apache-2.0
#include "engine/lockstep/memories.hpp"

#include "x86/paging.hpp"

#include <algorithm>
#include <cstring>

namespace undercroft::lockstep {
namespace {

// An announced write is of at most this size, or it is a string instruction's, whose page is compared later.
constexpr std::uint64_t longest_write = 64;

}  // namespace

bool Memories::FollowerObserver::grants_write(GuestPhysical address) noexcept {
    owner_.written_.add(address.page());
    owner_.recent_.push_back({address, owner_.writer_});
    return false;
}

void Memories::FollowerObserver::wrote(GuestPhysical address, std::uint64_t length) noexcept {
    for (std::uint64_t done = 0; done < length; done += longest_write) grants_write(address + done);
}

Memories::Memories(Mmu& leader, Mmu& follower, Recorder& recorder)
    : leader_{leader},
      follower_{follower},
      leader_observer_{*this, recorder},
      follower_observer_{*this},
      written_{leader.memory().page_limit()} {
    leader_.code_pages().set_write_observer(&leader_observer_);
    follower_.code_pages().set_write_observer(&follower_observer_);
    leader_.forget_granted_writes();
}

Memories::~Memories() {
    leader_.code_pages().set_write_observer(nullptr);
    follower_.code_pages().set_write_observer(nullptr);
}

std::optional<MemoryDifference> Memories::compare(GuestPhysical start, std::uint64_t length) const {
    const std::byte* ours = leader_.memory().readable(start);
    const std::byte* theirs = follower_.memory().readable(start);
    if (std::memcmp(ours, theirs, length) == 0) return std::nullopt;
    std::uint64_t offset = 0;
    while (ours[offset] == theirs[offset]) offset++;
    return MemoryDifference{start + offset};
}

std::optional<MemoryDifference> Memories::compare_recent() {
    for (const RecentWrite& write : recent_) {
        std::uint64_t length = std::min(longest_write, page_size - write.address.page_offset());
        if (auto difference = compare(write.address, length)) {
            difference->rip = write.rip;
            return difference;
        }
    }
    recent_.clear();
    return std::nullopt;
}

std::optional<MemoryDifference> Memories::compare_written() {
    for (std::uint64_t n = 0; n < written_.size(); n++) {
        if (auto difference = compare(GuestPhysical{written_[n] << 12}, page_size)) return difference;
    }
    written_.clear();
    leader_.forget_granted_writes();
    return std::nullopt;
}

std::optional<MemoryDifference> Memories::compare_all() {
    for (const GuestMemory* memory : {&leader_.memory(), &follower_.memory()}) {
        for (std::uint64_t pfn : memory->pages_with_frames()) {
            if (auto difference = compare(GuestPhysical{pfn << 12}, page_size)) return difference;
        }
    }
    return std::nullopt;
}

}  // namespace undercroft::lockstep
