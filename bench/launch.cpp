// SPDX-License-Identifier: Apache-2.0
#include "launch.hpp"

#include "process.hpp"

namespace undercroft::bench {

Result<Boot> boot_until(const std::vector<std::string>& command, std::string_view text, double limit_s) {
    auto process = Process::start(command);
    if (!process) return std::move(process.error());
    Boot boot;
    boot.reached = process->take_until(text, limit_s).has_value();
    boot.seconds = seconds_since(process->started());
    const std::string& said = process->rest();
    boot.end_of_output = said.substr(said.size() > 500 ? said.size() - 500 : 0);
    bool ended_itself = !boot.reached && process->output_ended();
    Usage usage = process->end(0);
    boot.processor_s = usage.processor_s;
    boot.peak_rss_mib = usage.peak_rss_mib;
    if (ended_itself) {
        return Error{"ended before '" + std::string{text} + "', having said:\n" + boot.end_of_output}.in(
            "'" + command[0] + "'");
    }
    return boot;
}

}  // namespace undercroft::bench
