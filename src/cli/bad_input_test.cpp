// SPDX-License-Identifier: Apache-2.0
// What the user can get wrong: one line on standard error that names the thing and the reason, exit status 2,
// and nothing left behind. Runs the program itself.

#include <gtest/gtest.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace {

namespace fs = std::filesystem;

struct Outcome {
    int status = -1;
    std::string text;  // standard error, then standard output
};

struct BadInput : testing::Test {
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-cli-" + std::to_string(getpid()));

    void SetUp() override { fs::create_directories(folder); }
    void TearDown() override { fs::remove_all(folder); }

    std::string file(const std::string& name, const std::string& bytes) const {
        std::ofstream{folder / name, std::ios::binary} << bytes;
        return (folder / name).string();
    }

    static Outcome undercroft(const std::string& arguments, const std::string& program = UNDERCROFT_PROGRAM) {
        std::string command = program + " " + arguments + " 2>&1 </dev/null";
        std::FILE* pipe = popen(command.c_str(), "r");
        Outcome outcome;
        std::array<char, 4096> bytes;
        for (std::size_t n; (n = std::fread(bytes.data(), 1, bytes.size(), pipe)) > 0;) {
            outcome.text.append(bytes.data(), n);
        }
        int status = pclose(pipe);
        outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        return outcome;
    }

    // One line with `reason` in it, and status 2.
    static void expect_refused(const std::string& arguments, const std::string& reason) {
        Outcome outcome = undercroft(arguments);
        EXPECT_EQ(outcome.status, 2) << arguments << "\n" << outcome.text;
        EXPECT_NE(outcome.text.find(reason), std::string::npos) << arguments << "\n" << outcome.text;
        EXPECT_EQ(outcome.text.find('\n'), outcome.text.size() - 1) << "one line: " << outcome.text;
    }
    void expect_nothing_left(std::size_t files) const {
        auto count = std::distance(fs::directory_iterator{folder}, fs::directory_iterator{});
        EXPECT_EQ(static_cast<std::size_t>(count), files);
    }
};

TEST_F(BadInput, Options) {
    expect_refused("", "no command");
    expect_refused("walk", "walk");
    expect_refused("run", "no kernel");
    expect_refused("run --kernel", "--kernel");
    expect_refused("run --kernel x --colour red", "--colour");
    expect_refused("run --kernel x --engine warp", "engine 'warp'");
    expect_refused("run --kernel x --log loud", "log level 'loud'");
    expect_refused("run --kernel x --memory lots", "memory 'lots'");
    expect_refused("run --kernel x --pool lots", "--pool: memory 'lots'");
    expect_refused("run --kernel x --pool 64M --swap /nowhere", "swap file in: '/nowhere': No such file");
    expect_refused("run --kernel x --cpus 0", "--cpus 0: not from 1 to 64");
    expect_refused("run --kernel x --processors 0", "--processors 0: not from 1 to 1024");
    expect_refused("run --kernel x --cpus 65", "--cpus 65: not from 1 to 64");
    expect_refused("run --kernel x --cap 6401", "--cap 6401: not from 1 to 6400");
    expect_refused("run --kernel x --cpus two", "--cpus");
    expect_refused("run --kernel x --cpus 2 --engine lockstep",
                   "lockstep follows one virtual processor only");
    expect_refused("run --kernel x --pv clock", "--pv: paravirtual feature 'clock': not one of all, none");
    expect_refused("run --kernel x --pv steal-time,", "--pv: paravirtual feature ''");
    expect_refused("run --kernel x --memory 1M", "memory '1M': too small");
    expect_refused("run --kernel x --memory 100T", "memory '100T'");
    expect_refused("run --kernel x --memory 100G", "memory '100G': more than 64 GiB");
}

