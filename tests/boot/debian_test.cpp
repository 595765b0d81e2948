// SPDX-License-Identifier: Apache-2.0
// A whole Debian 12 with systemd, made by tools/make-debian-image: from a disk and from a folder of the host
// it comes up complete, with its network; one logs in on the console and by SSH, installs a package, reboots,
// powers off.

#include "guest_process.hpp"
#include "loopback.hpp"
#include "settings.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

const std::string cache = GUESTS_CACHE;

// The end of a console of some hundred lines.
std::string end_of(const std::string& text) {
    return text.substr(text.size() > 3000 ? text.size() - 3000 : 0);
}

#define CONSOLE(guest) "console ends:\n" << end_of((guest).output()) << "\nerrors:\n" << (guest).errors()

struct Answer {
    int status = -1;
    std::string text;  // standard output and error
};

struct Debian : testing::Test {
    void SetUp() override {
        for (const char* name : {"debian.img", "debian.vmlinuz", "debian.initrd", "debian", "debian.key"})
            if (!fs::exists(cache + "/" + name)) GTEST_SKIP() << name << " is missing: ./test makes it first";
    }

    std::vector<std::string> run(std::vector<std::string> root) const {
        std::vector<std::string> arguments{"run",
                                           "--kernel",
                                           cache + "/debian.vmlinuz",
                                           "--initrd",
                                           cache + "/debian.initrd",
                                           "--memory",
                                           setting("UNDERCROFT_MEMORY", "512M"),
                                           "--cpus",
                                           setting("UNDERCROFT_CPUS", "1"),
                                           "--reboot",
                                           "--net",
                                           "user",
                                           "--port",
                                           std::to_string(port_) + ":22"};
        arguments.insert(arguments.end(), root.begin(), root.end());
        return arguments;
    }

    // What the command says that the guest runs by SSH.
    Answer by_ssh(const std::string& command) const {
        std::string line = "ssh -i '" + cache + "/debian.key' -p " + std::to_string(port_) +
                           " -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
                           " -o BatchMode=yes -o ConnectTimeout=60 root@127.0.0.1 '" +
                           command + "' 2>&1 </dev/null";
        FILE* pipe = popen(line.c_str(), "r");
        if (pipe == nullptr) return {};
        Answer answer;
        std::array<char, 4096> bytes{};
        while (std::size_t got = std::fread(bytes.data(), 1, bytes.size(), pipe))
            answer.text.append(bytes.data(), got);
        int status = pclose(pipe);
        if (WIFEXITED(status)) answer.status = WEXITSTATUS(status);
        return answer;
    }
    void expect(const std::string& command, const std::string& text) const {
        Answer answer = by_ssh(command);
        EXPECT_EQ(answer.status, 0) << command;
        EXPECT_EQ(answer.text, text) << command;
    }

    // Logs in on the console and waits there until all services are up.
    static void log_in(GuestProcess& guest) {
        ASSERT_TRUE(guest.wait_for("debian login: ", patience(180))) << CONSOLE(guest);
        guest.send("root\n");
        ASSERT_TRUE(guest.wait_for("root@debian:~# ", patience(60))) << CONSOLE(guest);
        guest.send("echo is=$(systemctl is-system-running --wait)\n");
        ASSERT_TRUE(guest.wait_for("is=running", patience(60))) << CONSOLE(guest);
    }
    static void power_off(GuestProcess& guest) {
        guest.send("poweroff\n");
        EXPECT_TRUE(guest.wait_for("reboot: Power down", patience(100))) << CONSOLE(guest);
        EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
    }

    // A package made on the spot, installed by apt-get and removed by dpkg.
    void install_a_package() const {
        Answer answer = by_ssh(
            "set -e; mkdir -p p/DEBIAN p/usr/bin; cd p; echo \"echo it works\" >usr/bin/it-works; "
            "chmod 755 usr/bin/it-works; "
            "printf \"Package: it-works\\nVersion: 1\\nArchitecture: all\\nMaintainer: me\\nDescription: "
            "it\\n\" "
            ">DEBIAN/control; cd ..; dpkg-deb --build p it-works.deb; apt-get install -y ./it-works.deb");
        ASSERT_EQ(answer.status, 0) << answer.text;
        expect("it-works", "it works\n");
        expect("dpkg-query -W -f \"\\${Status}\" it-works", "install ok installed");
        expect("dpkg --audit", "");
    }

    std::uint16_t port_ = free_port();
};

TEST_F(Debian, LivesOnADisk) {
    GuestProcess guest{
        run({"--append", "rw root=/dev/vda", "--disk", cache + "/debian.img,overlay=discard"})};
    ASSERT_NO_FATAL_FAILURE(log_in(guest));
    expect("systemctl --failed --no-legend", "");
    expect("findmnt -n -o FSTYPE /", "ext4\n");
    expect("ip -4 -o address show dev eth0 | grep -o \"10.0.2.15/24.*dynamic\" | wc -l", "1\n");
    expect("ip route show default | cut -d \" \" -f 1-5", "default via 10.0.2.2 dev eth0\n");
    expect("nproc", setting("UNDERCROFT_CPUS", "1") + "\n");
    install_a_package();

    // By SSH, whether the connection or the answer is first to go would be a matter of luck.
    guest.send("sync; systemctl reboot\n");
    ASSERT_NO_FATAL_FAILURE(log_in(guest));
    expect("it-works; dpkg --purge it-works >/dev/null; test -e /usr/bin/it-works || echo gone",
           "it works\ngone\n");
    power_off(guest);
    EXPECT_EQ(count(guest.output(), "Linux version 6.1"), 2u);
}

// Owners are the guest's only for root.
TEST_F(Debian, LivesInAFolder) {
    if (geteuid() != 0) GTEST_SKIP() << "only root can give a folder's files the owners that Debian needs";
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-debian-" + std::to_string(getpid()));
    ASSERT_EQ(std::system(("cp -a '" + cache + "/debian' '" + folder.string() + "'").c_str()), 0);
    {
        GuestProcess guest{
            run({"--append", "rw rootfstype=virtiofs root=share", "--share", folder.string()})};
        ASSERT_NO_FATAL_FAILURE(log_in(guest));
        expect("systemctl --failed --no-legend", "");
        expect("findmnt -n -o FSTYPE /", "virtiofs\n");
        install_a_package();
        power_off(guest);
    }
    EXPECT_TRUE(fs::exists(folder / "usr/bin/it-works"));
    fs::remove_all(folder);
}

}  // namespace
}  // namespace undercroft
