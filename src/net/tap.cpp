// SPDX-License-Identifier: Apache-2.0
#include "net/tap.hpp"

#include "base/fd.hpp"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace undercroft {
namespace {

class Tap final : public NetBackend {
public:
    Tap(Fd fd, std::string name) : fd_{std::move(fd)}, name_{std::move(name)} {}

    const std::string& name() const override { return name_; }
    Offloads offloads() const override { return {.checksum = true, .segments = true}; }
    unsigned mtu() const override { return 1500; }
    void attach(NetPort* port) override { port_ = port; }

    // What the host's interface does not take, or has no room for, is lost, as on a wire.
    void send(const Frame& frame) override {
        pieces_.clear();
        OffloadHeader offload = frame.offload;
        pieces_.push_back({&offload, sizeof offload});
        std::size_t count = std::min(frame.pieces.size(), std::size_t{most_pieces - 1});
        pieces_.insert(pieces_.end(), frame.pieces.begin(), frame.pieces.begin() + static_cast<long>(count));
        if (count < frame.pieces.size()) return;
        if (writev(fd_.get(), pieces_.data(), static_cast<int>(pieces_.size())) < 0) return;
    }

    void set_receive_offloads(Offloads offloads) override {
        unsigned long flags = 0;
        if (offloads.checksum) flags |= TUN_F_CSUM;
        if (offloads.checksum && offloads.segments) flags |= TUN_F_TSO4 | TUN_F_TSO6;
        static_cast<void>(ioctl(fd_.get(), TUNSETOFFLOAD, flags));  // it can: see open_tap()
    }

    void add_polls(std::vector<pollfd>& polls, int&) override {
        polls.push_back({.fd = fd_.get(), .events = POLLIN, .revents = 0});
    }
    void handle(std::span<const pollfd> polls) override {
        if ((polls[0].revents & POLLIN) == 0) return;
        constexpr unsigned most_at_once = 64;
        for (unsigned n = 0; n < most_at_once && read_one(); ++n) {
        }
        port_->received();
    }

private:
    static constexpr std::size_t most_pieces = 1024;  // UIO_MAXIOV

    bool read_one() {
        ssize_t got = read(fd_.get(), buffer_.data(), buffer_.size());
        if (got < static_cast<ssize_t>(sizeof(OffloadHeader) + Frame::shortest)) return false;
        Frame frame;
        std::memcpy(&frame.offload, buffer_.data(), sizeof frame.offload);
        frame.size = static_cast<std::size_t>(got) - sizeof frame.offload;
        iovec piece{buffer_.data() + sizeof frame.offload, frame.size};
        frame.pieces = {&piece, 1};
        port_->receive(frame);
        return true;
    }

    Fd fd_;
    std::string name_;
    NetPort* port_ = nullptr;
    std::vector<iovec> pieces_;
    std::vector<std::byte> buffer_ = std::vector<std::byte>(sizeof(OffloadHeader) + Frame::longest);
};

}  // namespace

Result<std::unique_ptr<NetBackend>> open_tap(const std::string& interface) {
    std::string name = "tap:" + interface;
    auto failed = [&name](Error error) { return std::move(error).in("network '" + name + "'"); };
    ifreq request{};
    if (interface.empty() || interface.size() >= sizeof request.ifr_name)
        return failed(Error{"not the name of an interface"});
    Fd fd{open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
    if (!fd) return failed(std::move(host_error()).in("/dev/net/tun"));
    std::memcpy(request.ifr_name, interface.data(), interface.size());
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    int header = sizeof(OffloadHeader);
    if (ioctl(fd.get(), TUNSETIFF, &request) != 0 || ioctl(fd.get(), TUNSETVNETHDRSZ, &header) != 0 ||
        ioctl(fd.get(), TUNSETOFFLOAD, 0ul) != 0)
        return failed(host_error());
    return std::unique_ptr<NetBackend>{new Tap{std::move(fd), std::move(name)}};
}

}  // namespace undercroft
