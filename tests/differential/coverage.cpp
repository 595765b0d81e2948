// SPDX-License-Identifier: Apache-2.0
#include "coverage.hpp"

#include <cstdio>
#include <map>

namespace undercroft::differential {

std::uint64_t executed(const Forms& forms, const Progress& progress) {
    std::uint64_t all = 0;
    for (std::size_t n = 0; n < forms.all().size(); ++n) all += progress.tried[n].load();
    return all;
}

unsigned print_coverage(const Forms& forms, const Progress& progress) {
    constexpr const char* names[] = {"integer", "branch", "stack", "string", "x87",
                                     "MMX",     "SSE",    "AVX",   "system"};
    struct Line {
        unsigned decodable = 0, left_out = 0, tried = 0;
        std::uint64_t executions = 0;
    };
    std::array<Line, group_count> lines{};
    std::map<std::string, std::vector<std::string>> reasons;
    std::vector<std::string> holes;
    for (std::size_t n = 0; n < forms.all().size(); ++n) {
        const Form& form = forms.all()[n];
        Line& line = lines[static_cast<unsigned>(form.group)];
        ++line.decodable;
        line.executions += progress.tried[n].load();
        if (form.left_out != nullptr) {
            ++line.left_out;
            reasons[form.left_out].push_back(form.name);
        } else if (progress.tried[n].load() != 0) {
            ++line.tried;
        } else {
            holes.push_back(form.name);
        }
    }
    std::printf("%-10s %9s %9s %9s %12s\n", "forms", "decodable", "left out", "tried", "executions");
    for (unsigned n = 0; n < group_count; ++n) {
        std::printf("%-10s %9u %9u %9u %12llu\n", names[n], lines[n].decodable, lines[n].left_out,
                    lines[n].tried, static_cast<unsigned long long>(lines[n].executions));
    }
    for (const auto& [reason, left_out] : reasons) {
        std::printf("\nleft out, %zu: %s\n", left_out.size(), reason.c_str());
        for (const std::string& name : left_out) std::printf("    %s\n", name.c_str());
    }
    if (!holes.empty()) std::printf("\nnot tried, %zu:\n", holes.size());
    for (const std::string& name : holes) std::printf("    %s\n", name.c_str());
    return static_cast<unsigned>(holes.size());
}

}  // namespace undercroft::differential
