// SPDX-License-Identifier: Apache-2.0
#include "vsock/host.hpp"

#include "base/poll_timeout.hpp"
#include "base/unix_socket.hpp"

#include <fmt/core.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <iterator>
#include <string_view>
#include <utility>

namespace undercroft {
namespace {

template <class Number>
std::optional<Number> number(std::string_view text) {
    Number value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace

Result<VsockChoice> vsock_named(const std::string& text) {
    auto wrong = [&text](std::string_view reason) {
        return Error{fmt::format("vsock '{}': {}", text, reason)};
    };
    constexpr std::string_view cid = ",cid=";
    VsockChoice choice;
    std::size_t comma = text.rfind(cid);
    choice.path = text.substr(0, comma);
    if (choice.path.empty()) return wrong("its path is missing");
    if (comma == std::string::npos) return choice;
    auto given = number<std::uint32_t>(std::string_view{text}.substr(comma + cid.size()));
    if (!given || *given < vsock_first_guest_cid || *given > vsock_last_guest_cid)
        return wrong(
            fmt::format("its cid is not from {} to {}", vsock_first_guest_cid, vsock_last_guest_cid));
    choice.cid = *given;
    return choice;
}

Result<std::unique_ptr<VsockHost>> VsockHost::open(const VsockChoice& choice) {
    if (is_abandoned_socket(choice.path)) unlink(choice.path.c_str());
    auto listener = listen_at_socket(choice.path, 0600);
    if (!listener) return std::move(listener.error()).in(fmt::format("vsock '{}'", choice.path));
    std::unique_ptr<VsockHost> host{new VsockHost{choice}};
    host->listener_ = *std::move(listener);
    return host;
}

VsockHost::~VsockHost() {
    if (listener_) unlink(choice_.path.c_str());
}

void VsockHost::start() {
    std::lock_guard lock{mutex_};
    running_ = true;
}

void VsockHost::reset() {
    std::lock_guard lock{mutex_};
    running_ = false;
    for (auto each = connections_.begin(); each != connections_.end();) each = end(each);
    refused_.clear();
    polled_.clear();
}

// Of so many programs that take nothing, those that have waited longest get no more.
VsockHost::Connections::iterator VsockHost::end(Connections::iterator connection) {
    if (auto rest = connection->second.take_rest(); rest && !is_done(*rest)) {
        if (leaving_.size() == most_leaving) leaving_.pop_front();
        leaving_.push_back(*std::move(rest));
    }
    return connections_.erase(connection);
}

bool VsockHost::is_done(VsockConnection::Rest& rest) {
    return rest.bytes.send_to(rest.socket.get()).refused || rest.bytes.empty();
}

void VsockHost::finish(std::chrono::steady_clock::time_point until) {
    std::lock_guard lock{mutex_};
    std::vector<pollfd> polls;
    for (;;) {
        std::erase_if(leaving_, is_done);
        int timeout_ms = poll_timeout(until);
        if (leaving_.empty() || timeout_ms == 0) return;
        polls.clear();
        for (const auto& rest : leaving_)
            polls.push_back({.fd = rest.socket.get(), .events = POLLOUT, .revents = 0});
        poll(polls.data(), polls.size(), timeout_ms);
    }
}

// --- from the guest ---------------------------------------------------------------------------------------

void VsockHost::take(const VsockHeader& header, Buffers& data) {
    std::lock_guard lock{mutex_};
    // To others than the host, or as somebody else: nobody is there to answer.
    if (header.source_cid != choice_.cid || header.destination_cid != vsock_host_cid) return;
    if (header.type != VsockHeader::stream || header.length != data.size()) return refuse(header);
    VsockPorts ports{.guest = header.source_port, .host = header.destination_port};
    auto found = connections_.find(ports);
    if (found == connections_.end()) return connect_guest(ports, header);
    found->second.take(header, data);
    if (found->second.is_over()) end(found);
}

void VsockHost::connect_guest(VsockPorts ports, const VsockHeader& header) {
    if (header.operation != VsockOperation::Request || connections_.size() >= most_connections)
        return refuse(header);
    auto socket = connect_to_socket(fmt::format("{}_{}", choice_.path, ports.host));
    if (!socket) return refuse(header);
    auto made =
        connections_.try_emplace(ports, ports, *std::move(socket), VsockConnection::Begun::ByGuest).first;
    made->second.take_credit(header);
}

// A guest that asks for more of them than it takes loses the rest.
void VsockHost::refuse(const VsockHeader& header) {
    if (header.operation == VsockOperation::Reset || refused_.size() >= most_resets) return;
    refused_.push_back({.source_port = header.destination_port,
                        .destination_port = header.source_port,
                        .type = header.type,
                        .operation = VsockOperation::Reset});
}

// --- to the guest -----------------------------------------------------------------------------------------

bool VsockHost::has_packet() {
    std::lock_guard lock{mutex_};
    if (!running_) return false;
    if (!refused_.empty()) return true;
    return std::ranges::any_of(connections_, [](const auto& each) { return each.second.has_packet(); });
}

// Connections take turns.
std::optional<VsockHeader> VsockHost::next(const Buffers& payload) {
    if (!refused_.empty()) {
        VsockHeader header = refused_.front();
        refused_.pop_front();
        return header;
    }
    auto each = connections_.upper_bound(turn_);
    for (std::size_t left = connections_.size(); left > 0; --left) {
        if (each == connections_.end()) each = connections_.begin();
        auto header = each->second.has_packet() ? each->second.next(payload) : std::nullopt;
        if (header) turn_ = each->first;
        each = each->second.is_over() ? end(each) : std::next(each);
        if (header) return header;
    }
    return std::nullopt;
}

std::size_t VsockHost::put(Buffers& room) {
    std::lock_guard lock{mutex_};
    Buffers front;
    room.move_front(sizeof(VsockHeader), front);
    auto header = next(room);
    if (!header) return 0;
    header->source_cid = vsock_host_cid;
    header->destination_cid = choice_.cid;
    front.fill_front(std::as_bytes(std::span{&*header, 1}));
    return sizeof *header + header->length;
}

// --- from and to the host's sockets -----------------------------------------------------------------------

void VsockHost::add_polls(std::vector<pollfd>& polls, bool guest_has_room) {
    std::lock_guard lock{mutex_};
    polled_listener_ = callers_.size() < most_callers;
    if (polled_listener_) polls.push_back({.fd = listener_.get(), .events = POLLIN, .revents = 0});
    polled_callers_ = callers_.size();
    for (const Caller& caller : callers_)
        polls.push_back({.fd = caller.socket.get(), .events = POLLIN, .revents = 0});
    polled_leaving_ = leaving_.size();
    for (const auto& rest : leaving_)
        polls.push_back({.fd = rest.socket.get(), .events = POLLOUT, .revents = 0});
    polled_.clear();
    for (const auto& [ports, connection] : connections_) {
        // What it says could go nowhere.
        int unwanted = guest_has_room ? 0 : POLLIN | POLLHUP;
        auto events = static_cast<short>(connection.events() & ~unwanted);
        if (events == 0) continue;
        polls.push_back({.fd = connection.socket(), .events = events, .revents = 0});
        polled_.push_back(ports);
    }
}

void VsockHost::handle(std::span<const pollfd> polls) {
    std::lock_guard lock{mutex_};
    bool accepts = polled_listener_ && polls.front().revents != 0;
    if (polled_listener_) polls = polls.subspan(1);
    auto of_callers = polls.first(polled_callers_);
    polls = polls.subspan(polled_callers_ + polled_leaving_);
    std::erase_if(leaving_, is_done);
    for (std::size_t n = 0; n < polled_.size(); ++n) {
        auto found = connections_.find(polled_[n]);
        if (found != connections_.end()) found->second.handle(polls[n].revents);
    }
    polled_.clear();
    // From the end, so that the numbers of those before stay.
    for (std::size_t n = of_callers.size(); n-- > 0;) {
        if (of_callers[n].revents != 0 && !hear(callers_[n]))
            callers_.erase(callers_.begin() + static_cast<std::ptrdiff_t>(n));
    }
    if (accepts) accept_callers();
}

void VsockHost::accept_callers() {
    while (callers_.size() < most_callers) {
        Fd socket{accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
        if (!socket) return;
        callers_.push_back({std::move(socket), {}});
    }
}

// What is behind the line's end is the stream's, so it is left where it is.
bool VsockHost::hear(Caller& caller) {
    constexpr std::size_t longest_line = 32;
    constexpr std::string_view verb = "CONNECT ";
    std::array<char, longest_line> bytes;
    ssize_t seen =
        recv(caller.socket.get(), bytes.data(), bytes.size() - caller.line.size(), MSG_PEEK | MSG_DONTWAIT);
    if (seen <= 0) return seen < 0 && (errno == EAGAIN || errno == EINTR);
    std::string_view text{bytes.data(), static_cast<std::size_t>(seen)};
    std::size_t end = text.find('\n');
    text = text.substr(0, end == std::string_view::npos ? end : end + 1);
    if (recv(caller.socket.get(), bytes.data(), text.size(), MSG_DONTWAIT) !=
        static_cast<ssize_t>(text.size()))
        return false;
    caller.line += text;
    if (end == std::string_view::npos) return caller.line.size() < longest_line;
    std::string_view line = caller.line;
    line.remove_suffix(1);
    if (!line.starts_with(verb)) return false;
    auto port = number<std::uint32_t>(line.substr(verb.size()));
    if (port) connect_caller(caller, *port);
    return false;
}

void VsockHost::connect_caller(Caller& caller, std::uint32_t port) {
    if (!running_ || connections_.size() >= most_connections) return;
    VsockPorts ports{.guest = port, .host = 0};
    do {
        last_port_ = last_port_ == UINT32_MAX - 1 ? first_port : last_port_ + 1;
        ports.host = last_port_;
    } while (connections_.contains(ports));
    connections_.try_emplace(ports, ports, std::move(caller.socket), VsockConnection::Begun::ByHost);
}

}  // namespace undercroft
