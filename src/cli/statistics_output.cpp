// SPDX-License-Identifier: Apache-2.0
#include "statistics_output.hpp"

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <cctype>
#include <string>
#include <string_view>

namespace undercroft::cli {
namespace {

std::string with_thousands(std::uint64_t value) {
    std::string text = std::to_string(value);
    for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) {
        text.insert(static_cast<std::size_t>(at), 1, ' ');
    }
    return text;
}

std::string text_of(const Figure& figure) {
    if (const double* time = std::get_if<double>(&figure.value)) return fmt::format("{:.3f} s", *time);
    std::uint64_t value = std::get<std::uint64_t>(figure.value);
    if (figure.unit == "bytes" && value < 1 << 20)
        return fmt::format("{:.1f} KiB", static_cast<double>(value) / 1024);
    if (figure.unit == "bytes") return fmt::format("{:.1f} MiB", static_cast<double>(value) / (1 << 20));
    return with_thousands(value);
}

std::string key_of(std::string_view name, std::string_view unit) {
    std::string key;
    for (char c : name) {
        bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
        if (plain) {
            key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        } else if (!key.empty() && key.back() != '_') {
            key += '_';
        }
    }
    if (!unit.empty()) key.append("_").append(unit);
    return key;
}

void print_table(std::FILE* to, const Statistics& statistics) {
    for (const StatisticsSection& section : statistics) {
        fmt::print(to, "{}\n", section.name);
        for (const Figure& figure : section.figures) {
            fmt::print(to, "  {:<32} {:>16}\n", figure.name, text_of(figure));
        }
    }
}

nlohmann::ordered_json object_of(const Statistics& statistics) {
    nlohmann::ordered_json root;
    for (const StatisticsSection& section : statistics) {
        auto& object = root[key_of(section.name, "")];
        for (const Figure& figure : section.figures) {
            std::visit([&](auto value) { object[key_of(figure.name, figure.unit)] = value; }, figure.value);
        }
    }
    return root;
}

}  // namespace

void print_tables(std::FILE* to, const std::vector<TenantReport>& machines) {
    for (const TenantReport& machine : machines) {
        if (machines.size() > 1) fmt::print(to, "machine {}\n", machine.name);
        print_table(to, machine.statistics);
    }
}

void print_json(std::FILE* to, const std::vector<TenantReport>& machines) {
    nlohmann::ordered_json root;
    for (const TenantReport& machine : machines) root[machine.name] = object_of(machine.statistics);
    if (machines.size() == 1) root = object_of(machines.front().statistics);
    fmt::print(to, "{}\n", root.dump(2));
}

}  // namespace undercroft::cli
