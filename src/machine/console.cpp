// SPDX-License-Identifier: Apache-2.0
#include "console.hpp"

#include "machine/terminal.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <utility>
#include <vector>

namespace undercroft {

Result<std::unique_ptr<Console>> Console::open(const std::string& where, EventLoop& loop) {
    auto backend = ConsoleBackend::open(where);
    if (!backend) return backend.error();
    return open(*std::move(backend), loop);
}

Result<std::unique_ptr<Console>> Console::open(std::unique_ptr<ConsoleBackend> backend, EventLoop& loop) {
    auto flush = Alarm::create();
    auto credit = Alarm::create();
    auto room = Doorbell::create();
    if (!flush) return flush.error();
    if (!credit) return credit.error();
    if (!room) return room.error();
    Bells bells{*std::move(flush), *std::move(credit), *std::move(room)};
    return std::unique_ptr<Console>{new Console{loop, std::move(backend), std::move(bells)}};
}

Console::Console(EventLoop& loop, std::unique_ptr<ConsoleBackend> backend, Bells bells)
    : loop_{loop},
      backend_{std::move(backend)},
      bells_{std::move(bells)},
      output_{*backend_, bells_.flush},
      input_{bells_.credit, bells_.room} {
    loop_.watch(bells_.flush.fd(), [this] {
        bells_.flush.acknowledge();
        output_.flush();
    });
    loop_.watch(bells_.credit.fd(), [this] {
        bells_.credit.acknowledge();
        input_.renew();
        arrived_();
    });
    loop_.watch(bells_.room.fd(), [this] {
        bells_.room.acknowledge();
        if (backend_->input() >= 0) loop_.resume(backend_->input());
        room_();
    });
    watch_input();
    watch_listener();
}

Console::~Console() {
    for (int fd : std::array{bells_.flush.fd(), bells_.credit.fd(), bells_.room.fd(), backend_->input(),
                             backend_->listener()}) {
        if (fd >= 0) loop_.forget(fd);
    }
}

void Console::watch_input() {
    if (backend_->input() < 0) return;
    loop_.watch(backend_->input(), [this] { read_input(); });
}

void Console::watch_listener() {
    if (backend_->listener() < 0) return;
    loop_.watch(backend_->listener(), [this] {
        int listener = backend_->listener();
        output_.accept();
        if (backend_->input() < 0) return;  // whoever it was has given up
        loop_.forget(listener);
        watch_input();
    });
}

void Console::read_input() {
    int fd = backend_->input();
    std::array<std::byte, 4096> bytes;
    ConsoleBackend::Transfer got = backend_->read(bytes);
    if (got.state == ConsoleBackend::State::Closed) loop_.forget(fd);
    if (got.state == ConsoleBackend::State::Absent) {
        loop_.forget(fd);
        output_.hang_up();
        watch_listener();
    }
    if (got.bytes == 0) return;
    auto typed = std::span{bytes}.first(got.bytes);
    bool more = true;
    if (backend_->is_interactive()) {
        std::vector<std::byte> for_guest;
        escape_.filter(typed, for_guest, command_);
        more = type(for_guest);
    } else {
        more = type(typed);
    }
    if (!more) loop_.pause(fd);
}

bool Console::type(std::span<const std::byte> bytes) {
    bool more = input_.push(bytes);
    arrived_();
    return more;
}

void Console::notice(std::string_view text) {
    std::string_view end = terminal::is_raw() ? "\r\n" : "\n";
    std::string line = fmt::format("{}undercroft: {}{}", terminal::is_raw() ? "\r\n" : "", text, end);
    [[maybe_unused]] auto n = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace undercroft
