// SPDX-License-Identifier: Apache-2.0
#include "monitor/control/protocol.hpp"

#include <gtest/gtest.h>

#include <random>

namespace undercroft::control {
namespace {

std::string refusal(std::string_view line) {
    auto request = parse_request(line);
    return request ? "" : request.error().message;
}

TEST(Protocol, RequestsComeThrough) {
    for (const Request& request :
         {Request{.verb = Verb::List, .machine = {}}, Request{.verb = Verb::Pause, .machine = "web"},
          Request{.verb = Verb::Resume, .machine = "web"}, Request{.verb = Verb::Stop, .machine = "web"},
          Request{.verb = Verb::Stop, .machine = "web", .now = true},
          Request{.verb = Verb::Console, .machine = "\"\\\n\u00e9"},
          Request{.verb = Verb::Balloon, .machine = "web", .bytes = ~std::uint64_t{0}}}) {
        std::string line = line_of(request);
        EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
        auto parsed = parse_request(line);
        ASSERT_TRUE(parsed) << line << parsed.error().message;
        EXPECT_EQ(*parsed, request) << line;
    }
    EXPECT_EQ(line_of(Request{.verb = Verb::Stop, .machine = "web", .now = true}),
              "{\"verb\":\"stop\",\"machine\":\"web\",\"now\":true}\n");
}

TEST(Protocol, WhatIsNoRequestIsRefusedWithTheReason) {
    EXPECT_EQ(refusal(""), "not a JSON object");
    EXPECT_EQ(refusal("{"), "not a JSON object");
    EXPECT_EQ(refusal("[1]"), "not a JSON object");
    EXPECT_EQ(refusal("{\"verb\":\"list\"} x"), "not a JSON object");
    EXPECT_EQ(refusal("{}"), "no 'verb'");
    EXPECT_EQ(refusal("{\"verb\":7}"), "'verb' is of the wrong type");
    EXPECT_EQ(refusal("{\"verb\":\"dance\"}"), "unknown verb 'dance'");
    EXPECT_EQ(refusal("{\"verb\":\"list\",\"machine\":\"a\"}"), "unknown key 'machine'");
    EXPECT_EQ(refusal("{\"verb\":\"pause\"}"), "no 'machine'");
    EXPECT_EQ(refusal("{\"verb\":\"pause\",\"machine\":null}"), "'machine' is of the wrong type");
    EXPECT_EQ(refusal("{\"verb\":\"pause\",\"machine\":\"a\",\"now\":true}"), "unknown key 'now'");
    EXPECT_EQ(refusal("{\"verb\":\"stop\",\"machine\":\"a\",\"now\":1}"), "'now' is of the wrong type");
    EXPECT_EQ(refusal("{\"verb\":\"balloon\",\"machine\":\"a\"}"), "no 'bytes'");
    for (const char* bytes : {"-1", "1.5", "1e3", "\"1\"", "18446744073709551616"}) {
        EXPECT_EQ(refusal(std::string{"{\"verb\":\"balloon\",\"machine\":\"a\",\"bytes\":"} + bytes + "}"),
                  "'bytes' is of the wrong type")
            << bytes;
    }
}

TEST(Protocol, NoBytesAreTooStrange) {
    std::mt19937 random{1};
    std::string deep(4000, '[');
    EXPECT_EQ(refusal(deep), "not a JSON object");
    EXPECT_EQ(refusal("{\"verb\":" + deep), "not a JSON object");
    std::string good = line_of(Request{.verb = Verb::Balloon, .machine = "web", .bytes = 4096});
    for (int round = 0; round < 20000; ++round) {
        std::string line = good;
        for (int change = 0; change < 3; ++change) line[random() % line.size()] = static_cast<char>(random());
        auto request = parse_request(line);
        EXPECT_TRUE(request || !request.error().message.empty());
        line_of(Reply{.error = request ? "" : request.error().message, .machines = {}});  // any bytes
        (void)parse_reply(line);
    }
}

TEST(Protocol, RepliesComeThroughAndAbsentFiguresStayAbsent) {
    Reply reply;
    reply.process = 42;
    reply.time = 12.5;
    reply.frames = 8192;
    MachineStatus status{
        .name = "web", .state = "running", .processors = 2, .memory = 1 << 29, .up = 3.25, .figures = {}};
    status.figures.processor_time = std::chrono::milliseconds{1500};
    status.figures.touched = 4096;
    reply.machines = {status};
    std::string line = line_of(reply);
    EXPECT_EQ(line,
              "{\"ok\":true,\"pid\":42,\"time_s\":12.5,\"frames_bytes\":8192,\"machines\":[{\"name\":\"web\","
              "\"state\":\"running\","
              "\"cpus\":2,\"memory_bytes\":536870912,\"up_s\":3.25,\"processor_s\":1.5,"
              "\"touched_bytes\":4096}]}\n");
    auto parsed = parse_reply(line);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_FALSE(parsed->error);
    EXPECT_EQ(parsed->process, 42u);
    EXPECT_EQ(parsed->frames, 8192u);
    ASSERT_EQ(parsed->machines.size(), 1u);
    const MachineFigures& figures = parsed->machines[0].figures;
    EXPECT_EQ(parsed->machines[0].up, 3.25);
    EXPECT_EQ(figures.processor_time, std::chrono::milliseconds{1500});
    EXPECT_EQ(figures.touched, 4096u);
    EXPECT_FALSE(figures.zero);
    EXPECT_FALSE(figures.switches);
    EXPECT_FALSE(figures.stolen_time);

    auto refused = parse_reply(line_of(Reply{.error = "no \xff", .machines = {}}));
    ASSERT_TRUE(refused) << refused.error().message;
    EXPECT_EQ(refused->error, "no \xef\xbf\xbd");
    for (const char* contradiction :
         {"{\"ok\":true,\"error\":\"x\"}", "{\"ok\":false}", "{\"ok\":true,\"x\":1}"})
        EXPECT_FALSE(parse_reply(contradiction)) << contradiction;
}

}  // namespace
}  // namespace undercroft::control
