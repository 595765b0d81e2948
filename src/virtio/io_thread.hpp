// SPDX-License-Identifier: Apache-2.0
// IoThread: a thread that does a device's work when it is asked to, so that no vCPU waits for the host.
// Before it sleeps it looks for a while whether it is asked again.

#pragma once

#include "base/log.hpp"
#include "base/polling.hpp"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string_view>
#include <thread>

namespace undercroft {

class IoThread {
public:
    // Calls `work` after one or more ask(), and again if it was asked meanwhile. The thread's log lines name
    // whom the caller's do.
    explicit IoThread(std::function<void()> work);
    IoThread(const IoThread&) = delete;
    IoThread& operator=(const IoThread&) = delete;
    ~IoThread();  // after the work at hand

    void ask();  // any thread

private:
    void run();

    std::function<void()> work_;
    std::string_view log_subject_ = LogSubject::current();
    Polling polling_;   // of the thread
    std::mutex mutex_;  // written with it are the two below; nothing else is taken with it
    std::condition_variable asked_changed_;
    std::atomic<bool> asked_ = false;
    std::atomic<bool> ending_ = false;
    std::thread thread_;
};

}  // namespace undercroft
