// SPDX-License-Identifier: Apache-2.0
// RequestGate: between devices that serve requests, and keep addresses of frames meanwhile, and whoever takes
// frames away. (No std::shared_mutex: it may be opened by another thread than the one that closed it.)

#pragma once

#include <condition_variable>
#include <mutex>

namespace undercroft {

class RequestGate {
public:
    // A device's thread: waits while the gate is closed; it stays open while the Pass lives.
    class Pass {
    public:
        explicit Pass(RequestGate& gate) : gate_{gate} {
            std::unique_lock lock{gate_.mutex_};
            gate_.opened_.wait(lock, [this] { return !gate_.closed_; });
            ++gate_.passing_;
        }
        Pass(const Pass&) = delete;
        Pass& operator=(const Pass&) = delete;
        ~Pass() {
            std::lock_guard lock{gate_.mutex_};
            --gate_.passing_;
        }

    private:
        RequestGate& gate_;
    };

    // False: a request is being served, or it is closed already.
    [[nodiscard]] bool try_close() {
        std::lock_guard lock{mutex_};
        if (passing_ > 0 || closed_) return false;
        closed_ = true;
        return true;
    }
    void open() {
        {
            std::lock_guard lock{mutex_};
            closed_ = false;
        }
        opened_.notify_all();
    }

private:
    std::mutex mutex_;  // innermost
    std::condition_variable opened_;
    unsigned passing_ = 0;
    bool closed_ = false;
};

}  // namespace undercroft
