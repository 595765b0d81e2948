// SPDX-License-Identifier: Apache-2.0
// A program on the host talks to the shell of a stock guest through a channel.

#include "guest_process.hpp"
#include "settings.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

#define CONSOLE(guest) "console:\n" << (guest).output() << "\nerrors:\n" << (guest).errors()

TEST(Channels, ConnectTheGuestWithTheHost) {
    NEED_GUEST(Image::Plain);
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-channels-" + std::to_string(getpid()));
    fs::create_directories(folder);
    std::vector<std::string> arguments = run_script("shell");
    arguments.insert(arguments.end(), {"--channel", "talk=unix:" + (folder / "talk").string(), "--channel",
                                       "log=file:" + (folder / "log").string()});
    GuestProcess guest{arguments};
    ASSERT_TRUE(guest.wait_for("# ", patience(60))) << CONSOLE(guest);
    int client = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, (folder / "talk").c_str());
    ASSERT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::send(client, "question\n", 9, 0), 9);
    guest.send(
        "cd /sys/class/virtio-ports; grep -H . */name; port() { echo /dev/$(dirname $(grep -l \"^$1\\$\" "
        "*/name)); }\n"
        "exec 5<>$(port talk); read -r word <&5; echo heard=$word; echo answer >&5; echo all >$(port log)\n");
    EXPECT_TRUE(guest.wait_for("heard=question", patience(30))) << CONSOLE(guest);
    std::string answer(7, '\0');
    EXPECT_EQ(::recv(client, answer.data(), answer.size(), MSG_WAITALL), 7);
    EXPECT_EQ(answer, "answer\n");
    auto log = [&folder] {
        std::ifstream stream{folder / "log"};
        return std::string{std::istreambuf_iterator<char>{stream}, {}};
    };
    for (unsigned tries = 0; log() != "all\n" && tries < 300; ++tries) guest.wait_for("nothing more", 0.1);
    EXPECT_EQ(log(), "all\n");
    guest.send("exit\n");
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
    ::close(client);
    fs::remove_all(folder);
}

}  // namespace
}  // namespace undercroft
