// SPDX-License-Identifier: Apache-2.0
#include "protocol.hpp"

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <array>
#include <utility>

namespace undercroft::control {
namespace {

using Json = nlohmann::ordered_json;

struct VerbName {
    Verb verb;
    std::string_view name;
};
constexpr std::array<VerbName, 6> verbs{{{Verb::List, "list"},
                                         {Verb::Pause, "pause"},
                                         {Verb::Resume, "resume"},
                                         {Verb::Stop, "stop"},
                                         {Verb::Console, "console"},
                                         {Verb::Balloon, "balloon"}}};

std::string_view name_of(Verb verb) {
    for (const VerbName& each : verbs) {
        if (each.verb == verb) return each.name;
    }
    return "";
}

struct Count {
    std::string_view name;
    std::optional<std::uint64_t> MachineFigures::*member;
};
constexpr std::array<Count, 11> counts{{{"switches", &MachineFigures::switches},
                                        {"exits", &MachineFigures::exits},
                                        {"process_switches", &MachineFigures::process_switches},
                                        {"processes", &MachineFigures::processes},
                                        {"touched_bytes", &MachineFigures::touched},
                                        {"shared_bytes", &MachineFigures::shared},
                                        {"zero_bytes", &MachineFigures::zero},
                                        {"ballooned_bytes", &MachineFigures::ballooned},
                                        {"swapped_bytes", &MachineFigures::swapped},
                                        {"compressed_bytes", &MachineFigures::compressed},
                                        {"from_disk_bytes", &MachineFigures::from_disk}}};

struct Time {
    std::string_view name;
    std::optional<std::chrono::nanoseconds> MachineFigures::*member;
};
constexpr std::array<Time, 2> times{
    {{"processor_s", &MachineFigures::processor_time}, {"stolen_s", &MachineFigures::stolen_time}}};

// An object whose values are taken one by one; what is left over is unknown.
class Object {
public:
    static Result<Object> parse(std::string_view line) {
        Json json = Json::parse(line, nullptr, false);  // no exceptions
        if (!json.is_object()) return Error{"not a JSON object"};
        return Object{std::move(json)};
    }
    explicit Object(Json json) : json_(std::move(json)) {}  // braces would make an array

    // False: there is none. Of the wrong type: an error.
    template <class T>
    bool take(std::string_view key, T& value) {
        auto found = json_.find(std::string{key});
        if (found == json_.end()) return false;
        bool fits = false;
        if constexpr (std::is_same_v<T, std::string>) {
            fits = found->is_string();
        } else if constexpr (std::is_same_v<T, bool>) {
            fits = found->is_boolean();
        } else if constexpr (std::is_same_v<T, double>) {
            fits = found->is_number();
        } else if constexpr (std::is_same_v<T, Json>) {
            fits = found->is_array();
        } else {
            fits = found->is_number_unsigned();
        }
        if (fits) {
            value = found->template get<T>();
        } else if (error_.empty()) {
            error_ = fmt::format("'{}' is of the wrong type", key);
        }
        json_.erase(found);
        return fits;
    }
    template <class T>
    void need(std::string_view key, T& value) {
        if (!take(key, value) && error_.empty()) error_ = fmt::format("no '{}'", key);
    }
    // After all that is known was taken.
    Result<void> finish() const {
        if (!error_.empty()) return Error{error_};
        if (!json_.empty()) return Error{fmt::format("unknown key '{}'", json_.begin().key())};
        return {};
    }

private:
    Json json_;
    std::string error_;
};

Json object_of(const MachineStatus& status) {
    Json json{{"name", status.name},
              {"state", status.state},
              {"cpus", status.processors},
              {"memory_bytes", status.memory},
              {"up_s", status.up}};
    for (const Time& time : times) {
        const auto& value = status.figures.*time.member;
        if (value) json[std::string{time.name}] = std::chrono::duration<double>{*value}.count();
    }
    for (const Count& count : counts) {
        const auto& value = status.figures.*count.member;
        if (value) json[std::string{count.name}] = *value;
    }
    return json;
}

Result<MachineStatus> status_of(Object object) {
    MachineStatus status;
    object.need("name", status.name);
    object.need("state", status.state);
    object.need("cpus", status.processors);
    object.need("memory_bytes", status.memory);
    object.need("up_s", status.up);
    for (const Time& time : times) {
        double value = 0;
        if (object.take(time.name, value))
            status.figures.*time.member = std::chrono::nanoseconds{static_cast<std::int64_t>(value * 1e9)};
    }
    for (const Count& count : counts) {
        std::uint64_t value = 0;
        if (object.take(count.name, value)) status.figures.*count.member = value;
    }
    if (auto finished = object.finish(); !finished) return finished.error();
    return status;
}

// Bytes that are no UTF-8 (a hostile name in an error) are replaced.
std::string line_of(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

Result<Request> parse_request(std::string_view line) {
    auto object = Object::parse(line);
    if (!object) return object.error();
    Request request;
    std::string verb;
    object->need("verb", verb);
    bool known = false;
    for (const VerbName& each : verbs) {
        if (each.name != verb) continue;
        request.verb = each.verb;
        known = true;
    }
    if (known && request.verb != Verb::List) object->need("machine", request.machine);
    if (known && request.verb == Verb::Stop) object->take("now", request.now);
    if (known && request.verb == Verb::Balloon) object->need("bytes", request.bytes);
    if (!verb.empty() && !known) return Error{fmt::format("unknown verb '{}'", verb)};
    if (auto finished = object->finish(); !finished) return finished.error();
    return request;
}

Result<Reply> parse_reply(std::string_view line) {
    auto object = Object::parse(line);
    if (!object) return object.error();
    Reply reply;
    bool done = false;
    object->need("ok", done);
    std::string error;
    if (object->take("error", error)) reply.error = error;
    object->take("pid", reply.process);
    object->take("time_s", reply.time);
    object->take("frames_bytes", reply.frames);
    Json machines = Json::array();
    object->take("machines", machines);
    for (Json& each : machines) {
        if (!each.is_object()) return Error{"a machine is not an object"};
        auto status = status_of(Object{std::move(each)});
        if (!status) return status.error();
        reply.machines.push_back(*std::move(status));
    }
    if (auto finished = object->finish(); !finished) return finished.error();
    if (done == reply.error.has_value()) return Error{"'ok' and 'error' contradict each other"};
    return reply;
}

std::string line_of(const Request& request) {
    Json json = Json::object();
    json["verb"] = name_of(request.verb);
    if (request.verb != Verb::List) json["machine"] = request.machine;
    if (request.now) json["now"] = true;
    if (request.verb == Verb::Balloon) json["bytes"] = request.bytes;
    return line_of(json);
}

std::string line_of(const Reply& reply) {
    Json json = Json::object();
    json["ok"] = !reply.error.has_value();
    if (reply.error) json["error"] = *reply.error;
    if (reply.process != 0) {
        json["pid"] = reply.process;
        json["time_s"] = reply.time;
        json["frames_bytes"] = reply.frames;
        json["machines"] = Json::array();
        for (const MachineStatus& status : reply.machines) json["machines"].push_back(object_of(status));
    }
    return line_of(json);
}

}  // namespace undercroft::control
