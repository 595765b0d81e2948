// SPDX-License-Identifier: Apache-2.0
#include "engine/step/table.hpp"
namespace undercroft {
TableEntries legacy_entries() { return {}; }
}  // namespace undercroft
