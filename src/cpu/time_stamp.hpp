// SPDX-License-Identifier: Apache-2.0
// The guest's time-stamp counter.

#pragma once

#include "cpu/environment.hpp"
#include "cpu/vcpu.hpp"

#include <cstdint>

namespace undercroft {

inline std::uint64_t guest_time_stamp(const Vcpu& vcpu) noexcept {
    return vcpu.environment->host_time_stamp() + vcpu.tsc_offset;
}

}  // namespace undercroft
