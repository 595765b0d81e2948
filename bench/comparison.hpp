// SPDX-License-Identifier: Apache-2.0
// Measuring: runs, rows and contestants, interleaved.

#pragma once

#include "contestant.hpp"
#include "results.hpp"
#include "rows.hpp"

#include "base/result.hpp"

#include <vector>

namespace undercroft::bench {

struct Plan {
    Paths paths;
    std::vector<const Row*> rows;
    int runs = 5;
    bool with_qemu = true;
};

// Says on stderr how far it has got. It is an error if a machine does not boot, if a program fails natively
// or in our guest, if contestants come to different answers, or if a guest's clock does not agree with the
// host's.
Result<Results> compare(const Plan& plan);

}  // namespace undercroft::bench
