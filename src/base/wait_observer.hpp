// SPDX-License-Identifier: Apache-2.0
// WaitObserver: is told when a thread is about to wait for the host, for a disk for example, so that others
// can use its processor.

#pragma once

namespace undercroft {

class WaitObserver {
public:
    // Both on the thread that waits; any thread may.
    virtual void wait_begins() noexcept = 0;
    virtual void wait_ends() noexcept = 0;

protected:
    ~WaitObserver() = default;
};

}  // namespace undercroft
