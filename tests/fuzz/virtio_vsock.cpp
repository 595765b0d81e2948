// SPDX-License-Identifier: Apache-2.0
// A virtio socket device under anything a guest can do (virtio_guest.hpp), and anything that programs on the
// host do at the other end.
#include "virtio/vsock.hpp"
#include "virtio_guest.hpp"

#include "base/unix_socket.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <vector>

using namespace undercroft;

namespace {

constexpr std::uint32_t cid = 3;
constexpr std::uint32_t listened_port = 7;  // of the host
constexpr std::uint32_t first_caller_port = 1u << 30;

std::string path() { return "/tmp/undercroft-fuzz-vsock-" + std::to_string(getpid()); }

// Programs of the host: one that listens, and those that call or are called.
class Host {
public:
    Host() {
        std::string listened = path() + "_" + std::to_string(listened_port);
        unlink(listened.c_str());
        listener_ = *listen_at_socket(listened);
    }
    ~Host() { unlink((path() + "_" + std::to_string(listened_port)).c_str()); }

    void forget() {
        sockets_.clear();
        accept_all(false);
    }
    void act(fuzz::Input& input) {
        accept_all(true);
        if (input.below(4) == 0) {
            if (auto caller = connect_to_socket(path())) {
                write(*caller, "CONNECT " + std::to_string(input.below(4)) + "\n");
                sockets_.push_back(*std::move(caller));
            }
            return;
        }
        if (sockets_.empty()) return;
        std::size_t which = input.below(static_cast<std::uint32_t>(sockets_.size()));
        Fd& socket = sockets_[which];
        switch (input.below(4)) {
            case 0: write(socket, std::string(input.take<std::uint16_t>(), 'x')); break;
            case 1: {
                std::array<char, 4096> bytes;
                static_cast<void>(recv(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT));
                break;
            }
            case 2: shutdown(socket.get(), static_cast<int>(input.below(3))); break;
            default: sockets_.erase(sockets_.begin() + static_cast<std::ptrdiff_t>(which)); break;
        }
    }

private:
    static constexpr std::size_t most_sockets = 16;

    static void write(const Fd& fd, const std::string& bytes) {
        static_cast<void>(send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
    }
    void accept_all(bool keep) {
        for (;;) {
            Fd socket{accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK)};
            if (!socket) return;
            if (keep && sockets_.size() < most_sockets) sockets_.push_back(std::move(socket));
        }
    }

    Fd listener_;
    std::vector<Fd> sockets_;
};

Host& the_host() {
    static Host host;
    return host;
}

class Guest final : public fuzz::VirtioGuest {
public:
    Guest() { connect(vsock_); }
    ~Guest() { the_host().forget(); }

private:
    void serve() override {
        for (unsigned left = 100; left > 0 && vsock_.serve(); --left) {
        }
        polls_.clear();
        int timeout = 0;
        vsock_.add_polls(polls_, timeout);
        poll(polls_.data(), polls_.size(), 0);
        vsock_.handle(polls_);
        for (unsigned left = 100; left > 0 && vsock_.serve(); --left) {
        }
    }
    void event(fuzz::Input& input) override { the_host().act(input); }

    // A packet that may make sense, or a buffer for one.
    void request(fuzz::Input& input) override {
        std::uint64_t data = free_memory + 0x1000 + input.take<std::uint16_t>() % 0x8000u;
        auto length = std::uint32_t{input.take<std::uint16_t>()} % 0x3000u;
        if (input.below(2) == 0)
            return offer(0, {{free_memory, sizeof(VsockHeader), 3, 1}, {data, length + 1, 2, 0}});
        VsockHeader header{.source_cid = cid,
                           .destination_cid = vsock_host_cid,
                           .source_port = static_cast<std::uint32_t>(input.below(4)),
                           .destination_port = listened_port,
                           .length = length,
                           .type = static_cast<std::uint16_t>(input.below(16) == 0 ? 2 : 1),
                           .operation = VsockOperation{static_cast<std::uint16_t>(input.below(9))},
                           .flags = static_cast<std::uint32_t>(input.below(4)),
                           .buffer_size = input.take<std::uint16_t>(),
                           .forwarded = input.take<std::uint16_t>()};
        if (input.below(2) == 0)
            header.destination_port = first_caller_port + static_cast<std::uint32_t>(input.below(4));
        put(free_memory, header);
        if (length == 0) return offer(1, {{free_memory, sizeof header, 0, 0}});
        offer(1, {{free_memory, sizeof header, 1, 1}, {data, length, 0, 0}});
    }

    std::unique_ptr<VsockHost> host_ = *VsockHost::open({.path = path(), .cid = cid});
    VirtioVsock vsock_{*host_, dma_, lock_};
    std::vector<pollfd> polls_;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    the_host();
    return fuzz::run_guest<Guest>(data, size);
}
