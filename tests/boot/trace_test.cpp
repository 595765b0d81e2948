// SPDX-License-Identifier: Apache-2.0
// run --trace: what it shows of a stock kernel, and of a kernel of a few instructions.

#include "guest_process.hpp"
#include "settings.hpp"
#include "small_machines.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

namespace undercroft {
namespace {

class Traces : public SmallMachines {
protected:
    std::string file = (folder / "trace").string();

    std::string written() const {
        std::ostringstream text;
        text << std::ifstream{file}.rdbuf();
        return text.str();
    }
    // What a stock guest's run recorded.
    std::string stock_guest(const std::string& kinds, const std::string& format) const {
        std::vector<std::string> arguments = run_script("poweroff");
        arguments.insert(arguments.end(), {"--trace", kinds, "--trace-format", format, "--trace-file", file});
        GuestProcess guest{arguments};
        EXPECT_EQ(guest.wait_for_exit(patience(90)), 0) << guest.output() << guest.errors();
        return written();
    }
};

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST_F(Traces, B3) {
    NEED_GUEST(Image::Plain);
    std::string text = stock_guest("B.3", "table");
    EXPECT_TRUE(has(text, "Figure B.3") && has(text, "1. system call ")) << text;
    EXPECT_TRUE(has(text, "2. process trapped: call the OS's trap handler 0xffffffff")) << text;
    EXPECT_TRUE(has(text, "OS tried return from trap: do the real one")) << text;
}

TEST_F(Traces, B4) {
    NEED_GUEST(Image::Plain);
    std::string text = stock_guest("B.4", "table");
    EXPECT_TRUE(has(text, "Figure B.4: machine, address space 0x")) << text;
    EXPECT_GE(std::count(text.begin(), text.end(), '>'), 6) << text;
}

TEST_F(Traces, B6) {
    NEED_GUEST(Image::Plain);
    std::string text = stock_guest("B.6", "table");
    EXPECT_TRUE(has(text, "in the OS's page table: VPN 0x")) << text;
    EXPECT_TRUE(has(text, "in the second-level TLB: VPN 0x")) << text;
    EXPECT_TRUE(has(text, "reflect #PF for 0x")) << text;
}

// Each return is to where the call before it came from, and ticks go forward.
TEST_F(Traces, AStockGuestsSystemCallsReturn) {
    NEED_GUEST(Image::Plain);
    std::istringstream lines{stock_guest("syscalls,processes", "json")};
    std::map<std::string, unsigned> kinds;
    std::uint64_t last = 0;
    std::string expected;
    unsigned returns = 0;
    for (std::string line; std::getline(lines, line);) {
        auto event = nlohmann::json::parse(line);
        if (!event.contains("kind")) continue;
        std::string kind = event.at("kind");
        ++kinds[kind];
        EXPECT_GE(event.at("ns").get<std::uint64_t>(), last);
        last = event.at("ns").get<std::uint64_t>();
        if (kind == "system call") expected = event.at("address");
        if (kind == "system return" && expected == event.at("target")) ++returns;
    }
    EXPECT_GT(returns, kinds["system return"] / 2);
    for (const char* kind : {"system call", "address space"}) EXPECT_GT(kinds[kind], 0u) << kind;
}

TEST_F(Traces, PerfettosFormParses) {
    NEED_GUEST(Image::Plain);
    auto root = nlohmann::json::parse(stock_guest("all", "perfetto"));
    EXPECT_GT(root.at("traceEvents").size(), 1000u);
}

// The second prints only after the first has had to give way.
TEST_F(Traces, MachineSwitchesOfTwoMachines) {
    GuestProcess guests{{"run", machine("one", small::spin), machine("two", small::spin), "--processors", "1",
                         "--trace", "switches"}};
    ASSERT_TRUE(guests.wait_for("ready", patience(20)) && guests.wait_for("ready", patience(20)));
    guests.terminate();
    guests.wait_for_exit(patience(20));
    EXPECT_TRUE(has(guests.errors(), "one/0 ") && has(guests.errors(), "two/0 ")) << guests.errors();
    EXPECT_TRUE(has(guests.errors(), "machine switch: runs on processor ")) << guests.errors();
    EXPECT_TRUE(has(guests.errors(), " is free")) << guests.errors();
}

TEST_F(Traces, BadArguments) {
    std::string kernel = machine("one", small::power_off);
    for (const auto& [arguments, reason] : std::map<std::vector<std::string>, std::string>{
             {{"--trace", "sysc"}, "trace 'sysc': not one of syscalls, traps"},
             {{"--trace", "tlb", "--trace-format", "xml"},
              "trace format 'xml': not one of table, json, perfetto"},
             {{"--trace-file", file}, "say what with --trace KINDS"},
             {{"--trace", "tlb", "--trace-file", "/nowhere/x"}, "trace file '/nowhere/x': No such file"}}) {
        std::vector<std::string> all{"run", kernel};
        all.insert(all.end(), arguments.begin(), arguments.end());
        Ran ran = undercroft(all);
        EXPECT_EQ(ran.status, 2) << reason;
        EXPECT_TRUE(has(ran.errors, reason)) << ran.errors;
    }
}

TEST_F(Traces, ASmallGuestsAccessesStandThere) {
    std::string kernel = machine("one", small::power_off);
    Ran ran = undercroft({"run", kernel, "--trace", "devices"});
    EXPECT_EQ(ran.status, 0);
    EXPECT_TRUE(has(ran.errors, "write port 0x3f8 at 0x")) << ran.errors;
    EXPECT_TRUE(has(ran.errors, "write port 0x600 at 0x")) << ran.errors;
    EXPECT_FALSE(has(ran.errors, "system call")) << ran.errors;
}

}  // namespace
}  // namespace undercroft
