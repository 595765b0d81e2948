// SPDX-License-Identifier: Apache-2.0
// MemoryKeepers: those who take frames away from machines, if there are any.

#pragma once

#include "memory/page_sharing.hpp"
#include "memory/reclaim.hpp"

namespace undercroft {

struct MemoryKeepers {
    PageSharing* sharing = nullptr;
    Reclaim* reclaim = nullptr;

    // While the machine runs.
    void add(MemoryTenant& tenant) const {
        if (sharing != nullptr) sharing->add(tenant);
        if (reclaim != nullptr) reclaim->add(tenant);
    }
    // Also a second time.
    void remove(MemoryTenant& tenant) const {
        if (reclaim != nullptr) reclaim->remove(tenant);
        if (sharing != nullptr) sharing->remove(tenant);
    }
};

}  // namespace undercroft
