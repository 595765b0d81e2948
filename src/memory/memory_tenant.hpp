// SPDX-License-Identifier: Apache-2.0
// MemoryTenant: what those who take frames away need of a machine.

#pragma once

#include "memory/guest_memory.hpp"

#include <chrono>

namespace undercroft {

class MemoryTenant {
public:
    virtual GuestMemory& guest_memory() noexcept = 0;

    // Until release(), no vCPU executes and no device serves a request, so nobody uses an address that
    // readable() or writable() gave, and none is kept any more: TLBs are empty. False: not now.
    [[nodiscard]] virtual bool hold() = 0;
    virtual void release() = 0;

    // Asks its guest to do without so many pages, in place of what it was asked for by this before. False: it
    // has no balloon, or no driver for it. Any thread; not while it is held.
    virtual bool ask_to_do_without(std::uint64_t pages) = 0;

    // How long its vCPUs have run. Tells who is idle.
    virtual std::chrono::nanoseconds ran() const = 0;

protected:
    ~MemoryTenant() = default;
};

}  // namespace undercroft
