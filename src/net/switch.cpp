// SPDX-License-Identifier: Apache-2.0
#include "net/switch.hpp"

#include <algorithm>
#include <utility>

namespace undercroft {
namespace {

constexpr std::uint64_t group_bit = 1;  // of a MAC address's first byte: for several stations

std::uint64_t address_at(std::span<const std::byte> header, std::size_t offset) {
    std::uint64_t address = 0;
    for (std::size_t n = 6; n > 0; --n)
        address = address << 8 | std::to_integer<std::uint64_t>(header[offset + n - 1]);
    return address;
}

}  // namespace

class Switch::Port final : public NetBackend {
public:
    explicit Port(std::shared_ptr<Switch> to) : switch_{std::move(to)}, name_{"switch:" + switch_->name_} {}
    ~Port() override { attach(nullptr); }

    const std::string& name() const override { return name_; }
    Offloads offloads() const override { return {.checksum = true}; }
    // So nobody has to cut packets into segments, and few bytes are headers.
    unsigned mtu() const override { return 65520; }

    void attach(NetPort* port) override {
        std::unique_lock lock{switch_->ports_lock_};
        std::erase(switch_->ports_, this);
        machine_ = port;
        if (port != nullptr) switch_->ports_.push_back(this);
        std::lock_guard stations{switch_->stations_lock_};
        std::erase_if(switch_->stations_, [this](const auto& each) { return each.second == this; });
    }

    void send(const Frame& frame) override {
        std::array<std::byte, Frame::shortest> header;
        frame.copy_front(header);
        std::uint64_t to = address_at(header, 0);
        std::uint64_t from = address_at(header, 6);
        std::shared_lock lock{switch_->ports_lock_};
        Port* known = switch_->learn_and_find(from, *this, to);
        if (known != nullptr) return pass(frame, *known);
        for (Port* port : switch_->ports_) pass(frame, *port);
    }

    void sent() override {
        std::shared_lock lock{switch_->ports_lock_};
        for (Port* port : reached_) {
            if (std::ranges::find(switch_->ports_, port) != switch_->ports_.end()) port->machine_->received();
        }
        reached_.clear();
    }

private:
    void pass(const Frame& frame, Port& port) {
        if (&port == this) return;
        port.machine_->receive(frame);
        if (std::ranges::find(reached_, &port) == reached_.end()) reached_.push_back(&port);
    }

    std::shared_ptr<Switch> switch_;
    std::string name_;
    NetPort* machine_ = nullptr;  // under ports_lock_
    std::vector<Port*> reached_;  // since the last sent(); some may be gone
};

std::unique_ptr<NetBackend> Switch::connect(std::shared_ptr<Switch> to) {
    return std::make_unique<Port>(std::move(to));
}

Switch::Port* Switch::learn_and_find(std::uint64_t from, Port& port, std::uint64_t to) {
    std::lock_guard lock{stations_lock_};
    if ((from & group_bit) == 0) {
        if (stations_.size() >= most_stations && !stations_.contains(from)) stations_.clear();
        stations_[from] = &port;
    }
    auto found = stations_.find(to);
    return found == stations_.end() ? nullptr : found->second;
}

std::shared_ptr<Switch> Switches::named(const std::string& name) {
    std::shared_ptr<Switch>& found = switches_[name];
    if (!found) found = std::make_shared<Switch>(name);
    return found;
}

}  // namespace undercroft
