// SPDX-License-Identifier: Apache-2.0
// QueueServer: how a device serves queues on a thread of its own, so that no vCPU waits for the host.
//
// The driver's notification asks for the thread (IoThread), which calls serve(). That passes the gate of
// guest memory, takes requests off the queues under the lock of the machine's devices, has them handled
// without it, and gives them back under it, with an interrupt if the driver wants one; until there are no
// more. When the driver breaks a queue, the transport says so, and nothing is served before it resets the
// device. A reset waits until the requests at hand are done, since the driver may use their memory for other
// things then.
//
// A device passes start(), notify() and reset() on to its server, and has a serve() for its thread:
//
//     void serve() {
//         server_.serve([this](QueueServer::Request& request) -> const char* {
//             request.written = answer(request.chain.readable, request.chain.writable);
//             return nullptr;  // or why the request breaks the device
//         });
//     }

#pragma once

#include "virtio/busy_gate.hpp"
#include "virtio/device.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace undercroft {

class QueueServer {
public:
    struct Request {
        unsigned queue = 0;  // its number among those of start()
        Chain chain;
        std::uint32_t written = 0;    // bytes of its writable part: for whoever handles it to say
        const char* fault = nullptr;  // why it breaks the device, or null
    };

    // `lock` is that of the machine's devices; both outlive the server. At most so many requests are at hand
    // at once.
    QueueServer(const DmaMemory& memory, std::mutex& lock, std::size_t most_at_once = 16)
        : memory_{memory}, lock_{lock}, requests_(most_at_once) {}

    // Who makes a thread serve. Before the guest runs.
    void on_work(std::function<void()> ask) { ask_ = std::move(ask); }

    // Under the lock, as VirtioDevice. What start() gets may be some of the device's queues.
    void start(std::span<Queue> queues, VirtioTransport& transport);
    void notify() { ask_(); }
    void reset();

    // The thread's, without the lock, like all that follows. Serves all requests that there are; of those
    // that are at hand at once each queue has its part, the first queues' first. `handle` takes a Request&
    // and returns its fault.
    template <class Handle>
    void serve(Handle handle) {
        while (fetch()) {
            for (Request& request : at_hand()) request.fault = handle(request);
            give_back();
        }
    }

    // The same in steps, for who has to know when he has seen all that were there: takes requests, which then
    // are at hand; gives them back. False: there is none, and the driver will notify us of the next.
    bool fetch();
    std::span<Request> at_hand() { return std::span{requests_}.first(count_); }
    void give_back() { give_back(count_); }
    // The first `done` of them; the others come again with the next fetch(). Of a server of one queue.
    void give_back(std::size_t done);

    // From here to the end of the requests at hand, guest memory is not used, and may be taken away: for
    // handlers that wait for others, of a server that has one request at hand at most.
    void leave_memory() { pass_.reset(); }
    // The driver waits in a reset: what is at hand does not matter any more.
    bool is_resetting() const { return resetting_; }

private:
    void fetch_from(unsigned queue);
    void push_all();  // under the lock
    void break_down(const char* why);

    const DmaMemory& memory_;
    std::mutex& lock_;
    std::function<void()> ask_ = [] {};

    // Under `lock_`.
    std::span<Queue> queues_;  // none unless it runs
    VirtioTransport* transport_ = nullptr;
    std::uint64_t generation_ = 0;  // how often it was reset

    // Of the thread.
    std::vector<Request> requests_;
    std::size_t count_ = 0;
    std::uint64_t generation_at_hand_ = 0;
    std::optional<RequestGate::Pass> pass_;  // while guest memory is used

    BusyGate busy_;  // while requests are at hand
    std::atomic<bool> resetting_{false};
};

}  // namespace undercroft
