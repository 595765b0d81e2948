// SPDX-License-Identifier: Apache-2.0
#include "virtio/net_receiver.hpp"

#include "net/checksum.hpp"

#include <algorithm>
#include <utility>

namespace undercroft {

void NetReceiver::start(Queue& queue, const NetAgreement& agreed, VirtioTransport& transport) {
    std::lock_guard guard{mutex_};
    queue_ = &queue;
    agreed_ = agreed;
    transport_ = &transport;
}

// Waits for a frame that is being written, and for no other thread of a machine's.
void NetReceiver::reset() {
    std::lock_guard guard{mutex_};
    queue_ = nullptr;
    transport_ = nullptr;
    fault_ = nullptr;
    waiting_.clear();
    waiting_bytes_ = 0;
}

void NetReceiver::receive(const Frame& frame) {
    RequestGate::Pass pass{memory_.requests()};
    std::lock_guard guard{mutex_};
    if (queue_ == nullptr) return;
    Frame whole = finished(frame);
    if (!deliver_waiting() || !deliver(whole)) keep(whole);
}

void NetReceiver::received() {
    if (!untold_) return;
    RequestGate::Pass pass{memory_.requests()};
    std::unique_lock lock{lock_, std::try_to_lock};
    if (!lock) return ask_();
    tell();
}

void NetReceiver::take_waiting() {
    RequestGate::Pass pass{memory_.requests()};
    std::lock_guard guard{mutex_};
    if (queue_ != nullptr) deliver_waiting();
}

void NetReceiver::settle() {
    if (!untold_) return;
    RequestGate::Pass pass{memory_.requests()};
    std::lock_guard lock{lock_};
    tell();
}

void NetReceiver::tell() {
    std::lock_guard guard{mutex_};
    untold_ = false;
    if (transport_ == nullptr) return;
    if (fault_ != nullptr) return transport_->needs_reset(std::exchange(fault_, nullptr));
    if (queue_ != nullptr && queue_->wants_interrupt()) transport_->used_buffers();
}

// What the driver does not do itself is done here.
Frame NetReceiver::finished(const Frame& frame) {
    Frame whole = frame;
    if (agreed_.checksum) return whole;
    if ((frame.offload.flags & OffloadHeader::NeedsChecksum) != 0) {
        scratch_.resize(frame.size);
        frame.copy_front(scratch_);
        complete_checksum(scratch_, whole.offload);
        scratch_piece_ = {scratch_.data(), scratch_.size()};
        whole.pieces = {&scratch_piece_, 1};
    }
    whole.offload.flags = 0;
    return whole;
}

bool NetReceiver::deliver_waiting() {
    while (!waiting_.empty()) {
        Waiting& first = waiting_.front();
        iovec piece{first.bytes.data(), first.bytes.size()};
        if (!deliver({.offload = first.offload, .pieces = {&piece, 1}, .size = first.bytes.size()}))
            return false;
        if (waiting_.empty()) return true;  // a broken queue
        waiting_bytes_ -= first.bytes.size();
        waiting_.pop_front();
    }
    return true;
}

void NetReceiver::keep(const Frame& frame) {
    if (queue_ == nullptr || waiting_bytes_ + frame.size > most_waiting_bytes) return;
    Waiting& last = waiting_.emplace_back();
    last.offload = frame.offload;
    last.bytes.resize(frame.size);
    frame.copy_front(last.bytes);
    waiting_bytes_ += frame.size;
}

bool NetReceiver::break_down(const char* why) {
    fault_ = why;
    untold_ = true;
    queue_ = nullptr;
    waiting_.clear();
    waiting_bytes_ = 0;
    return true;  // there is no use in waiting
}

bool NetReceiver::deliver(const Frame& frame) {
    if (queue_ == nullptr) return true;
    std::size_t size = sizeof(OffloadHeader) + frame.size;
    if (!take_room(size)) return false;
    if (queue_ == nullptr) return true;
    std::uint64_t room = 0;
    for (std::size_t n = 0; n < count_; ++n) room += chains_[n].writable.size();
    if (room < size) {  // the one buffer is too small, and the driver wants no more than one
        queue_->put_off(count_);
        return true;
    }
    return fill(frame);
}

// Takes as many buffers as that needs, or none.
bool NetReceiver::take_room(std::size_t bytes) {
    count_ = 0;
    for (std::uint64_t room = 0; room < bytes;) {
        if (count_ == chains_.size()) chains_.emplace_back();
        Chain& chain = chains_[count_];
        Queue::Pop popped = queue_->pop(chain);
        if (popped == Queue::Pop::Chain) {
            ++count_;
            if (chain.writable.size() < sizeof(OffloadHeader))
                break_down("a receive buffer has no room for a header");
            if (queue_ == nullptr || !agreed_.merge) return true;
            room += chain.writable.size();
            continue;
        }
        // The driver notifies us when there are more than these.
        if (popped == Queue::Pop::Empty && queue_->ask_for_notification()) {
            queue_->put_off(count_);
            return false;
        }
        if (queue_->fault() != nullptr) return break_down(queue_->fault());
    }
    return true;
}

bool NetReceiver::fill(const Frame& frame) {
    OffloadHeader header = frame.offload;
    header.num_buffers = static_cast<std::uint16_t>(count_);
    std::size_t next = 0;
    std::uint32_t written = 0;
    auto put = [&] { return queue_->put(chains_[next], std::exchange(written, 0)); };
    bool good = true;
    auto append = [&](std::span<const std::byte> bytes) {
        while (good && !bytes.empty()) {
            std::size_t now = chains_[next].writable.fill_front(bytes);
            bytes = bytes.subspan(now);
            written += static_cast<std::uint32_t>(now);
            if (chains_[next].writable.empty() && next + 1 < count_) {
                good = put();
                ++next;
            }
        }
    };
    append(std::as_bytes(std::span{&header, 1}));
    for (const iovec& piece : frame.pieces)
        append({static_cast<const std::byte*>(piece.iov_base), piece.iov_len});
    for (std::size_t n = 0; n < count_; ++n) chains_[n].tell_written(memory_);
    if (!good || !put() || !queue_->publish()) return break_down(queue_->fault());
    untold_ = true;
    return true;
}

}  // namespace undercroft
