// SPDX-License-Identifier: Apache-2.0
#include "virtio/queue_server.hpp"

#include <algorithm>

namespace undercroft {

void QueueServer::start(std::span<Queue> queues, VirtioTransport& transport) {
    queues_ = queues;
    transport_ = &transport;
}

void QueueServer::reset() {
    queues_ = {};
    transport_ = nullptr;
    ++generation_;
    resetting_ = true;
    busy_.wait();
    resetting_ = false;
}

void QueueServer::break_down(const char* why) {
    transport_->needs_reset(why);
    queues_ = {};
}

bool QueueServer::fetch() {
    pass_.emplace(memory_.requests());
    {
        std::lock_guard lock{lock_};
        count_ = 0;
        for (unsigned n = 0; n < queues_.size(); ++n) fetch_from(n);
        generation_at_hand_ = generation_;
        if (count_ > 0) busy_.set(true);
    }
    if (count_ == 0) pass_.reset();
    return count_ > 0;
}

void QueueServer::fetch_from(unsigned number) {
    Queue& queue = queues_[number];
    std::size_t part = std::max<std::size_t>(requests_.size() / queues_.size(), 1);
    std::size_t end = std::min(count_ + part, requests_.size());
    while (count_ < end) {
        Request& request = requests_[count_];
        Queue::Pop popped = queue.pop(request.chain);
        if (popped == Queue::Pop::Chain) {
            request.queue = number;
            request.written = 0;
            ++count_;
            continue;
        }
        if (popped == Queue::Pop::Empty && (count_ > 0 || queue.ask_for_notification())) return;
        if (queue.fault() == nullptr) continue;
        count_ = 0;
        return break_down(queue.fault());
    }
}

void QueueServer::give_back(std::size_t done) {
    std::size_t put_off = count_ - done;
    count_ = done;
    for (const Request& request : at_hand()) {
        if (request.written > 0) request.chain.tell_written(memory_);
    }
    busy_.set(false);
    if (!pass_) pass_.emplace(memory_.requests());
    {
        std::lock_guard lock{lock_};
        // Otherwise the driver has given up on them.
        if (generation_at_hand_ == generation_) {
            if (put_off > 0 && !queues_.empty()) queues_.front().put_off(put_off);
            push_all();
        }
    }
    pass_.reset();
}

void QueueServer::push_all() {
    bool interrupt = false;
    for (std::size_t n = 0; n < count_ && !queues_.empty(); ++n) {
        const Request& request = requests_[n];
        Queue& queue = queues_[request.queue];
        if (request.fault != nullptr) return break_down(request.fault);
        if (!queue.push(request.chain, request.written)) return break_down(queue.fault());
        bool last_of_queue = n + 1 == count_ || requests_[n + 1].queue != request.queue;
        if (last_of_queue && queue.wants_interrupt()) interrupt = true;
    }
    if (interrupt) transport_->used_buffers();
}

}  // namespace undercroft
