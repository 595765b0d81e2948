// SPDX-License-Identifier: Apache-2.0
#include "session.hpp"

#include <fmt/core.h>

#include <array>
#include <sstream>

namespace undercroft::bench {
namespace {

constexpr double power_off_limit_s = 10;

Error silence(const std::string& what, const Process& process) {
    const std::string& said = process.rest();
    return Error{fmt::format(
        "{}; the last it said: {}", what,
        said.empty() ? "nothing" : said.substr(said.size() - std::min<std::size_t>(said.size(), 300)))};
}

}  // namespace

Result<Session> Session::start(const Contestant& contestant, double limit_s) {
    auto process = Process::start(contestant.command);
    if (!process) return std::move(process.error());
    Session session{std::move(*process)};
    if (contestant.kind != Kind::Native) {
        if (!session.process_.take_until(init_line, limit_s))
            return silence("did not reach init", session.process_).in(contestant.name);
        session.boot_s_ = seconds_since(session.process_.started());
    }
    if (!session.process_.take_until("bench: ready", limit_s))
        return silence("init has no script 'bench'", session.process_).in(contestant.name);
    return session;
}

Result<Sample> Session::run(const Row& row, double limit_s) {
    Process::Instant start = std::chrono::steady_clock::now();
    if (auto told = process_.tell(std::string{row.command} + "\n"); !told) return std::move(told.error());
    auto output = process_.take_until("bench: status ", limit_s);
    double wall_s = seconds_since(start);
    auto status = output ? process_.take_until("\n", limit_s) : std::nullopt;
    if (!status) return silence("no answer", process_);
    if (std::atoi(status->c_str()) != 0) return Error{"failed: " + output->substr(0, 300)};
    auto sample = parse_sample(row, *output);
    if (sample) sample->wall_s = wall_s;
    return sample;
}

Usage Session::end(std::string& said) {
    // If it cannot be told any more, it has ended already.
    (void)process_.tell("end\n");
    Usage usage = process_.end(power_off_limit_s);
    said = process_.rest();
    return usage;
}

Result<Sample> parse_sample(const Row& row, const std::string& output) {
    Sample sample;
    std::array<bool, 3> found{};
    std::istringstream lines{output};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words{line};
        std::string kind, name;
        if (!(words >> kind >> name) || name != row.name) continue;
        if (kind == "BENCH") found[0] = static_cast<bool>(words >> sample.value >> sample.unit);
        if (kind == "ANSWER") found[1] = static_cast<bool>(words >> sample.answer);
        if (kind == "TOOK") found[2] = static_cast<bool>(words >> sample.guest_s);
    }
    if (!found[0] || !found[1] || !found[2] || sample.value <= 0)
        return Error{"unexpected output: " + output.substr(0, 300)};
    return sample;
}

}  // namespace undercroft::bench
