// SPDX-License-Identifier: Apache-2.0
// What --trace records, and where it goes at the end.

#pragma once

#include "base/result.hpp"
#include "cli/run.hpp"
#include "monitor/reports.hpp"
#include "trace/kinds.hpp"

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace undercroft::cli {

class TraceOutput {
public:
    // Makes or empties the file. Error: what is wrong with the arguments, or why the host refuses.
    static Result<TraceOutput> open(const RunArguments& arguments);

    TraceKinds kinds() const { return choice_.kinds; }
    void write(const std::vector<TenantReport>& machines) const;

private:
    enum class Format : std::uint8_t { Table, JsonLines, Chrome };
    struct Closer {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };

    TraceOutput() = default;

    TraceChoice choice_;
    Format format_ = Format::Table;
    std::unique_ptr<std::FILE, Closer> file_;  // null: standard error
};

}  // namespace undercroft::cli
