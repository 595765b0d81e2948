// SPDX-License-Identifier: Apache-2.0
#include "virtio/queue.hpp"

#include <limits>

namespace undercroft {

void Chain::clear(std::uint16_t new_head) {
    head = new_head;
    readable.clear();
    writable.clear();
    writable_ranges.clear();
    length = 0;
}

void Chain::tell_written(const DmaMemory& memory) const {
    for (const Range& range : writable_ranges) memory.wrote(range.address, range.length);
}

bool Queue::available(std::uint16_t& index) {
    if (memory_.load(state_.driver + 2, index)) return true;
    fault_ = "its available ring is not in memory";
    return false;
}

Queue::Pop Queue::pop(Chain& chain) {
    if (fault_ != nullptr) return Pop::Broken;
    if (!state_.ready) return Pop::Empty;
    std::uint16_t index = 0;
    if (!available(index)) return Pop::Broken;
    auto waiting = static_cast<std::uint16_t>(index - state_.next_available);
    if (waiting == 0) return Pop::Empty;
    if (waiting > state_.size) return broken("more requests are available than it has entries");
    std::uint16_t head = 0;
    std::uint64_t entry = state_.next_available % state_.size;
    if (!memory_.load(state_.driver + ring_entries + 2 * entry, head))
        return broken("its available ring is not in memory");
    ++state_.next_available;
    chain.clear(head);
    return follow(chain);
}

Queue::Pop Queue::follow(Chain& chain) {
    Table table{state_.descriptors, state_.size, false};
    std::uint32_t index = chain.head;
    for (std::uint32_t seen = 0;; ++seen) {
        if (index >= table.size) return broken("a descriptor's number is beyond the table");
        if (seen == table.size) return broken("descriptors form a loop");
        Descriptor descriptor{};
        if (!memory_.read(table.address + std::uint64_t{index} * sizeof descriptor,
                          std::as_writable_bytes(std::span{&descriptor, 1})))
            return broken("a descriptor table is not in memory");
        if ((descriptor.flags & DescriptorFlag::Indirect) != 0) {
            if (const char* why = enter_indirect(descriptor, table)) return broken(why);
            index = 0;
            seen = std::numeric_limits<std::uint32_t>::max();  // counted from zero again
            continue;
        }
        if (const char* why = add(descriptor, chain)) return broken(why);
        if ((descriptor.flags & DescriptorFlag::Next) == 0) return Pop::Chain;
        index = descriptor.next;
    }
}

const char* Queue::enter_indirect(const Descriptor& descriptor, Table& table) const {
    if (!state_.indirect) return "an indirect descriptor, which was not agreed on";
    if (table.indirect) return "an indirect descriptor in an indirect table";
    if ((descriptor.flags & DescriptorFlag::Next) != 0) return "an indirect descriptor has a next one";
    std::uint32_t entries = descriptor.length / sizeof(Descriptor);
    if (descriptor.length % sizeof(Descriptor) != 0 || entries == 0 || entries > most_indirect)
        return "an indirect table has an absurd length";
    table = {GuestPhysical{descriptor.address}, entries, true};
    return nullptr;
}

const char* Queue::add(const Descriptor& descriptor, Chain& chain) const {
    bool writes = (descriptor.flags & DescriptorFlag::Write) != 0;
    if (descriptor.length == 0) return "a descriptor of no length";
    if (!writes && !chain.writable_ranges.empty()) return "a readable descriptor behind a writable one";
    chain.length += descriptor.length;
    if (!ranges_only_ && chain.length > std::numeric_limits<std::uint32_t>::max())
        return "a request of more than 4 GiB";
    GuestPhysical address{descriptor.address};
    if (writes && ranges_only_) {
        chain.writable_ranges.push_back({address, descriptor.length});
        return nullptr;
    }
    if (!memory_.find(address, descriptor.length, writes ? Access::Write : Access::Read,
                      writes ? chain.writable : chain.readable))
        return "a descriptor's bytes are not in memory";
    if (writes) chain.writable_ranges.push_back({address, descriptor.length});
    return nullptr;
}

bool Queue::put(const Chain& chain, std::uint32_t written) {
    if (fault_ != nullptr) return false;
    std::uint64_t entry = state_.next_used % state_.size;
    GuestPhysical element = state_.device + ring_entries + 8 * entry;
    ++state_.next_used;
    if (memory_.store(element, std::uint32_t{chain.head}) && memory_.store(element + 4, written)) return true;
    broken("its used ring is not in memory");
    return false;
}

bool Queue::publish() {
    if (fault_ == nullptr && memory_.store(state_.device + 2, state_.next_used)) return true;
    broken("its used ring is not in memory");
    return false;
}

bool Queue::wants_interrupt() {
    if (fault_ != nullptr) return false;
    // The driver writes what it wants and then looks at the used index; we the other way round.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    std::uint16_t value = 0;
    if (!state_.event_index) return memory_.load(state_.driver, value) && (value & no_interrupt) == 0;
    std::uint64_t used_event = ring_entries + 2ull * state_.size;
    if (!memory_.load(state_.driver + used_event, value)) return false;
    auto since_event = static_cast<std::uint16_t>(state_.next_used - value - 1);
    auto since_signal = static_cast<std::uint16_t>(state_.next_used - state_.signalled);
    state_.signalled = state_.next_used;
    return since_event < since_signal;
}

bool Queue::ask_for_notification() {
    if (fault_ != nullptr) return false;
    if (!state_.ready) return true;  // nothing will come
    if (state_.event_index) {
        std::uint64_t available_event = ring_entries + 8ull * state_.size;
        if (!memory_.store(state_.device + available_event, state_.next_available)) {
            broken("its used ring is not in memory");
            return false;
        }
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    std::uint16_t index = 0;
    if (!available(index)) return false;
    return index == state_.next_available;
}

}  // namespace undercroft
