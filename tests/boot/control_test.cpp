// SPDX-License-Identifier: Apache-2.0
// The control socket and the verbs that use it, with small kernels; and clients that mean no good.

#include "small_machines.hpp"

#include <sys/stat.h>

namespace undercroft {
namespace {

struct Control : SmallMachines {
    std::string request(int fd, const std::string& line) const {
        EXPECT_EQ(write(fd, line.data(), line.size()), static_cast<ssize_t>(line.size()));
        return answer(fd);
    }
    // Up to the end of a line, or all that comes.
    static std::string answer(int fd) {
        std::string text;
        char byte = 0;
        while (read(fd, &byte, 1) == 1) {
            text += byte;
            if (byte == '\n') break;
        }
        return text;
    }
};

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST_F(Control, MachinesAreListedPausedResumedAndStopped) {
    GuestProcess guests{{"run", machine("echo", small::echo), machine("idle", small::idle, "cpus = 2")}};
    ASSERT_TRUE(guests.wait_for("ready", patience(20)) && guests.wait_for("ready", patience(20)))
        << CONSOLE_OF(guests);

    Ran list = undercroft({"ps"});
    EXPECT_EQ(list.status, 0) << list.errors;
    EXPECT_TRUE(list.output.starts_with("NAME  MONITOR  STATE ")) << list.output;
    EXPECT_TRUE(contains(list.output, "\necho ") && contains(list.output, "\nidle ")) << list.output;
    EXPECT_TRUE(contains(list.output, "32 MiB")) << list.output;
    EXPECT_EQ(undercroft({"pause", "idle"}).status, 0);
    std::string json = undercroft({"ps", "--json"}).output;
    EXPECT_TRUE(contains(json, "{\"machines\":[{\"pid\":" + std::to_string(guests.pid()) +
                                   ",\"name\":\"echo\",\"state\":\"running\",\"cpus\":1,"
                                   "\"memory_bytes\":33554432,\"up_s\":"))
        << json;
    EXPECT_TRUE(contains(json, "\"name\":\"idle\",\"state\":\"paused\",\"cpus\":2")) << json;
    EXPECT_TRUE(contains(json, "\"cpu_percent\":") && contains(json, "\"touched_bytes\":")) << json;
    EXPECT_FALSE(contains(json, "swapped")) << "nobody counts it: " << json;
    EXPECT_EQ(undercroft({"resume", "idle", "--json"}).output, "{\"ok\":true}\n");
    EXPECT_TRUE(contains(undercroft({"ps", "--json"}).output, "\"name\":\"idle\",\"state\":\"running\""));

    EXPECT_EQ(undercroft({"stop", "--now", "idle"}).status, 0);
    guests.send("still there\n");
    EXPECT_TRUE(guests.wait_for("still there", patience(20))) << CONSOLE_OF(guests);
    EXPECT_TRUE(contains(undercroft({"ps", "--json"}).output, "\"name\":\"idle\",\"state\":\"ended\""));
    Ran again = undercroft({"stop", "--now", "idle"});
    EXPECT_EQ(again.status, 1);
    EXPECT_EQ(again.errors, "undercroft: machine 'idle' has ended\n");
    EXPECT_EQ(undercroft({"stop", "--now", "echo"}).status, 0);
    EXPECT_EQ(guests.wait_for_exit(patience(20)), 0) << CONSOLE_OF(guests);
    EXPECT_TRUE(sockets().empty()) << "removed at the end";
}

TEST_F(Control, APausedMachineEchoesWhenItGoesOn) {
    GuestProcess guest{{"run", machine("echo", small::echo)}};
    ASSERT_TRUE(guest.wait_for("ready", patience(20))) << CONSOLE_OF(guest);
    EXPECT_EQ(undercroft({"pause", "echo"}).status, 0);
    guest.send("typed meanwhile");
    EXPECT_TRUE(contains(undercroft({"ps", "--json"}).output, "\"paused\""));
    EXPECT_EQ(undercroft({"resume", "echo"}).status, 0);
    EXPECT_TRUE(guest.wait_for("typed meanwhile", patience(20))) << CONSOLE_OF(guest);
    EXPECT_EQ(undercroft({"pause", "echo"}).status, 0);
    EXPECT_EQ(undercroft({"stop", "--now", "echo"}).status, 0) << "paused machines can be ended";
    EXPECT_EQ(guest.wait_for_exit(patience(20)), 0);
}

// These guests do not listen to their power buttons.
TEST_F(Control, StopSaysWhenAGuestDoesNotPowerOff) {
    GuestProcess guests{{"run", machine("echo", small::echo), machine("idle", small::idle)}};
    ASSERT_TRUE(guests.wait_for("ready", patience(20)) && guests.wait_for("ready", patience(20)))
        << CONSOLE_OF(guests);
    Ran late = undercroft({"stop", "idle", "--timeout", "0.1"});
    EXPECT_EQ(late.status, 1);
    EXPECT_EQ(late.errors,
              "undercroft: machine 'idle' runs on 0.1 s after its power button was pressed; "
              "'undercroft stop --now idle' ends it\n");
    EXPECT_EQ(undercroft({"pause", "idle"}).status, 0);
    EXPECT_EQ(
        undercroft({"stop", "idle"}).errors,
        "undercroft: machine 'idle': it is paused, and cannot power off: resume it first, or end it with "
        "--now\n");
    EXPECT_EQ(undercroft({"stop", "idle", "--timeout", "-1"}).status, 2);

    int waiting = connect_to(sockets().front());
    EXPECT_TRUE(contains(request(waiting, "{\"verb\":\"list\"}\n"), "echo")) << "it is being read";
    std::string stop = "{\"verb\":\"stop\",\"machine\":\"echo\"}\n";
    EXPECT_EQ(write(waiting, stop.data(), stop.size()), static_cast<ssize_t>(stop.size()));
    guests.send("still there\n");
    EXPECT_TRUE(guests.wait_for("still there", patience(20))) << CONSOLE_OF(guests);
    EXPECT_EQ(undercroft({"stop", "echo", "--now"}).status, 0);
    EXPECT_EQ(answer(waiting), "{\"ok\":true}\n") << "it has ended, whoever did it";
    EXPECT_EQ(answer(waiting), "") << "hung up";
    close(waiting);
    EXPECT_EQ(undercroft({"stop", "idle", "--now"}).status, 0) << "although it is paused";
    EXPECT_EQ(guests.wait_for_exit(patience(20)), 0) << CONSOLE_OF(guests);
}

TEST_F(Control, Top) {
    GuestProcess guest{{"run", machine("spin", small::spin)}};
    ASSERT_TRUE(guest.wait_for("ready", patience(20))) << CONSOLE_OF(guest);
    Ran table = undercroft({"top", "--once"});
    EXPECT_EQ(table.status, 0) << table.errors;
    EXPECT_TRUE(contains(table.output, "CPU %") && contains(table.output, "STEAL %") &&
                contains(table.output, "EXITS/s") && contains(table.output, "TOUCHED"))
        << table.output;
    EXPECT_TRUE(contains(table.output, "\nmonitor ") && contains(table.output, " MiB of memory in use, in "))
        << table.output;
    EXPECT_FALSE(contains(table.output, "SWAPPED")) << "nobody counts it: " << table.output;
    EXPECT_TRUE(contains(undercroft({"top", "--once", "--json"}).output, "\"frames_bytes\":"));
    GuestProcess live{{"top"}};  // no terminal: tables, until it is ended
    EXPECT_TRUE(live.wait_for("spin", patience(20)) && live.wait_for("NAME", patience(20)));
    live.terminate();
    EXPECT_EQ(live.wait_for_exit(patience(20)), std::nullopt);
}

// What nobody tells the monitor: how many processes there are, and how often they take turns.
TEST_F(Control, TopShowsProcesses) {
    GuestProcess guest{{"run", machine("two", small::two_processes)}};
    ASSERT_TRUE(guest.wait_for("ready", patience(20))) << CONSOLE_OF(guest);
    std::string shown;
    for (int look = 0; look < 100 && !contains(shown, "\"processes\":2"); ++look)
        shown = undercroft({"top", "--once", "--json"}).output;
    EXPECT_TRUE(contains(shown, "\"processes\":2,\"process_switches_per_s\":")) << shown;
    EXPECT_FALSE(contains(shown, "\"process_switches_per_s\":0.0")) << shown;
    EXPECT_TRUE(contains(undercroft({"top", "--once"}).output, "PSWITCH/s"));
}

TEST_F(Control, ConsolesOfSeveralClients) {
    GuestProcess guest{{"run", machine("echo", small::echo), machine("idle", small::idle)}};
    ASSERT_TRUE(guest.wait_for("ready", patience(20))) << CONSOLE_OF(guest);
    GuestProcess first{{"console", "echo"}};
    EXPECT_TRUE(first.wait_for("ready\n", patience(20))) << "the newest output: " << CONSOLE_OF(first);
    GuestProcess second{{"console", "echo"}};
    EXPECT_TRUE(second.wait_for("ready\n", patience(20)));
    first.send("from the first ");
    EXPECT_TRUE(first.wait_for("from the first ", patience(20))) << CONSOLE_OF(first);
    EXPECT_TRUE(second.wait_for("from the first ", patience(20))) << CONSOLE_OF(second);
    first.terminate();
    EXPECT_EQ(first.wait_for_exit(patience(20)), std::nullopt);
    second.send("from the second\n");
    EXPECT_TRUE(second.wait_for("from the second\n", patience(20))) << CONSOLE_OF(second);
    EXPECT_TRUE(guest.wait_for("from the first from the second", patience(20))) << CONSOLE_OF(guest);
    EXPECT_EQ(undercroft({"stop", "--now", "echo"}).status, 0);
    EXPECT_EQ(second.wait_for_exit(patience(20)), 0) << "ends with the machine";
    EXPECT_EQ(undercroft({"stop", "--now", "idle"}).status, 0);
    EXPECT_EQ(guest.wait_for_exit(patience(20)), 0);
}

TEST_F(Control, WhatCannotBeDoneIsSaid) {
    Ran nobody = undercroft({"pause", "ghost"});
    EXPECT_EQ(nobody.status, 1);
    EXPECT_EQ(nobody.errors, "undercroft: no machine 'ghost'\n");
    EXPECT_EQ(undercroft({"ps"}).output, "NAME  MONITOR  STATE  CPUS  MEMORY  UP  CPU %\n");
    EXPECT_EQ(undercroft({"ps", "--control", "/nonexistent"}).status, 1);
    EXPECT_EQ(undercroft({"pause"}).status, 2);

    GuestProcess guest{{"run", machine("idle", small::idle)}};
    ASSERT_TRUE(guest.wait_for("ready", patience(20))) << CONSOLE_OF(guest);
    EXPECT_EQ(undercroft({"balloon", "idle", "32M"}).status, 1);
    EXPECT_EQ(
        undercroft({"balloon", "idle", "32M", "--json"}).output,
        "{\"ok\":false,\"error\":\"machine 'idle': it has no balloon: it has to be started with one\"}\n");
    EXPECT_EQ(undercroft({"balloon", "idle", "lots"}).status, 2);

    GuestProcess twin{{"run", folder / "idle.toml"}};
    ASSERT_TRUE(twin.wait_for("ready", patience(20))) << CONSOLE_OF(twin);
    Ran ambiguous = undercroft({"pause", "idle"});
    EXPECT_EQ(ambiguous.status, 1);
    EXPECT_TRUE(contains(ambiguous.errors, "several machines 'idle'")) << ambiguous.errors;
    for (const std::string& socket : sockets())
        EXPECT_EQ(undercroft({"stop", "--now", "idle", "--control", socket}).status, 0);
    EXPECT_EQ(guest.wait_for_exit(patience(20)), 0);
    EXPECT_EQ(twin.wait_for_exit(patience(20)), 0);
}

TEST_F(Control, SocketsAreTheUsersOwn) {
    std::string path = folder / "control";
    std::string idle = machine("idle", small::idle);
    GuestProcess guest{{"run", idle, "--control", path}};
    ASSERT_TRUE(guest.wait_for("ready", patience(20))) << CONSOLE_OF(guest);
    struct stat status {};
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    EXPECT_TRUE(sockets().empty());
    Ran second = undercroft({"run", idle, "--control", path});
    EXPECT_EQ(second.status, 2);
    EXPECT_EQ(second.errors, "undercroft: control: " + path + ": Address already in use\n");
    EXPECT_TRUE(contains(undercroft({"ps", "--control", path}).output, "idle"));
    EXPECT_EQ(undercroft({"stop", "--now", "idle", "--control", path}).status, 0);
    EXPECT_EQ(guest.wait_for_exit(patience(20)), 0);
    EXPECT_FALSE(std::filesystem::exists(path));

    std::ofstream{folder / "file"} << "x";
    EXPECT_EQ(undercroft({"run", idle, "--control", folder / "file"}).status, 2);
    EXPECT_TRUE(std::filesystem::exists(folder / "file")) << "not ours to remove";
}

TEST_F(Control, WhatAKilledMonitorLeavesIsRecognised) {
    std::string path = folder / "control";
    std::string idle = machine("idle", small::idle);
    {
        GuestProcess usual{{"run", idle}};
        GuestProcess chosen{{"run", idle, "--control", path}};
        ASSERT_TRUE(usual.wait_for("ready", patience(20)) && chosen.wait_for("ready", patience(20)));
        ASSERT_EQ(sockets().size(), 1u);
    }  // killed
    EXPECT_EQ(sockets().size(), 1u);
    EXPECT_EQ(undercroft({"ps"}).output, "NAME  MONITOR  STATE  CPUS  MEMORY  UP  CPU %\n");
    EXPECT_TRUE(sockets().empty());
    GuestProcess again{{"run", idle, "--control", path}};
    EXPECT_TRUE(again.wait_for("ready", patience(20))) << CONSOLE_OF(again);
    EXPECT_TRUE(contains(undercroft({"ps", "--control", path}).output, "idle"));
}

TEST_F(Control, HostileClientsHurtNobody) {
    std::string path = folder / "control";
    GuestProcess guests{{"run", machine("echo", small::echo),
                         machine("flood", small::flood, "console = 'file:/dev/null'"), "--control", path}};
    ASSERT_TRUE(guests.wait_for("ready", patience(20))) << CONSOLE_OF(guests);

    int fd = connect_to(path);
    EXPECT_EQ(request(fd, "\n"), "{\"ok\":false,\"error\":\"not a JSON object\"}\n");
    EXPECT_EQ(request(fd, "{\"verb\":\"dance\"}\n"), "{\"ok\":false,\"error\":\"unknown verb 'dance'\"}\n");
    EXPECT_EQ(request(fd, std::string(3000, '[') + "\n"), "{\"ok\":false,\"error\":\"not a JSON object\"}\n");
    EXPECT_TRUE(contains(request(fd, "{\"verb\":\"list\"}\n"), "\"name\":\"echo\"")) << "still listened to";
    EXPECT_EQ(request(fd, std::string(5000, 'x')), "{\"ok\":false,\"error\":\"request too long\"}\n");
    EXPECT_EQ(answer(fd), "") << "hung up on";
    close(fd);

    std::vector<int> hanging;
    for (int n = 0; n < 100; ++n) {
        hanging.push_back(connect_to(path));
        std::string half = "{\"verb\":";
        EXPECT_EQ(send(hanging.back(), half.data(), half.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(half.size()));
    }
    // Never reads what the flood prints.
    int deaf = connect_to(path);
    EXPECT_EQ(request(deaf, "{\"verb\":\"console\",\"machine\":\"flood\"}\n"), "{\"ok\":true}\n");
    int dead = connect_to(path);
    EXPECT_EQ(request(dead, "{\"verb\":\"console\",\"machine\":\"flood\"}\n"), "{\"ok\":true}\n");
    close(dead);
    // Types more than the flood, which reads nothing, has room for.
    std::string typed(1 << 20, 'y');
    while (send(deaf, typed.data(), typed.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
    }

    guests.send("still there\n");
    EXPECT_TRUE(guests.wait_for("still there", patience(20))) << CONSOLE_OF(guests);
    EXPECT_TRUE(contains(undercroft({"ps", "--control", path}).output, "flood"));
    for (int each : hanging) close(each);
    close(deaf);
    EXPECT_EQ(undercroft({"stop", "--now", "flood", "--control", path}).status, 0);
    EXPECT_EQ(undercroft({"stop", "--now", "echo", "--control", path}).status, 0);
    EXPECT_EQ(guests.wait_for_exit(patience(20)), 0);
}

}  // namespace
}  // namespace undercroft
