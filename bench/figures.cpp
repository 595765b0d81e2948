// SPDX-License-Identifier: Apache-2.0
#include "figures.hpp"

#include "process.hpp"

#include <nlohmann/json.hpp>

namespace undercroft::bench {
namespace {

constexpr double limit_s = 60;
constexpr double mib = 1 << 20;

Result<nlohmann::json> statistics_of(const Contestant& contestant) {
    auto process = Process::start(contestant.command);
    if (!process) return std::move(process.error());
    process->end(limit_s);
    const std::string& said = process->rest();
    std::size_t begin = said.rfind("\n{");
    auto statistics =
        nlohmann::json::parse(begin == std::string::npos ? "" : said.substr(begin), nullptr, false);
    if (statistics.is_discarded()) return Error{"undercroft run --json: no figures"};
    return statistics;
}

}  // namespace

Result<std::vector<Figure>> boot_figures(const Paths& paths) {
    auto statistics = statistics_of(undercroft(paths, "poweroff"));
    if (!statistics) return std::move(statistics.error());
    const nlohmann::json& time = (*statistics)["time"];
    const nlohmann::json& engine = (*statistics)["engine"];
    const nlohmann::json& memory = (*statistics)["memory"];
    auto value = [](const nlohmann::json& object, const char* key) { return object.value(key, missing); };
    double instructions = value(engine, "guest_instructions_translated");
    double code = value(engine, "code_cache_bytes");
    double guest_code = value(engine, "guest_code_bytes_translated");
    return std::vector<Figure>{
        {"guest instructions translated", "instructions", "", instructions},
        {"translation, per guest instruction", "translation_ns", "ns",
         value(time, "translating_s") * 1e9 / instructions},
        {"code expansion", "code_expansion", "×", code / guest_code},
        {"code, per guest instruction", "code_bytes", "bytes", code / instructions},
        {"records, per guest instruction", "record_bytes", "bytes",
         value(engine, "code_cache_record_bytes") / instructions},
        {"memory that the guest touched", "touched_mib", "MiB", value(memory, "guest_touched_bytes") / mib},
        {"memory beyond it", "overhead_mib", "MiB", value(memory, "overhead_bytes") / mib},
    };
}

}  // namespace undercroft::bench
