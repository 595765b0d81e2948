// SPDX-License-Identifier: Apache-2.0
// What a TLB promises a kernel that changes its mind.

#pragma once

namespace softtlb {

// A write and a flush count at once, for loads, stores and code, whatever else goes on in the TLB meanwhile.
void show_remapping();

}  // namespace softtlb
