// SPDX-License-Identifier: Apache-2.0
#include "net/user_network.hpp"

#include "base/log.hpp"
#include "net/checksum.hpp"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <slirp/libslirp.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <ctime>
#include <list>
#include <string_view>

namespace undercroft {
namespace {

in_addr ipv4(const char* text) {
    in_addr address{};
    inet_pton(AF_INET, text, &address);
    return address;
}
in6_addr ipv6(const char* text) {
    in6_addr address{};
    inet_pton(AF_INET6, text, &address);
    return address;
}

// libslirp ends connections at the host's sockets, so the size of the guest's packets is nobody else's
// business: large ones cost least.
constexpr unsigned largest_packet = 65520;

constexpr std::int64_t nanoseconds_a_millisecond = 1'000'000;

class SlirpBackend final : public NetBackend {
public:
    explicit SlirpBackend(UserNetwork::Reach reach) {
        SlirpConfig config{};
        config.version = SLIRP_CONFIG_VERSION_MAX;
        config.restricted = reach == UserNetwork::Reach::Restricted ? 1 : 0;
        config.in_enabled = true;
        config.vnetwork = ipv4("10.0.2.0");
        config.vnetmask = ipv4("255.255.255.0");
        config.vhost = ipv4("10.0.2.2");
        config.vdhcp_start = ipv4("10.0.2.15");
        config.vnameserver = ipv4("10.0.2.3");
        config.in6_enabled = true;
        config.vprefix_addr6 = ipv6("fec0::");
        config.vprefix_len = 64;
        config.vhost6 = ipv6("fec0::2");
        config.vnameserver6 = ipv6("fec0::3");
        config.vhostname = "undercroft";
        config.if_mtu = config.if_mru = largest_packet;
        config.disable_dns = reach == UserNetwork::Reach::Restricted;
        slirp_ = slirp_new(&config, &callbacks, this);
    }
    ~SlirpBackend() override {
        if (slirp_ != nullptr) slirp_cleanup(slirp_);
    }
    bool is_good() const { return slirp_ != nullptr; }

    Result<void> forward(const PortForward& port) {
        sockaddr_in host{};
        host.sin_family = AF_INET;
        host.sin_addr = port.host_address;
        host.sin_port = htons(port.host_port);
        sockaddr_in guest{};  // whatever address DHCP gives out
        guest.sin_family = AF_INET;
        guest.sin_addr = ipv4("10.0.2.15");
        guest.sin_port = htons(port.guest_port);
        if (slirp_add_hostxfwd(slirp_, reinterpret_cast<sockaddr*>(&host), sizeof host,
                               reinterpret_cast<sockaddr*>(&guest), sizeof guest,
                               port.udp ? SLIRP_HOSTFWD_UDP : 0) == 0)
            return {};
        return host_error();
    }

    const std::string& name() const override { return name_; }
    Offloads offloads() const override { return {.checksum = true}; }
    unsigned mtu() const override { return largest_packet; }
    void attach(NetPort* port) override { port_ = port; }

    void send(const Frame& frame) override {
        auto bytes = std::span{buffer_}.first(frame.copy_front(buffer_));
        OffloadHeader offload = frame.offload;
        if ((offload.flags & OffloadHeader::NeedsChecksum) != 0) complete_checksum(bytes, offload);
        slirp_input(slirp_, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                    static_cast<int>(bytes.size()));
    }
    void sent() override { told(); }

    void add_polls(std::vector<pollfd>& polls, int& timeout_ms) override {
        std::uint32_t timeout = timeout_ms < 0 ? UINT32_MAX : static_cast<std::uint32_t>(timeout_ms);
        first_poll_ = polls.size();
        slirp_pollfds_fill(
            slirp_, &timeout,
            [](int fd, int events, void* to) {
                auto& list = *static_cast<std::vector<pollfd>*>(to);
                list.push_back({.fd = fd, .events = poll_events(events), .revents = 0});
                return static_cast<int>(list.size() - 1);
            },
            &polls);
        for (const Timer& timer : timers_) {
            if (timer.expires_ms < 0) continue;
            std::int64_t left = std::max<std::int64_t>(timer.expires_ms - now_ms(), 0);
            timeout = static_cast<std::uint32_t>(std::min<std::int64_t>(left, timeout));
        }
        timeout_ms = timeout > INT32_MAX ? -1 : static_cast<int>(timeout);
    }

    void handle(std::span<const pollfd> polls) override {
        Answers answers{polls, first_poll_};
        slirp_pollfds_poll(
            slirp_, 0,
            [](int index, void* opaque) {
                const auto& given = *static_cast<Answers*>(opaque);
                return slirp_events(given.polls[static_cast<std::size_t>(index) - given.first].revents);
            },
            &answers);
        for (Timer& timer : timers_) {
            if (timer.expires_ms < 0 || timer.expires_ms > now_ms()) continue;
            timer.expires_ms = -1;
            slirp_handle_timer(slirp_, timer.id, timer.opaque);
        }
        told();
    }

private:
    struct Timer {
        SlirpTimerId id;
        void* opaque;
        std::int64_t expires_ms = -1;
    };
    struct Answers {
        std::span<const pollfd> polls;
        std::size_t first;
    };

    static std::int64_t now_ns() {
        timespec now{};
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000 * nanoseconds_a_millisecond + now.tv_nsec;
    }
    static std::int64_t now_ms() { return now_ns() / nanoseconds_a_millisecond; }

