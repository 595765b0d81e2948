// SPDX-License-Identifier: Apache-2.0
// A copy out of a mapped file, which may fail: the host sends SIGBUS where the file has been cut meanwhile,
// or cannot be read.

#pragma once

#include <cstddef>

namespace undercroft {

// Whether all of it was copied; if not, any part was. Installs a handler of SIGBUS when it is first called,
// which passes on all others to whoever had them before.
[[nodiscard]] bool guarded_copy(std::byte* to, const std::byte* from, std::size_t length) noexcept;

}  // namespace undercroft
