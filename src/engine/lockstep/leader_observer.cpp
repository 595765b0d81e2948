// SPDX-License-Identifier: Apache-2.0
// What the leader writes; called from helpers of its translated code.
#include "engine/lockstep/memories.hpp"

namespace undercroft::lockstep {

bool Memories::LeaderObserver::grants_write(GuestPhysical address) noexcept {
    owner_.written_.add(address.page());
    return true;
}

// A device's write comes while the leader is at rest: then there is time to copy it.
void Memories::LeaderObserver::wrote(GuestPhysical address, std::uint64_t length) noexcept {
    for (std::uint64_t page = address.page(); page <= (address + (length - 1)).page(); page++)
        owner_.written_.add(page);
    if (recorder_.recording()) recorder_.device_wrote(owner_.leader_.memory(), address, length);
}

}  // namespace undercroft::lockstep
