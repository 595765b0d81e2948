// SPDX-License-Identifier: Apache-2.0
// The same results three times: for people, for programs, as a picture.

#pragma once

#include "results.hpp"

#include <string>

namespace undercroft::bench {

std::string markdown(const Results& results);  // aligned, so that it reads well as it is, too
std::string json(const Results& results);
std::string svg(const Results& results);

// Three digits, as many as such measurements have: 0.95, 12.3, 1270; "–" for what is missing.
std::string three_digits(double value);

}  // namespace undercroft::bench
