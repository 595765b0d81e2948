// SPDX-License-Identifier: Apache-2.0
// What machines that share frames have, and what it takes of the host: a line for people.

#pragma once

#include <cstdint>
#include <string>

namespace undercroft {

// Bytes: the sum of what the machines have touched (MachineFigures::touched), and the frames that it is in.
std::string memory_summary(std::uint64_t touched, std::uint64_t frames);

}  // namespace undercroft
