// SPDX-License-Identifier: Apache-2.0
// What an event means, as steps of the chapter's figures: who does what. Private to trace/.

#pragma once

#include "trace/trace.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace undercroft::trace {

enum class Actor : std::uint8_t { Process, OperatingSystem, Monitor };

struct Step {
    Actor actor;
    std::string text;
};

std::vector<Step> steps_of(const TraceMoment& moment);

// "process", "system call" ... with the time in front, whose machine it is (if there are several tracks), and
// a number for each step.
class Table {
public:
    explicit Table(const std::vector<Trace>& traces) : named_{traces.size() > 1} {}

    void add(const TraceMoment& moment);
    std::string text() && { return std::move(text_); }
    // Numbers and times begin anew, below a line of text.
    void begin_part(std::string_view title);

private:
    void add_row(const TraceMoment& moment, const Step& step);

    bool named_;
    std::uint64_t started_ = 0;
    unsigned number_ = 0;
    std::string text_;
};

}  // namespace undercroft::trace
