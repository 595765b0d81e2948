// SPDX-License-Identifier: Apache-2.0
// A stock kernel's sockets to the host and from it, and its source of entropy.

#include "guest_process.hpp"
#include "pattern.hpp"
#include "settings.hpp"
#include "sockets.hpp"

#include "base/unix_socket.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>

namespace undercroft {
namespace {

#define CONSOLE(guest) "console:\n" << (guest).output() << "\nerrors:\n" << (guest).errors()

Fd blocking(Fd fd) {
    EXPECT_TRUE(fd);
    fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) & ~O_NONBLOCK);
    return fd;
}

// Connected to the guest's port 1000.
Fd call(const std::string& path) {
    Fd caller = blocking(*connect_to_socket(path));
    send_all(caller.get(), "CONNECT 1000\n");
    std::string answer;
    char letter = 0;
    while (!answer.ends_with('\n') && recv(caller.get(), &letter, 1, 0) == 1) answer += letter;
    EXPECT_TRUE(answer.starts_with("OK ")) << answer;
    return caller;
}

TEST(Vsock, BothSidesCallEachOther) {
    NEED_GUEST(Image::Tests);
    std::string path = testing::TempDir() + "undercroft-vsock-" + std::to_string(getpid());
    Fd listener = blocking(*listen_at_socket(path + "_2000"));
    std::string sent = pattern(8 << 20);

    std::vector<std::string> arguments = run_script("vsock", Image::Tests);
    arguments.insert(arguments.end(), {"--entropy", "--vsock", path + ",cid=77"});
    GuestProcess guest{arguments};
    std::thread server{[&listener] {
        Fd peer{accept(listener.get(), nullptr, nullptr)};
        std::string bytes;
        receive_until(peer.get(), bytes, [] { return false; });
        send_all(peer.get(), bytes);
    }};
    bool listens = guest.wait_for("VSOCK listens", patience(60));
    shutdown(listener.get(), SHUT_RDWR);
    server.join();
    std::filesystem::remove(path + "_2000");
    ASSERT_TRUE(listens) << CONSOLE(guest);

    for (std::size_t size : {std::size_t{0}, std::size_t{100'000}, sent.size()}) {
        Fd caller = call(path);
        std::string back = converse(caller.get(), std::string_view{sent}.substr(0, size));
        EXPECT_TRUE(back == sent.substr(0, size)) << back.size() << " of " << size;
    }
    // More than a socket holds, and less than that and our room, for who begins to read when the guest has
    // gone.
    std::string last = sent.substr(0, 300'000);
    Fd caller = call(path);
    send_all(caller.get(), last);
    shutdown(caller.get(), SHUT_WR);
    ASSERT_TRUE(guest.wait_for("reboot: Power down", patience(60))) << CONSOLE(guest);
    std::string back;
    receive_until(caller.get(), back, [] { return false; });
    EXPECT_TRUE(back == last) << back.size();
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
    EXPECT_EQ(guest.output().find(" FAIL"), std::string::npos) << CONSOLE(guest);
    EXPECT_EQ(count(guest.output(), " PASS"), 6u) << CONSOLE(guest);
    EXPECT_FALSE(std::filesystem::exists(path)) << "the socket is gone with the machine";
}

}  // namespace
}  // namespace undercroft
