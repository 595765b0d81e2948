// SPDX-License-Identifier: Apache-2.0
#include "cli/trace_output.hpp"

#include <cerrno>
#include <cstring>

namespace undercroft::cli {

Result<TraceOutput> TraceOutput::open(const RunArguments& arguments) {
    TraceOutput output;
    if (arguments.trace.empty()) {
        bool wanted = !arguments.trace_file.empty() || arguments.trace_format != "table";
        if (wanted)
            return Error{"a trace's file or format, but nothing to record: say what with --trace KINDS"};
        return output;
    }
    auto choice = trace_choice(arguments.trace);
    if (!choice) return choice.error();
    output.choice_ = *choice;
    if (arguments.trace_format == "json") {
        output.format_ = Format::JsonLines;
    } else if (arguments.trace_format == "perfetto") {
        output.format_ = Format::Chrome;
    } else if (arguments.trace_format != "table") {
        return Error{"trace format '" + arguments.trace_format + "': not one of table, json, perfetto"};
    }
    if (arguments.trace_file.empty()) return output;
    output.file_.reset(std::fopen(arguments.trace_file.c_str(), "we"));
    if (output.file_ == nullptr)
        return Error{"trace file '" + arguments.trace_file + "': " + std::strerror(errno)};
    return output;
}

void TraceOutput::write(const std::vector<TenantReport>& machines) const {
    if (choice_.kinds.none()) return;
    std::vector<Trace> traces;
    for (const TenantReport& machine : machines)
        traces.insert(traces.end(), machine.traces.begin(), machine.traces.end());
    std::string text;
    switch (format_) {
        case Format::JsonLines: text = trace_json_lines(traces); break;
        case Format::Chrome: text = trace_chrome(traces); break;
        case Format::Table:
            text = choice_.figure == TraceFigure::None ? trace_table(traces)
                                                       : trace_figure(choice_.figure, traces);
            if (text.empty()) text = "nothing of the kind was recorded\n";
            break;
    }
    std::FILE* to = file_ != nullptr ? file_.get() : stderr;
    std::fwrite(text.data(), 1, text.size(), to);
}

}  // namespace undercroft::cli
