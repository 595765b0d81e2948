// SPDX-License-Identifier: Apache-2.0
#include "client.hpp"

#include "monitor/control/directory.hpp"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

namespace undercroft::control {
namespace {

std::int64_t now_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

}  // namespace

Result<Client> Client::connect(const std::string& path) {
    auto fd = connect_to(path);
    if (!fd) return fd.error();
    return Client{path, *std::move(fd)};
}

bool Client::wait_for(short events, std::int64_t deadline_ms) const {
    std::int64_t left = deadline_ms - now_ms();
    pollfd wait{.fd = fd_.get(), .events = events, .revents = 0};
    return left > 0 && poll(&wait, 1, static_cast<int>(left)) != 0;
}

Result<Reply> Client::ask(const Request& request, const Patience& patience) {
    std::int64_t deadline = now_ms() + patience.time.count();
    Error late{patience.error.empty() ? path_ + ": no answer" : patience.error};
    std::string line = line_of(request);
    while (!line.empty()) {
        if (!wait_for(POLLOUT, deadline)) return late;
        ssize_t n = send(fd_.get(), line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) return host_error().in(path_);
        if (n > 0) line.erase(0, static_cast<std::size_t>(n));
    }
    std::size_t end = 0;
    while ((end = received_.find('\n')) == std::string::npos) {
        if (received_.size() > longest_reply) return Error{path_ + ": the answer does not end"};
        if (!wait_for(POLLIN, deadline)) return late;
        std::array<char, 4096> bytes;
        ssize_t n = recv(fd_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
        if (n == 0) return Error{path_ + ": it hung up"};
        if (n < 0 && errno != EAGAIN && errno != EINTR) return host_error().in(path_);
        if (n > 0) received_.append(bytes.data(), static_cast<std::size_t>(n));
    }
    auto reply = parse_reply(std::string_view{received_}.substr(0, end));
    received_.erase(0, end + 1);
    if (!reply) return std::move(reply.error()).in(path_);
    if (reply->error) return Error{*reply->error};
    return reply;
}

std::vector<Monitor> all_monitors(const std::optional<std::string>& path, std::vector<Error>& complaints) {
    std::vector<Monitor> monitors;
    for (const std::string& each : path ? std::vector{*path} : all_sockets()) {
        auto client = Client::connect(each);
        if (!client) {
            complaints.push_back(client.error());
            continue;
        }
        auto machines = client->ask({.verb = Verb::List, .machine = {}});
        if (!machines) {
            complaints.push_back(machines.error());
            continue;
        }
        monitors.push_back({*std::move(client), *std::move(machines)});
    }
    return monitors;
}

Result<Client> monitor_of(const std::string& machine, const std::optional<std::string>& path) {
    std::vector<Error> complaints;
    std::optional<Client> found;
    for (Monitor& monitor : all_monitors(path, complaints)) {
        for (const MachineStatus& each : monitor.machines.machines) {
            if (each.name != machine) continue;
            if (found)
                return Error{fmt::format("several machines '{}': choose by --control {} or --control {}",
                                         machine, found->path(), monitor.client.path())};
            found = std::move(monitor.client);
        }
    }
    if (found) return *std::move(found);
    if (path && !complaints.empty()) return complaints.front();
    return Error{fmt::format("no machine '{}'", machine)};
}

}  // namespace undercroft::control
