// SPDX-License-Identifier: Apache-2.0
#include "monitor/machine_file.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

struct MachineFileTest : testing::Test {
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-machine-file-" + std::to_string(getpid()));
    std::string path = (folder / "web.toml").string();

    void SetUp() override { fs::create_directories(folder); }
    void TearDown() override { fs::remove_all(folder); }

    Result<TenantOptions> read(const std::string& text) const {
        std::ofstream{path} << text;
        return read_machine_file(path);
    }
    // Without the path, which it has to begin with.
    std::string reason(const std::string& text) const {
        auto machine = read(text);
        if (machine) return "";
        const std::string& message = machine.error().message;
        return message.starts_with(path + ":") ? message.substr(path.size() + 1) : message;
    }
};

TEST_F(MachineFileTest, EveryKey) {
    auto machine = read(R"(
        name = "web-1"
        kernel = "vmlinuz"
        initrd = "/boot/initrd"
        append = "quiet"
        memory = "96M"
        cpus = 2
        disks = ["root.img,format=qcow2", "tools.img,ro", "a.img,overlay=b.qcow2", "a.img,overlay=discard"]
        net = ["switch:lan", "user"]
        ports = ["8080:80"]
        engine = "step"
        console = "unix:console"
        channels = ["agent=unix:agent", "log=file:/var/log/web"]
        log-file = "web.log"
        reboot = true
        weight = 250
        cap = 150
    )");
    ASSERT_TRUE(machine) << machine.error().message;
    auto inside = [this](const char* name) { return (folder / name).string(); };
    EXPECT_EQ(machine->name, "web-1");
    EXPECT_EQ(machine->machine.kernel, inside("vmlinuz"));
    EXPECT_EQ(machine->machine.initrd, "/boot/initrd");
    EXPECT_EQ(machine->machine.command_line, std::string{default_command_line} + " quiet");
    EXPECT_EQ(machine->machine.memory, 96u << 20);
    EXPECT_EQ(machine->machine.processors, 2u);
    ASSERT_EQ(machine->machine.networks.size(), 2u);
    EXPECT_EQ(machine->machine.networks[0].name, "lan");
    EXPECT_EQ(machine->machine.networks[1].ports, std::vector{*port_forward_named("8080:80")});
    ASSERT_EQ(machine->machine.disks.size(), 4u);
    EXPECT_EQ(machine->machine.disks[0].path, inside("root.img"));
    EXPECT_EQ(machine->machine.disks[0].access, DiskAccess::ReadWrite);
    EXPECT_EQ(machine->machine.disks[1].path, inside("tools.img"));
    EXPECT_EQ(machine->machine.disks[1].access, DiskAccess::ReadOnly);
    EXPECT_EQ(machine->machine.disks[0].format, DiskFormat::Qcow2);
    EXPECT_EQ(machine->machine.disks[2].overlay.value().path, inside("b.qcow2"));
    EXPECT_EQ(machine->machine.disks[3].overlay.value().path, "");
    EXPECT_FALSE(machine->machine.disks[0].overlay);
    EXPECT_EQ(machine->machine.engine.kind, EngineKind::Step);
    EXPECT_EQ(machine->console, "unix:" + inside("console"));
    ASSERT_EQ(machine->machine.channels.size(), 2u);
    EXPECT_EQ(machine->machine.channels[0].name, "agent");
    EXPECT_EQ(machine->machine.channels[0].where, "unix:" + inside("agent"));
    EXPECT_EQ(machine->machine.channels[1].where, "file:/var/log/web");
    EXPECT_EQ(machine->log_file, inside("web.log"));
    EXPECT_TRUE(machine->reboot);
    EXPECT_EQ(machine->machine.share.weight, 250u);
    EXPECT_EQ(machine->machine.share.cap_percent, 150u);
}

TEST_F(MachineFileTest, DefaultsAreThoseOfTheCommandLine) {
    auto machine = read("kernel = 'k'");
    ASSERT_TRUE(machine) << machine.error().message;
    EXPECT_EQ(machine->name, "web");
    EXPECT_EQ(machine->machine.memory, 512u << 20);
    EXPECT_EQ(machine->machine.processors, 1u);
    EXPECT_EQ(machine->console, "stdio");
    EXPECT_EQ(machine->log_file, "");
    EXPECT_FALSE(machine->reboot);
    EXPECT_EQ(machine->machine.share.weight, ShareOptions{}.weight);
    EXPECT_EQ(machine->machine.share.cap_percent, 0u);
}

