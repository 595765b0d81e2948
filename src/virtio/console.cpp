// SPDX-License-Identifier: Apache-2.0
#include "virtio/console.hpp"

#include <algorithm>
#include <utility>

namespace undercroft {
namespace {

// Queues: input and output of port 0, of control, of port 1, and so on.
constexpr unsigned control_input = 2;
constexpr unsigned control_output = 3;
constexpr unsigned input_queue(unsigned port) { return port == 0 ? 0 : 2 * port + 2; }
constexpr unsigned output_queue(unsigned port) { return input_queue(port) + 1; }

struct Config {  // struct virtio_console_config
    std::uint16_t cols = 0;
    std::uint16_t rows = 0;
    std::uint32_t max_nr_ports = 0;
};
static_assert(sizeof(Config) == 8, "virtio 1.2 section 5.3.4");

}  // namespace

VirtioConsole::VirtioConsole(std::span<ConsolePort* const> ports, const DmaMemory& memory, std::mutex& lock)
    : memory_{memory}, lock_{lock} {
    for (ConsolePort* port : ports) ports_.push_back({.host = port});
}

void VirtioConsole::on_work(const std::function<void()>& ask) {
    ask_ = ask;
    for (const Port& port : ports_) port.host->on_change(ask);
}

std::uint8_t VirtioConsole::config(std::uint64_t offset) const {
    return config_byte(Config{.max_nr_ports = static_cast<std::uint32_t>(ports_.size())}, offset);
}

void VirtioConsole::start(std::uint64_t agreed_features, std::span<Queue> queues,
                          VirtioTransport& transport) {
    several_ = (agreed_features & Feature::MultiPort) != 0;
    queues_ = queues;
    transport_ = &transport;
    if (!several_) ports_.front().open = true;
    ask_();  // there may be input
}

void VirtioConsole::reset() {
    queues_ = {};
    transport_ = nullptr;
    to_driver_.clear();
    for (Port& port : ports_) port = {.host = port.host};
}

void VirtioConsole::serve() {
    while (serve_once()) continue;
}

bool VirtioConsole::serve_once() {
    RequestGate::Pass pass{memory_.requests()};
    std::lock_guard lock{lock_};
    bool busy = several_ && hear_driver();
    unsigned count = several_ ? static_cast<unsigned>(ports_.size()) : 1;
    for (unsigned n = 0; n < count; ++n) busy |= take_output(n);
    busy |= several_ && tell_driver();
    for (unsigned n = 0; n < count; ++n) busy |= give_input(n);
    return busy;
}

void VirtioConsole::break_down(const char* why) {
    transport_->needs_reset(why);
    queues_ = {};
}

// Into `chain_`. False: there is none, and the driver will notify us of the next.
bool VirtioConsole::pop(Queue& queue) {
    for (;;) {
        Queue::Pop popped = queue.pop(chain_);
        if (popped == Queue::Pop::Chain) return true;
        if (popped == Queue::Pop::Empty && queue.ask_for_notification()) return false;
        if (queue.fault() == nullptr) continue;
        break_down(queue.fault());
        return false;
    }
}

void VirtioConsole::push(Queue& queue, std::uint32_t written) {
    if (written > 0) chain_.tell_written(memory_);
    if (!queue.push(chain_, written)) return break_down(queue.fault());
    if (queue.wants_interrupt()) transport_->used_buffers();
}

// The next request, copied to `output_` and given back.
bool VirtioConsole::take_from(unsigned number) {
    if (queues_.empty() || !pop(queues_[number])) return false;
    if (chain_.readable.size() > most_output) {
        break_down("a console's output in one piece of more than 1 MiB");
        return false;
    }
    output_.resize(chain_.readable.size());
    chain_.readable.take_front(output_);
    push(queues_[number], 0);
    return true;
}

bool VirtioConsole::take_output(unsigned number) {
    look_at_the_end_of(number);
    ConsolePort& host = *ports_[number].host;
    if (host.output() == ConsolePort::Output::Full || !take_from(output_queue(number))) return false;
    // It may have closed meanwhile, or got room.
    if (host.output() == ConsolePort::Output::Room && !output_.empty()) host.write(output_);
    return true;
}

bool VirtioConsole::give_input(unsigned number) {
    Port& port = ports_[number];
    if (queues_.empty() || !port.open || port.ended) return false;
    switch (port.host->input()) {
        case ConsolePort::Input::Nothing: return false;
        case ConsolePort::Input::End: port.ended = true; return true;
        case ConsolePort::Input::Bytes: break;
    }
    Queue& queue = queues_[input_queue(number)];
    if (!pop(queue)) return false;
    if (chain_.writable.empty()) {
        break_down("a console's input buffer has no room");
        return false;
    }
    auto room = std::span{input_}.first(std::min<std::size_t>(input_.size(), chain_.writable.size()));
    std::size_t count = port.host->read(room);
    chain_.writable.fill_front(room.first(count));
    push(queue, static_cast<std::uint32_t>(count));
    return true;
}

bool VirtioConsole::hear_driver() {
    if (!take_from(control_output)) return false;
    Control message;
    if (output_.size() >= sizeof message) {
        std::copy_n(output_.begin(), sizeof message, std::as_writable_bytes(std::span{&message, 1}).begin());
        hear(message);
    }
    return true;
}

void VirtioConsole::hear(const Control& message) {
    if (message.event == DEVICE_READY && message.value == 1) {
        for (unsigned n = 0; n < ports_.size(); ++n) tell(n, PORT_ADD, 1);
        return;
    }
    if (message.id >= ports_.size()) return;
    Port& port = ports_[message.id];
    if (message.event == PORT_READY && message.value == 1) {
        if (auto name = port.host->name(); !name.empty()) tell(message.id, PORT_NAME, 1, name);
        port.ready = true;
        if (!port.closed) tell(message.id, PORT_OPEN, 1);
    }
    if (message.event == PORT_OPEN) port.open = message.value == 1;
}

void VirtioConsole::tell(std::uint32_t id, Event event, std::uint16_t value, std::string_view name) {
    if (several_ && to_driver_.size() < most_messages)
        to_driver_.push_back({.control = {.id = id, .event = event, .value = value}, .name = name});
}

// A message that does not fit is cut off, as the specification leaves it to the driver to have room.
bool VirtioConsole::tell_driver() {
    if (to_driver_.empty() || queues_.empty() || !pop(queues_[control_input])) return false;
    const Message& message = to_driver_.front();
    std::size_t written = chain_.writable.fill_front(std::as_bytes(std::span{&message.control, 1}));
    written += chain_.writable.fill_front(std::as_bytes(std::span{message.name}));
    to_driver_.pop_front();
    push(queues_[control_input], static_cast<std::uint32_t>(written));
    return true;
}

void VirtioConsole::look_at_the_end_of(unsigned number) {
    Port& port = ports_[number];
    bool closed = port.ended || port.host->output() == ConsolePort::Output::Closed;
    if (std::exchange(port.closed, closed) != closed && port.ready) tell(number, PORT_OPEN, closed ? 0 : 1);
}

}  // namespace undercroft
