// SPDX-License-Identifier: Apache-2.0
// Tells `perf` what lies where in the code cache, by the file /tmp/perf-PID.map: one line per piece of
// generated code, "start size name" in hexadecimal (tools/perf/Documentation/jit-interface.txt in Linux).
//
// There is one file per process, so this is one per process, too. Pieces are written as they are made; when
// the cache was emptied, later ones name places that had other names before, and perf takes the later ones.

#pragma once

#include "base/result.hpp"
#include "engine/translate/cache/block.hpp"
#include "x86/paging.hpp"

#include <cstdint>

namespace undercroft::translate {

class PerfMap {
public:
    // From now on all pieces are written. To be called before any translation.
    static Result<void> open();

    // `kind` is "" for a block's own code. Called from translated code: general registers only.
    static void add(HostCode begin, HostCode end, const char* kind, AccessMode mode,
                    std::uint64_t rip) noexcept {
        if (fd_ >= 0) write(begin, end, kind, mode, rip);
    }
    static void add(const Block& block) noexcept {
        add(block.code_begin, block.code_end, block.trace ? "_trace" : "", block.mode, block.rip);
        add(block.cold_begin, block.cold_end, "_cold", block.mode, block.rip);
    }

private:
    static void write(HostCode begin, HostCode end, const char* kind, AccessMode mode,
                      std::uint64_t rip) noexcept;

    static inline int fd_ = -1;
};

}  // namespace undercroft::translate
