// SPDX-License-Identifier: Apache-2.0
// SwapFile: where pages wait that have no frame because the pool has no room for them. Slots of 4 KiB in a
// file without a name, which grows as they are needed.

#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/spin_lock.hpp"
#include "base/wait_observer.hpp"
#include "memory/reservation.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace undercroft {

class SwapFile {
public:
    // In a folder. At most `most` slots are used at a time. Errors: "'folder': reason".
    static Result<std::unique_ptr<SwapFile>> create(const std::string& folder,
                                                    std::uint64_t most = most_slots);
    static constexpr std::uint64_t most_slots = std::uint64_t{1} << 26;

    // Into a free slot. None: there is no room, or the host cannot write; failure() says why.
    std::optional<std::uint32_t> write(const std::byte* page);
    int failure() const noexcept { return failure_; }  // errno of the last write(); by the thread that writes

    // In helpers of translated code, too. What was written can be read: if the host cannot, this waits until
    // it can, and says so once. A page that the host has in no cache takes milliseconds; the observer is told
    // before and after.
    void read(std::uint32_t slot, std::byte* page) noexcept;
    // As read(), of a page that the host does not have in its cache.
    void read_slowly(std::uint32_t slot, std::byte* page) noexcept;
    // Before machines use it. It outlives their reading.
    void tell_of_waits(WaitObserver& observer) noexcept { observer_ = &observer; }
    void release(std::uint32_t slot) noexcept;

    std::uint64_t in_use() const noexcept;

private:
    SwapFile(Fd file, Reservation links, std::uint64_t most);

    void wait_for(std::uint32_t slot, std::byte* page) noexcept;

    Fd file_;
    WaitObserver* observer_ = nullptr;
    std::uint64_t most_;
    Reservation links_;  // a word per free slot: the next one; slots count from 1
    mutable SpinLock lock_;
    std::uint32_t free_ = 0;
    std::uint32_t fresh_ = 1;
    std::uint64_t in_use_ = 0;
    int failure_ = 0;
};

}  // namespace undercroft