TEST_F(MachineFileTest, WhatIsWrongIsNamedWithItsLine) {
    EXPECT_EQ(reason("kernel = 'k'\ncolour = 'red'\n"), "2: unknown key 'colour'");
    EXPECT_EQ(reason("kernel = 'k'\npool = '1G'\n"),
              "2: pool: belongs to the process, not to one machine: give it as --pool");
    EXPECT_EQ(reason("kernel = 'k'\n[disks]\na = 1\n"), "2: disks: a table, not an array of strings");
    EXPECT_EQ(reason("kernel = 1"), "1: kernel: a whole number, not a string");
    EXPECT_EQ(reason("kernel = ''"), "1: kernel: empty");
    EXPECT_EQ(reason("kernel = \"a\\u0000b\""), "1: kernel: has a zero byte");
    EXPECT_EQ(reason("\n\ncpus = 65"), "3: cpus: 65: not from 1 to 64");
    EXPECT_EQ(reason("cpus = -9223372036854775808"), "1: cpus: -9223372036854775808: not from 1 to 64");
    EXPECT_EQ(reason("cpus = 1.0"), "1: cpus: a number with a point, not a whole number");
    EXPECT_EQ(reason("cpus = '2'"), "1: cpus: a string, not a whole number");
    EXPECT_EQ(reason("memory = 512"), "1: memory: a whole number, not a string");
    EXPECT_EQ(reason("memory = 'lots'"), "1: memory 'lots': not a size such as 512M or 4G");
    EXPECT_EQ(reason("disks = 'a'"), "1: disks: a string, not an array of strings");
    EXPECT_EQ(reason("net = 7"), "1: net: a whole number, not an array of strings");
    EXPECT_EQ(reason("net = 'wifi'"), "1: network 'wifi': not one of user, tap:NAME, switch:NAME");
    EXPECT_EQ(reason("disks = ['a', 7]"), "1: disks: a whole number, not a string");
    EXPECT_EQ(reason("disks = ['a,ro,overlay=b']"),
              "1: disk 'a,ro,overlay=b': 'ro' and an overlay: with an overlay the file is only read anyway");
    EXPECT_EQ(reason("disks = [',ro']"), "1: disk ',ro': no file named");
    EXPECT_EQ(reason("disks = ['a,rw']"),
              "1: disk 'a,rw': 'rw' is not ro, format=raw, format=qcow2, overlay=FILE or overlay=discard");
    EXPECT_EQ(reason("shares = 'a'"), "1: shares: a string, not an array of strings");
    EXPECT_EQ(reason("shares = ['a,rw']"), "1: share 'a,rw': 'rw' is neither 'ro' nor 'tag=NAME'");
    EXPECT_EQ(reason("shares = [',ro']"), "1: share ',ro': no folder");
    EXPECT_EQ(reason("shares = ['a,tag=']"), "1: share 'a,tag=': tag: name '': not from 1 to 32 characters");
    EXPECT_EQ(reason("channels = ['a']"), "1: channel 'a': not NAME=unix:PATH or NAME=file:PATH");
    EXPECT_EQ(reason("engine = 'warp'"), "1: engine 'warp': not one of translate, direct, step, lockstep");
    EXPECT_EQ(reason("vsock = 'a,cid=1'"), "1: vsock 'a,cid=1': its cid is not from 3 to 4294967294");
    EXPECT_EQ(reason("entropy = 'yes'"), "1: entropy: a string, not true or false");
    EXPECT_EQ(reason("reboot = 1"), "1: reboot: a whole number, not true or false");
    EXPECT_EQ(reason("weight = 0"), "1: weight: 0: not from 1 to 10000");
    EXPECT_EQ(reason("weight = 10001"), "1: weight: 10001: not from 1 to 10000");
    EXPECT_EQ(reason("cap = 0"), "1: cap: 0: not from 1 to 6400");
    EXPECT_EQ(reason("cap = 2020-01-01"), "1: cap: a date or time, not a whole number");
}

TEST_F(MachineFileTest, WhatNoLineIsToBlameFor) {
    EXPECT_EQ(reason(""), " no kernel: name one with kernel = \"FILE\"");
    EXPECT_EQ(reason("kernel = 'k'\nname = 'a b'"), " name 'a b': not of letters, digits, '.', '_' and '-'");
    EXPECT_EQ(reason("kernel = 'k'\nname = '-a'"), " name '-a': not of letters, digits, '.', '_' and '-'");
    EXPECT_EQ(reason("kernel = 'k'\nshares = ['a', 'b,ro']"),
              " two shares have the tag 'share': tell them apart with ',tag=NAME'");
    EXPECT_EQ(reason("kernel = 'k'\nengine = 'lockstep'\ncpus = 2"),
              " engine lockstep follows one virtual processor only");
}

TEST_F(MachineFileTest, WhatIsNoToml) {
    EXPECT_TRUE(reason("kernel = 'k'\nkernel = 'l'\n").starts_with("2: "))
        << reason("kernel='k'\nkernel='l'");
    EXPECT_TRUE(reason("kernel = 'k'\n= 7\n").starts_with("2: "));
    EXPECT_TRUE(reason("kernel = 'k").starts_with("1: "));
    EXPECT_TRUE(reason("\xff\xfe").starts_with("1: "));
    EXPECT_EQ(reason("kernel = 'k").find('\n'), std::string::npos);
    EXPECT_EQ(read(std::string(100'000, '#')).error().message, "machine '" + path + "': file too large");
    EXPECT_EQ(read_machine_file("/nonexistent/a.toml").error().message,
              "machine '/nonexistent/a.toml': No such file or directory");
    EXPECT_EQ(read_machine_file(folder.string()).error().message,
              "machine '" + folder.string() + "': not a regular file");
}

}  // namespace
}  // namespace undercroft
