// SPDX-License-Identifier: Apache-2.0
// Prints the frequency of the host's TSC in kHz: for tsc_early_khz on the command line of a guest's kernel,
// which cannot always find it out for itself on a busy host.

#include "base/clock.hpp"

#include <fmt/core.h>

int main() { fmt::print("{}\n", undercroft::HostClock{}.hz() / 1000); }
