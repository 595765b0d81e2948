// SPDX-License-Identifier: Apache-2.0
#include "shared_terminal.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

namespace undercroft {
namespace {

using namespace std::chrono_literals;
using State = ConsoleBackend::State;

// Until lines that have not ended are shown, and until a terminal that took no more is tried again.
constexpr std::chrono::nanoseconds patience = 20ms;

// Names in front of empty lines are much more than the lines.
constexpr std::size_t most_at_once = 4096;

}  // namespace

// What a machine's console writes to.
class SharedTerminal::Line final : public ConsoleBackend {
public:
    Line(SharedTerminal& terminal, unsigned machine) : terminal_{terminal}, machine_{machine} {}

    Transfer write(std::span<const std::byte> bytes) noexcept override {
        return terminal_.write(machine_, bytes);
    }
    Transfer read(std::span<std::byte>) noexcept override { return {.bytes = 0, .state = State::Closed}; }
    int output() const noexcept override { return terminal_.terminal_->output(); }

private:
    SharedTerminal& terminal_;
    unsigned machine_;
};

Result<std::unique_ptr<SharedTerminal>> SharedTerminal::open(const std::vector<std::string>& names,
                                                             unsigned first, EventLoop& loop) {
    auto terminal = StdioConsole::open();
    if (!terminal) return terminal.error();
    Reader reader = isatty(STDOUT_FILENO) != 0 ? Reader::Person : Reader::Program;
    return create(names, first, loop, *std::move(terminal), reader);
}

Result<std::unique_ptr<SharedTerminal>> SharedTerminal::create(const std::vector<std::string>& names,
                                                               unsigned first, EventLoop& loop,
                                                               std::unique_ptr<ConsoleBackend> terminal,
                                                               Reader reader) {
    auto alarm = Alarm::create();
    if (!alarm) return alarm.error();
    return std::unique_ptr<SharedTerminal>{
        new SharedTerminal{names, first, loop, std::move(terminal), reader, *std::move(alarm)}};
}

SharedTerminal::SharedTerminal(const std::vector<std::string>& names, unsigned first, EventLoop& loop,
                               std::unique_ptr<ConsoleBackend> terminal, Reader reader, Alarm alarm)
    : loop_{loop},
      terminal_{std::move(terminal)},
      row_end_{reader == Reader::Person ? "\r\n" : "\n"},
      alarm_{std::move(alarm)},
      escape_{static_cast<unsigned>(names.size())},
      full_(names.size()),
      machines_(names.size()),
      attached_{first},
      rows_{names, reader == Reader::Person, row_end_} {
    rows_.set_eager(first);
    loop_.watch(alarm_.fd(), [this] { on_alarm(); });
}

SharedTerminal::~SharedTerminal() {
    loop_.forget(alarm_.fd());
    if (reading_) loop_.forget(terminal_->input());
}

std::unique_ptr<ConsoleBackend> SharedTerminal::line(unsigned machine) {
    return std::make_unique<Line>(*this, machine);
}

ConsoleBackend::Transfer SharedTerminal::write(unsigned number, std::span<const std::byte> bytes) {
    Guard lock{mutex_};
    MachineState& machine = machines_[number];
    if (machine.waiting >= share) write_out(lock);
    if (failure_ != 0) {
        errno = failure_;
        return {.bytes = 0, .state = State::Closed};
    }
    if (machine.waiting >= share) return {.bytes = 0, .state = State::Blocked};
    bytes = bytes.first(std::min(bytes.size(), most_at_once));
    machine.recent.add(bytes);
    if (!alone_) {
        enqueue(lock, number, rows_.add(number, bytes));
    } else if (attached_ == number) {
        enqueue(lock, number, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    write_out(lock);
    return {.bytes = bytes.size(), .state = State::Ok};
}

void SharedTerminal::enqueue(const Guard&, unsigned machine, std::string text) {
    if (text.empty()) return;
    machines_[machine].waiting += text.size();
    queue_.push_back({.machine = machine, .text = std::move(text)});
}

void SharedTerminal::write_out(const Guard& lock) {
    State state = State::Ok;
    while (!queue_.empty() && state == State::Ok) {
        Waiting& next = queue_.front();
        auto done = terminal_->write(std::as_bytes(std::span{next.text}));
        state = done.state;
        if (state == State::Closed) failure_ = errno;
        machines_[next.machine].waiting -= done.bytes;
        next.text.erase(0, done.bytes);
        if (next.text.empty()) queue_.pop_front();
    }
    if (failure_ != 0) queue_.clear();
    if (!queue_.empty() || rows_.holds_something()) ring_later(lock);
}

void SharedTerminal::ring_later(const Guard&) {
    if (alarm_set_) return;
    alarm_set_ = true;
    alarm_.set_in_ns(static_cast<std::uint64_t>(patience.count()));
}

void SharedTerminal::on_alarm() {
    alarm_.acknowledge();
    Guard lock{mutex_};
    alarm_set_ = false;
    if (rows_.holds_something()) enqueue(lock, attached_, rows_.flush());
    write_out(lock);
}

void SharedTerminal::on_input(std::function<bool(unsigned, std::span<const std::byte>)> typed) {
    typed_ = std::move(typed);
    reading_ = terminal_->input() >= 0;
    if (reading_) loop_.watch(terminal_->input(), [this] { read_input(); });
}

void SharedTerminal::read_input() {
    std::array<std::byte, 4096> bytes;
    int fd = terminal_->input();
    ConsoleBackend::Transfer got = terminal_->read(bytes);
    if (got.state == State::Closed) {
        loop_.forget(fd);
        reading_ = false;
    }
    auto typed = std::span{bytes}.first(got.bytes);
    std::vector<std::byte> for_guest;
    if (!terminal_->is_interactive()) {
        for_guest.assign(typed.begin(), typed.end());
    } else {
        // What was typed before a command is for the machine that was attached then.
        escape_.filter(typed, for_guest, [&](Escape::Command command) {
            give(for_guest);
            command_(command);
        });
    }
    give(for_guest);
}

// A person's keys must reach us whatever the guest does, so what they type for a guest that takes nothing is
// dropped; other input waits.
void SharedTerminal::give(std::vector<std::byte>& typed) {
    if (typed.empty()) return;
    if (!full_[attached_]) full_[attached_] = !typed_(attached_, typed);
    typed.clear();
    if (full_[attached_] && reading_ && !terminal_->is_interactive()) loop_.pause(terminal_->input());
}

void SharedTerminal::has_room(unsigned machine) {
    full_[machine] = false;
    if (machine == attached_ && reading_) loop_.resume(terminal_->input());
}

void SharedTerminal::attach(unsigned machine) {
    Guard lock{mutex_};
    std::string text = rows_.flush() + rows_.end_row() + machines_[machine].recent.text();
    attached_ = machine;
    alone_ = true;
    rows_.set_eager(machine);
    enqueue(lock, machine, std::move(text));
    write_out(lock);
}

void SharedTerminal::show_all() {
    Guard lock{mutex_};
    if (!alone_) return;
    alone_ = false;
    enqueue(lock, attached_, row_end_);
    write_out(lock);
}

std::optional<unsigned> SharedTerminal::shown_alone() const {
    Guard lock{mutex_};
    if (!alone_) return std::nullopt;
    return attached_;
}

unsigned SharedTerminal::attached() const {
    Guard lock{mutex_};
    return attached_;
}

bool SharedTerminal::hand_over(unsigned machine) {
    if (!terminal_->is_interactive()) return false;
    Guard lock{mutex_};
    attached_ = machine;
    rows_.set_eager(machine);
    return true;
}

void SharedTerminal::finish(std::chrono::steady_clock::time_point until) {
    for (;;) {
        {
            Guard lock{mutex_};
            enqueue(lock, attached_, rows_.flush() + rows_.end_row());
            write_out(lock);
            if (queue_.empty()) return;
        }
        if (std::chrono::steady_clock::now() >= until) return;
        pollfd wait{.fd = terminal_->output(), .events = POLLOUT, .revents = 0};
        poll(&wait, 1, 100);
    }
}

}  // namespace undercroft
