// SPDX-License-Identifier: Apache-2.0
// Construction, apart from the rest because it may allocate.

#include "mmu/mmu.hpp"

namespace undercroft {

Mmu::Mmu(GuestMemory& memory, CodePages& code_pages, DeviceMemory& devices, const PagingState& state,
         Tlb& tlb)
    : memory_{memory},
      code_pages_{code_pages},
      devices_{&devices},
      state_{state},
      tlb_{tlb},
      book_{tlb, memory.page_limit()},
      walk_{memory, code_pages, state} {
    code_pages.add_watcher(this);
}

}  // namespace undercroft