TEST_F(BadInput, MachineFiles) {
    std::string a = file("a.toml", "kernel = '/nonexistent/a'\n");
    std::string b = file("b.toml", "kernel = '/nonexistent/b'\n");
    std::string twin = file("twin.toml", "kernel = 'k'\nname = 'a'\n");
    expect_refused("run " + a + " " + b, "kernel '/nonexistent/a': No such file");
    expect_refused("run " + b + " " + a, "kernel '/nonexistent/b': No such file");
    expect_refused("run " + a + " " + twin, twin + ": name 'a' is that of " + a + ", too");
    expect_refused("run " + a + " " + a, "name 'a' is that of");
    expect_refused("run /nonexistent/a.toml", "machine '/nonexistent/a.toml': No such file");
    expect_refused("run " + file("c.toml", "kernel = 'k'\ncolour = 'red'\n"),
                   "c.toml:2: unknown key 'colour'");
    expect_refused("run " + file("p.toml", "kernel = 'k'\nparavirtual = 'x'\n"), "paravirtual feature 'x'");
    expect_refused("run " + a + " --memory 1G", "--memory describes a machine, and so does " + a);
    expect_refused("run --reboot " + a, "--reboot describes a machine");
    expect_refused("run --kernel x --name 'a b'", "name 'a b'");
    std::string disk = file("disk", std::string(512, 'x'));
    std::string with_disk = "kernel = 'k'\ndisks = ['disk']\n";
    expect_refused("run " + file("d.toml", with_disk) + " " + file("e.toml", with_disk),
                   "disk '" + disk + "': in use");
}

TEST_F(BadInput, Kernels) {
    expect_refused("run --kernel /nonexistent/vmlinuz", "kernel '/nonexistent/vmlinuz': No such file");
    expect_refused("run --kernel " + folder.string(), "not a regular file");
    std::string empty = file("empty", "");
    expect_refused("run --kernel " + empty, "kernel '" + empty + "': empty file");
    expect_refused("run --kernel " + file("text", "This is no kernel. " + std::string(5000, 'x')), "text'");
    std::string elf32 = std::string{"\x7f"} + "ELF\x01\x01\x01" + std::string(5000, '\0');
    expect_refused("run --kernel " + file("elf32", elf32), "32-bit kernel");
    expect_refused("run --kernel " + file("short", std::string{"\x7f"} + "ELF\x02\x01\x01"), "short'");
}

TEST_F(BadInput, AnInitrdIsLookedForBeforeAnythingIsDone) {
    expect_refused("run --kernel x --initrd /nonexistent/initrd",
                   "initrd '/nonexistent/initrd': No such file");
}

TEST_F(BadInput, Disks) {
    expect_refused("run --kernel x --disk", "--disk");
    expect_refused("run --kernel x --disk /nonexistent/disk", "disk '/nonexistent/disk': No such file");
    expect_refused("run --kernel x --disk " + folder.string(), "Is a directory");
    expect_refused("run --kernel x --disk " + folder.string() + ",ro",
                   "neither a regular file nor a block device");
    expect_refused("run --kernel x --disk /dev/null", "neither a regular file nor a block device");
    std::string empty = file("empty", "");
    expect_refused("run --kernel x --disk " + empty, "disk '" + empty + "': empty");
    expect_refused("run --kernel x --disk " + file("odd", std::string(700, 'x')),
                   "700 bytes, not a multiple of 512");
    std::string good = file("good", std::string(512, 'x'));
    expect_refused("run --kernel x --disk " + good + ",rw", "'rw' is not ro, format=raw");
    expect_refused("run --kernel x --disk " + good + " --disk " + good, "disk '" + good + "': in use");
    expect_refused("run --kernel x --disk " + good + " --engine lockstep",
                   "engine lockstep cannot follow what disks write to memory");
    expect_refused("run --kernel /nonexistent/vmlinuz --disk " + good + ",ro --disk " + good + ",ro",
                   "kernel '/nonexistent/vmlinuz'");
    std::string many;
    for (unsigned n = 0; n < 17; ++n) many += " --disk " + good + ",ro";
    expect_refused("run --kernel x" + many, "17 devices (disks, networks, shares, others): at most 16");
}

