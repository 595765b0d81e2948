// SPDX-License-Identifier: Apache-2.0
// BusyGate: a device's thread is at work on guest memory, and whoever resets the device waits until it is
// not. Taken after the lock of the machine's devices.

#pragma once

#include <condition_variable>
#include <mutex>

namespace undercroft {

class BusyGate {
public:
    void set(bool busy) {
        {
            std::lock_guard lock{mutex_};
            busy_ = busy;
        }
        if (!busy) no_longer_busy_.notify_all();
    }
    void wait() {
        std::unique_lock lock{mutex_};
        no_longer_busy_.wait(lock, [this] { return !busy_; });
    }

private:
    std::mutex mutex_;
    std::condition_variable no_longer_busy_;
    bool busy_ = false;
};

}  // namespace undercroft
