// SPDX-License-Identifier: Apache-2.0
// What one machine does to itself leaves the others of its process alone.

#include "small_machines.hpp"

namespace undercroft {
namespace {

struct Isolation : SmallMachines {
    // The first machine of `guests` echoes.
    static void expect_echo(GuestProcess& guests, const std::string& word) {
        guests.send(word + "\n");
        EXPECT_TRUE(guests.wait_for(word, patience(30))) << CONSOLE_OF(guests);
    }
    static bool wait_for_error(GuestProcess& guests, const std::string& text) {
        for (int n = 0; n < 200; ++n) {
            if (guests.errors().find(text) != std::string::npos) return true;
            guests.wait_for("never printed", 0.1);
        }
        return false;
    }
};

TEST_F(Isolation, ATripleFaultEndsItsOwnMachine) {
    GuestProcess guests{{"run", machine("echo", small::echo), machine("bad", small::triple_fault)}};
    EXPECT_TRUE(wait_for_error(guests, "undercroft: bad: triple fault\n")) << CONSOLE_OF(guests);
    EXPECT_NE(guests.errors().find("undercroft: warn: bad: triple fault at "), std::string::npos)
        << "the log names the machine: " << CONSOLE_OF(guests);
    expect_echo(guests, "one");
    EXPECT_EQ(undercroft({"stop", "--now", "echo"}).status, 0);
    EXPECT_EQ(guests.wait_for_exit(patience(20)), 3) << CONSOLE_OF(guests);
}

TEST_F(Isolation, ATripleFaultAgainAndAgain) {
    GuestProcess guests{
        {"run", machine("echo", small::echo), machine("bad", small::triple_fault, "reboot = true")}};
    for (int boot = 0; boot < 5; ++boot)
        EXPECT_TRUE(guests.wait_for("bad  | ready", patience(30))) << CONSOLE_OF(guests);
    expect_echo(guests, "one");
    EXPECT_EQ(undercroft({"stop", "--now", "bad"}).status, 0);
    EXPECT_EQ(undercroft({"stop", "--now", "echo"}).status, 0);
    EXPECT_TRUE(guests.wait_for_exit(patience(20)).has_value()) << CONSOLE_OF(guests);
}

TEST_F(Isolation, WildGuests) {
    GuestProcess guests{{"run", machine("echo", small::echo), machine("spin", small::spin),
                         machine("flood", small::flood, "console = 'file:/dev/null'"),
                         machine("rampage", small::rampage)}};
    EXPECT_TRUE(wait_for_error(guests, "undercroft: rampage: triple fault\n")) << CONSOLE_OF(guests);
    for (const char* word : {"one", "two", "three"}) expect_echo(guests, word);
    EXPECT_EQ(undercroft({"stop", "--now", "spin"}).status, 0) << "with interrupts off, too";
    EXPECT_EQ(undercroft({"stop", "--now", "flood"}).status, 0);
    EXPECT_EQ(undercroft({"stop", "--now", "echo"}).status, 0);
    EXPECT_EQ(guests.wait_for_exit(patience(20)), 3);
}

TEST_F(Isolation, AConsoleThatNobodyReads) {
    std::string path = folder / "console";
    GuestProcess guests{
        {"run", machine("echo", small::echo), machine("flood", small::flood, "console = 'unix:console'")}};
    ASSERT_TRUE(guests.wait_for("ready", patience(20))) << CONSOLE_OF(guests);
    int reader = connect_to(path);  // takes some, and then no more
    char byte = 0;
    EXPECT_EQ(read(reader, &byte, 1), 1);
    for (const char* word : {"one", "two", "three"}) expect_echo(guests, word);
    EXPECT_EQ(undercroft({"pause", "flood"}).status, 0) << "though it waits for its reader";
    EXPECT_EQ(undercroft({"stop", "--now", "flood"}).status, 0);
    EXPECT_EQ(undercroft({"stop", "--now", "echo"}).status, 0);
    EXPECT_EQ(guests.wait_for_exit(patience(20)), 0) << CONSOLE_OF(guests);
    close(reader);
}

// The host's file loses its bytes while the guest has it for a disk: reads fail, for that guest.
TEST_F(Isolation, ADeadDisk) {
    NEED_GUEST(Image::Plain);
    std::string disk = folder / "disk";
    std::ofstream{disk} << std::string(1 << 20, 'x');
    std::filesystem::path file = folder / "bad.toml";
    std::ofstream{file} << "kernel = '" << kernel_path() << "'\ninitrd = '" << initrd_path(Image::Plain)
                        << "'\nappend = 'undercroft.script=shell'\nmemory = '192M'\ndisks = ['disk']\n"
                        << "console = 'unix:console'\n";
    GuestProcess guests{{"run", machine("echo", small::echo), file.string()}};
    ASSERT_TRUE(guests.wait_for("ready", patience(60))) << CONSOLE_OF(guests);
    GuestProcess shell{{"console", "bad"}};
    ASSERT_TRUE(shell.wait_for("init reached", patience(60)) && shell.wait_for("# ", patience(20)))
        << CONSOLE_OF(shell);
    std::filesystem::resize_file(disk, 0);
    shell.send("dd if=/dev/vda of=/dev/null bs=4k count=1 || echo dead=$((1 + 1))\n");
    EXPECT_TRUE(shell.wait_for("dead=2", patience(60))) << CONSOLE_OF(shell);
    expect_echo(guests, "one");
    shell.send("exit\n");
    EXPECT_EQ(shell.wait_for_exit(patience(30)), 0) << CONSOLE_OF(shell);
    EXPECT_EQ(undercroft({"stop", "--now", "echo"}).status, 0);
    EXPECT_EQ(guests.wait_for_exit(patience(20)), 0) << CONSOLE_OF(guests);
}

}  // namespace
}  // namespace undercroft
