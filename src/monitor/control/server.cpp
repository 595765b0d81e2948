// SPDX-License-Identifier: Apache-2.0
#include "server.hpp"

#include "monitor/control/directory.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace undercroft::control {
namespace {

constexpr std::uint64_t retry_ns = 10'000'000;

}  // namespace

Result<std::unique_ptr<Server>> Server::open(const std::string& path, EventLoop& loop,
                                             std::span<const std::unique_ptr<Tenant>> tenants) {
    auto heard = Doorbell::create();
    if (!heard) return heard.error();
    auto retry = Alarm::create();
    if (!retry) return retry.error();
    auto listener = listen_at(path);
    if (!listener) return std::move(listener.error()).in("control");
    return std::unique_ptr<Server>{
        new Server{path, *std::move(listener), loop, tenants, Bells{*std::move(heard), *std::move(retry)}}};
}

Server::Server(std::string path, Fd listener, EventLoop& loop,
               std::span<const std::unique_ptr<Tenant>> tenants, Bells bells)
    : path_{std::move(path)},
      listener_{std::move(listener)},
      loop_{loop},
      tenants_{tenants},
      bells_{std::move(bells)} {
    loop_.watch(listener_.get(), [this] { accept(); });
    loop_.watch(bells_.heard.fd(), [this] {
        bells_.heard.acknowledge();
        write_all();
    });
    loop_.watch(bells_.retry.fd(), [this] {
        bells_.retry.acknowledge();
        write_all();
    });
}

Server::~Server() {
    write_all();
    while (!connections_.empty()) drop(*connections_.front());
    for (int fd : {listener_.get(), bells_.heard.fd(), bells_.retry.fd()}) loop_.forget(fd);
    unlink(path_.c_str());
}

void Server::accept() {
    Fd fd{accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (!fd) return;
    if (connections_.size() >= most_clients) drop(*connections_.front());
    connections_.push_back(
        std::make_unique<Connection>(std::move(fd), tenants_, [this] { bells_.heard.ring(); }));
    Connection& added = *connections_.back();
    loop_.watch(added.fd(), [this, &added] { read(added); });
}

void Server::read(Connection& connection) {
    switch (connection.read()) {
        case Connection::State::Open: break;
        case Connection::State::Full: loop_.pause(connection.fd()); break;
        case Connection::State::InputEnded: loop_.forget(connection.fd()); break;
        case Connection::State::Closed: return drop(connection);
    }
    write_all();
}

void Server::write_all() {
    std::vector<Connection*> done;
    bool owing = false;
    for (auto& connection : connections_) {
        if (!connection->write()) done.push_back(connection.get());
        owing = owing || connection->owes();
    }
    for (Connection* connection : done) drop(*connection);
    if (owing) bells_.retry.set_in_ns(retry_ns);
}

void Server::drop(Connection& connection) {
    loop_.forget(connection.fd());
    std::erase_if(connections_, [&](const auto& each) { return each.get() == &connection; });
}

void Server::has_room(const Tenant& tenant) {
    for (auto& connection : connections_) {
        if (connection->console() != &tenant) continue;
        connection->has_room();
        if (connection->is_reading()) loop_.resume(connection->fd());
    }
}

void Server::ended(const Tenant& tenant) {
    for (auto& connection : connections_) {
        if (connection->concerns(tenant)) connection->end();
    }
    write_all();
}

}  // namespace undercroft::control
