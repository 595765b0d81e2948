// SPDX-License-Identifier: Apache-2.0
// A stock kernel and networks: a lease, downloads and uploads, a forwarded port, two machines on a switch.

#include "guest_process.hpp"
#include "loopback.hpp"
#include "pattern.hpp"
#include "settings.hpp"
#include "sockets.hpp"

#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

#define CONSOLE(guest) "console:\n" << (guest).output() << "\nerrors:\n" << (guest).errors()

// Answers GET with `document`, and POST with how many bytes came if they are the document's.
class WebServer {
public:
    explicit WebServer(std::string document, in_addr_t at = INADDR_LOOPBACK)
        : document_{std::move(document)}, socket_{at} {
        EXPECT_EQ(listen(socket_.fd, 8), 0);
        thread_ = std::thread{[this] { run(); }};
    }
    ~WebServer() {
        ending_ = true;
        shutdown(socket_.fd, SHUT_RDWR);
        thread_.join();
    }
    std::uint16_t port() const { return socket_.port; }

private:
    void run() {
        while (!ending_) {
            int connection = accept4(socket_.fd, nullptr, nullptr, SOCK_CLOEXEC);
            if (connection < 0) continue;
            answer(connection);
            close(connection);
        }
    }
    void answer(int connection) {
        std::string request;
        std::size_t end = 0;
        receive_until(connection, request,
                      [&] { return (end = request.find("\r\n\r\n")) != std::string::npos; });
        if (end == std::string::npos) return;
        std::string body = document_;
        if (request.starts_with("POST")) {
            std::size_t size = end + 4 + document_.size();
            receive_until(connection, request, [&] { return request.size() >= size; });
            body = request.compare(end + 4, std::string::npos, document_) == 0
                       ? std::to_string(document_.size()) + " bytes\n"
                       : "others\n";
        }
        send_all(connection,
                 "HTTP/1.0 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
        send_all(connection, body);
    }

    std::string document_;
    BoundSocket socket_;
    std::atomic<bool> ending_ = false;
    std::thread thread_;
};

TEST(Network, UserModeBothWays) {
    NEED_GUEST(Image::Plain);
    std::string document = pattern(16 << 20);
    WebServer server{document};
    std::uint16_t forwarded = free_port();
    std::vector<std::string> arguments =
        run_script("network", Image::Plain, "undercroft.port=" + std::to_string(server.port()));
    for (const std::string& more : {std::string{"--net"}, std::string{"user"}, std::string{"--port"},
                                    std::to_string(forwarded) + ":80"})
        arguments.push_back(more);
    GuestProcess guest{arguments};
    ASSERT_TRUE(guest.wait_for("NETWORK serves", patience(120))) << CONSOLE(guest);

    int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(forwarded);
    ASSERT_EQ(connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    send_all(connection, "GET /pattern HTTP/1.0\r\n\r\n");
    std::string got;
    receive_until(connection, got, [] { return false; });
    close(connection);
    std::size_t body = got.find("\r\n\r\n");
    ASSERT_NE(body, std::string::npos) << got.substr(0, 200);
    EXPECT_TRUE(got.compare(body + 4, std::string::npos, document) == 0) << got.size();

    guest.send("enough\n");
    ASSERT_TRUE(guest.wait_for("NETWORK done", patience(60))) << CONSOLE(guest);
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
    EXPECT_EQ(count(guest.output(), " PASS"), 9u) << CONSOLE(guest);
    EXPECT_EQ(guest.output().find(" FAIL"), std::string::npos) << CONSOLE(guest);
}

// In a network of the host's that this process has for itself. The host's kernel counts what the guest leaves
// to it to cut as one packet.
TEST(Network, ATapIsTheHostsOtherEnd) {
    NEED_GUEST(Image::Plain);
    if (unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "no right to make a network";
    auto host = [](const char* command) { return std::system(command) == 0; };  // NOLINT: fixed words
    if (!host("ip tuntap add mode tap name tap0 2>&1")) GTEST_SKIP() << "no right to make a tap, or no ip(8)";
    ASSERT_TRUE(host("ip address add 10.9.0.1/24 dev tap0 && ip link set tap0 up"));
    WebServer server{pattern(16 << 20), INADDR_ANY};
    std::vector<std::string> arguments =
        run_script("tap", Image::Plain,
                   "undercroft.address=10.9.0.2/24 undercroft.server=10.9.0.1 undercroft.port=" +
                       std::to_string(server.port()));
    for (const char* more : {"--net", "tap:tap0"}) arguments.emplace_back(more);
    GuestProcess guest{arguments};
    ASSERT_TRUE(guest.wait_for("TAP done", patience(120))) << CONSOLE(guest);
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
    EXPECT_EQ(count(guest.output(), " PASS"), 6u) << CONSOLE(guest);
    EXPECT_EQ(guest.output().find(" FAIL"), std::string::npos) << CONSOLE(guest);
    EXPECT_TRUE(
        host("ip -s -s link show tap0 | awk '/RX:/ { getline; exit !($1 > 16777216 && $1 > 4000 * $2) }'"))
        << "bytes and packets that came from the guest, acknowledgements among them";
}

TEST(Network, APortInUseIsOneLineAndStatus2) {
    BoundSocket taken;
    ASSERT_EQ(listen(taken.fd, 1), 0);
    std::string port = std::to_string(taken.port) + ":80";
    GuestProcess guest{{"run", "--kernel", "none", "--net", "user", "--port", port}};
    EXPECT_EQ(guest.wait_for_exit(patience(10)), 2);
    EXPECT_EQ(guest.errors(), "undercroft: port 127.0.0.1:" + port + ": Address already in use\n");
}

// One sends the other a file, and then large packets as fast as it can, after which that one still answers.
TEST(Network, TwoMachinesOnASwitch) {
    NEED_GUEST(Image::Plain);
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-switch-" + std::to_string(getpid()));
    fs::create_directories(folder);
    std::vector<std::string> arguments{"run"};
    for (const char* name : {"1", "2"}) {
        fs::path file = folder / (std::string{"station"} + name + ".toml");
        std::ofstream{file} << "kernel = '" << kernel_path() << "'\n"
                            << "initrd = '" << initrd_path(Image::Plain) << "'\n"
                            << "append = 'undercroft.script=station undercroft.address=10.0.0." << name
                            << "/24'\n"
                            << "memory = '256M'\n"
                            << "cpus = " << setting("UNDERCROFT_CPUS", "1") << "\n"
                            << "net = 'switch:lan0'\n";
        arguments.push_back(file.string());
    }
    GuestProcess guests{arguments};
    guests.close_input();
    EXPECT_EQ(guests.wait_for_exit(patience(200)), 0) << CONSOLE(guests);
    EXPECT_EQ(count(guests.output(), " PASS"), 4u) << CONSOLE(guests);
    EXPECT_EQ(guests.output().find(" FAIL"), std::string::npos) << CONSOLE(guests);
    fs::remove_all(folder);
}

}  // namespace
}  // namespace undercroft