    static short poll_events(int events) {
        int poll = 0;
        if ((events & SLIRP_POLL_IN) != 0) poll |= POLLIN;
        if ((events & SLIRP_POLL_OUT) != 0) poll |= POLLOUT;
        if ((events & SLIRP_POLL_PRI) != 0) poll |= POLLPRI;
        return static_cast<short>(poll);
    }
    static int slirp_events(int events) {
        int slirp = 0;
        if ((events & POLLIN) != 0) slirp |= SLIRP_POLL_IN;
        if ((events & POLLOUT) != 0) slirp |= SLIRP_POLL_OUT;
        if ((events & POLLPRI) != 0) slirp |= SLIRP_POLL_PRI;
        if ((events & POLLERR) != 0) slirp |= SLIRP_POLL_ERR;
        if ((events & POLLHUP) != 0) slirp |= SLIRP_POLL_HUP;
        return slirp;
    }

    void receive(std::span<const std::byte> bytes) {
        if (port_ == nullptr) return;
        iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
        Frame frame{.offload = {}, .pieces = {&piece, 1}, .size = bytes.size()};
        frame.offload.flags = OffloadHeader::DataValid;  // it has never been on a wire
        port_->receive(frame);
        received_ = true;
    }
    void told() {
        if (std::exchange(received_, false)) port_->received();
    }

    static SlirpBackend& self(void* opaque) { return *static_cast<SlirpBackend*>(opaque); }
    static const SlirpCb callbacks;

    std::string name_ = "user";
    Slirp* slirp_ = nullptr;
    NetPort* port_ = nullptr;
    bool received_ = false;
    std::size_t first_poll_ = 0;
    std::list<Timer> timers_;  // whose addresses libslirp keeps
    std::vector<std::byte> buffer_ = std::vector<std::byte>(Frame::longest);
};

const SlirpCb SlirpBackend::callbacks{
    .send_packet = [](const void* bytes, std::size_t size, void* opaque) -> ssize_t {
        self(opaque).receive({static_cast<const std::byte*>(bytes), size});
        return static_cast<ssize_t>(size);
    },
    .guest_error = [](const char* message,
                      void*) { log(LogLevel::Debug, "user network: the guest: {}", message); },
    .clock_get_ns = [](void*) -> std::int64_t { return now_ns(); },
    .timer_new = nullptr,
    .timer_free =
        [](void* timer, void* opaque) {
            self(opaque).timers_.remove_if([timer](const Timer& each) { return &each == timer; });
        },
    .timer_mod = [](void* timer, std::int64_t ms, void*) { static_cast<Timer*>(timer)->expires_ms = ms; },
    .register_poll_fd = [](int, void*) {},
    .unregister_poll_fd = [](int, void*) {},
    .notify = [](void*) {},
    .init_completed = nullptr,
    .timer_new_opaque = [](SlirpTimerId id, void* timer_opaque, void* opaque) -> void* {
        return &self(opaque).timers_.emplace_back(Timer{.id = id, .opaque = timer_opaque});
    },
};

std::uint16_t port_number(std::string_view text) {
    std::uint16_t port = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    return error == std::errc{} && end == text.data() + text.size() ? port : std::uint16_t{0};
}

std::string text_of(const PortForward& port) {
    std::array<char, INET_ADDRSTRLEN> address{};
    inet_ntop(AF_INET, &port.host_address, address.data(), address.size());
    return fmt::format("{}{}:{}:{}", port.udp ? "udp:" : "", address.data(), port.host_port, port.guest_port);
}

}  // namespace

bool PortForward::operator==(const PortForward& other) const {
    return udp == other.udp && host_address.s_addr == other.host_address.s_addr &&
           host_port == other.host_port && guest_port == other.guest_port;
}

Result<PortForward> port_forward_named(const std::string& text) {
    auto wrong = [&text](std::string_view reason) {
        return Error{fmt::format("port '{}': {}", text, reason)};
    };
    PortForward port{.host_address = {htonl(INADDR_LOOPBACK)}};
    std::string_view rest = text;
    for (std::string_view protocol : {"tcp:", "udp:"}) {
        if (!rest.starts_with(protocol)) continue;
        port.udp = protocol == "udp:";
        rest.remove_prefix(protocol.size());
        break;
    }
    std::size_t last = rest.rfind(':');
    if (last == std::string_view::npos) return wrong("not HOST-PORT:GUEST-PORT");
    port.guest_port = port_number(rest.substr(last + 1));
    rest = rest.substr(0, last);
    if (std::size_t colon = rest.rfind(':'); colon != std::string_view::npos) {
        std::string address{rest.substr(0, colon)};
        if (inet_pton(AF_INET, address.c_str(), &port.host_address) != 1)
            return wrong(fmt::format("'{}' is not an address of IPv4", address));
        rest = rest.substr(colon + 1);
    }
    port.host_port = port_number(rest);
    if (port.host_port == 0 || port.guest_port == 0) return wrong("ports are numbers from 1 to 65535");
    return port;
}

Result<std::unique_ptr<NetBackend>> UserNetwork::open(Reach reach, const std::vector<PortForward>& ports) {
    auto network = std::make_unique<SlirpBackend>(reach);
    if (!network->is_good()) return Error{"network 'user': libslirp refuses to start"};
    for (const PortForward& port : ports) {
        if (auto done = network->forward(port); !done)
            return std::move(done.error()).in("port " + text_of(port));
    }
    return std::unique_ptr<NetBackend>{std::move(network)};
}

}  // namespace undercroft
