// SPDX-License-Identifier: Apache-2.0
#include "engine/step/table.hpp"
namespace undercroft {
TableEntries vector_entries() { return {}; }
}  // namespace undercroft
