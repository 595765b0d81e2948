// SPDX-License-Identifier: Apache-2.0
// KnownCode: what the translator knows of code that it has translated.

#pragma once

#include <cstdint>
#include <vector>

namespace undercroft::direct {

class KnownCode {
public:
    // Offsets in a page where instructions are known to begin; in any order, behind those that are there.
    virtual void add_starts(std::uint64_t pfn, std::vector<std::uint16_t>& offsets) const = 0;
    // The addresses of pages of user code that the present address space has executed since its last flush.
    virtual void add_user_pages(std::vector<std::uint64_t>& pages) const = 0;

protected:
    ~KnownCode() = default;
};

}  // namespace undercroft::direct