TEST_F(BadInput, Networks) {
    expect_refused("run --kernel x --net wifi", "network 'wifi': not one of user, tap:NAME, switch:NAME");
    expect_refused("run --kernel x --port 8080:80", "port '8080:80': there is no network of the kind 'user'");
    expect_refused("run --kernel x --net --port 80", "port '80': not HOST-PORT:GUEST-PORT");
    expect_refused("run --kernel x --net --engine lockstep",
                   "engine lockstep cannot follow what networks write to memory");
    expect_refused("run --kernel x --net tap:an-interface-of-too-long-a-name",
                   "network 'tap:an-interface-of-too-long-a-name': not the name of an interface");
    std::string many;
    for (unsigned n = 0; n < 17; ++n) many += " --net switch:lan";
    expect_refused("run --kernel x" + many, "17 devices (disks, networks, shares, others): at most 16");
}

TEST_F(BadInput, Channels) {
    expect_refused("run --kernel x --channel a", "channel 'a': not NAME=unix:PATH");
    expect_refused("run --kernel x --channel 'a b=unix:x'", "name 'a b'");
    expect_refused("run --kernel x --channel a=stdio",
                   "channel 'a': 'stdio' is neither unix:PATH nor file:PATH");
    expect_refused("run --kernel x --channel a=file:x --channel a=file:y", "two channels have the name 'a'");
    expect_refused("run --kernel x --channel a=file:x --engine lockstep", "engine lockstep cannot follow");
    std::string text = file("text", "no kernel");
    expect_refused("run --kernel " + text + " --channel a=unix:" + (folder / "socket").string(), "text'");
    expect_nothing_left(1);
}

TEST_F(BadInput, Sockets) {
    expect_refused("run --kernel x --vsock a,cid=2", "vsock 'a,cid=2': its cid is not from 3 to 4294967294");
    std::string taken = file("taken", "no socket");
    expect_refused("run --kernel x --vsock " + taken, "vsock '" + taken + "': Address already in use");
    expect_refused("run --kernel x --entropy --engine lockstep", "leave entropy and vsock out");
    expect_refused("run --kernel /nonexistent/vmlinuz --vsock " + (folder / "socket").string(),
                   "kernel '/nonexistent/vmlinuz'");
    expect_nothing_left(1);
}

TEST_F(BadInput, Commands) {
    expect_refused("exec", "command is required");
    expect_refused("exec --kernel /nonexistent -- true", "kernel '/nonexistent': No such file");
    expect_refused("exec --kernel " + file("text", "no kernel") + " -- true", "text'");
    expect_refused("exec --kernel /dev/null --memory lots -- true", "memory 'lots'");
    expect_refused("exec --kernel /dev/null --cpus 65 -- true", "--cpus 65: not from 1 to 64");
    expect_refused("exec --env NAME -- true", "--env 'NAME': not NAME=VALUE");
    expect_refused("exec --kernel " + file("k", "x") + " --root /nonexistent -- true", "'/nonexistent'");
}

// A program that stands alone finds what the host has.
TEST_F(BadInput, ACommandWithoutAKernel) {
    utsname host{};
    ::uname(&host);
    if (::access((std::string{"/boot/vmlinuz-"} + host.release).c_str(), R_OK) == 0)
        GTEST_SKIP() << "this host has one";
    fs::path alone = folder / "bin/undercroft";
    fs::create_directory(folder / "bin");
    fs::copy_file(UNDERCROFT_PROGRAM, alone);
    Outcome outcome = undercroft("exec -- true", alone.string());
    EXPECT_EQ(outcome.status, 2);
    EXPECT_TRUE(outcome.text.starts_with("undercroft: no kernel: give one with --kernel FILE"))
        << outcome.text;
    EXPECT_EQ(outcome.text.find('\n'), outcome.text.size() - 1) << "one line";
}

TEST_F(BadInput, ARefusedRunLeavesNoConsoleBehind) {
    std::string kernel = file("text", "no kernel");
    expect_refused("run --kernel " + kernel + " --console file:" + (folder / "log").string(), "text'");
    expect_refused("run --kernel " + kernel + " --console unix:" + (folder / "socket").string(), "text'");
    expect_nothing_left(1);
}

TEST(Help, SaysWhatThereIs) {
    for (const char* arguments : {"--help", "run --help", "exec --help", "--version"}) {
        std::string command = std::string{UNDERCROFT_PROGRAM} + " " + arguments + " >/dev/null 2>&1";
        EXPECT_EQ(std::system(command.c_str()), 0) << arguments;
    }
}

}  // namespace
