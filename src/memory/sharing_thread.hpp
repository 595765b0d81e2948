// SPDX-License-Identifier: Apache-2.0
// SharingThread: looks for pages to share at its leisure, while machines run.
//
// As fast as a few per cent of a processor allow while machines take frames or that gives some back, and
// slower while not.

#pragma once

#include "memory/page_sharing.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace undercroft {

class SharingThread {
public:
    SharingThread(PageSharing& sharing, std::shared_ptr<FramePool> pool);
    SharingThread(const SharingThread&) = delete;
    SharingThread& operator=(const SharingThread&) = delete;
    ~SharingThread();

    std::chrono::nanoseconds processor_time() const;  // that it has used

private:
    void run();
    bool wait(std::chrono::nanoseconds time);  // false: it is to end

    PageSharing& sharing_;
    std::shared_ptr<FramePool> pool_;
    mutable std::mutex mutex_;
    std::condition_variable ending_changed_;
    bool ending_ = false;  // under the lock, like the next
    std::chrono::nanoseconds processor_time_{};
    std::thread thread_;
};

}  // namespace undercroft
