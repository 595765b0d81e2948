// SPDX-License-Identifier: Apache-2.0
// OutputLog: a file that gets all that a console prints, wherever else that goes.

#pragma once

#include "base/fd.hpp"
#include "base/result.hpp"

#include <cstddef>
#include <span>
#include <string>

namespace undercroft {

class OutputLog {
public:
    // Makes the file, or empties it. Errors: "log file 'PATH': reason".
    static Result<OutputLog> open(const std::string& path);

    // A file that takes no more (a full disk) is given up, with a warning; the machine goes on.
    void add(std::span<const std::byte> bytes);

private:
    OutputLog(std::string path, Fd file) : path_{std::move(path)}, file_{std::move(file)} {}

    std::string path_;
    Fd file_;
};

}  // namespace undercroft
