// SPDX-License-Identifier: Apache-2.0
#include "rows.hpp"

#include <algorithm>
#include <array>

namespace undercroft::bench {
namespace {

constexpr Goal times_native(double at_most) { return {at_most, Against::Native}; }

constexpr std::array<Row, 28> all_rows{{
    {"boot", "boot to init", "", Goal{0.35, Against::QemuMicrovm}},
    {"syscall", "null system call", "syscall", times_native(1.0)},
    {"clock", "clock_gettime", "clock", times_native(1.5)},
    {"fork-exit", "fork and exit", "fork exit", times_native(1.3)},
    {"fork-exec", "fork and exec", "fork exec", times_native(1.3)},
    {"memory-fault", "page fault on fresh memory", "memory fault", times_native(1.3)},
    {"memory-map", "mmap and munmap", "memory map", std::nullopt},
    {"pipe", "pipe ping-pong, two processes", "pipe", times_native(0.4)},
    {"signal", "signal delivery", "signal", std::nullopt},
    {"sha256", "SHA-256", "sha256", times_native(1.3)},
    {"quicksort", "quicksort", "quicksort", times_native(1.3)},
    {"interpreter", "interpreter, indirect calls", "interpreter", times_native(2.0)},
    {"calls", "recursive calls", "calls", times_native(1.6)},
    {"virtual", "C++ virtual calls", "virtual", times_native(2.0)},
    {"chase-l1", "pointer chase in L1", "chase l1", std::nullopt},
    {"chase-l2", "pointer chase in L2", "chase l2", std::nullopt},
    {"chase-memory", "pointer chase in memory", "chase memory", std::nullopt},
    {"copy-small", "memcpy of 1 to 256 bytes", "copy small", std::nullopt},
    {"copy-large", "memcpy of 8 MiB", "copy large", times_native(1.1)},
    {"copy-aliased", "memcpy of 2 KiB, 8 MiB apart", "copy aliased", std::nullopt, false},
    {"copy-movsb", "rep movsb of 256 KiB", "copy movsb", times_native(1.1), false},
    {"strings", "string hash table", "strings", times_native(1.8)},
    {"matrix-sse2", "matrix product, SSE2", "matrix sse2", times_native(2.0)},
    {"matrix-avx2", "matrix product, AVX2", "matrix avx2", times_native(2.0)},
    {"gzip", "gzip (zlib)", "gzip", times_native(1.8)},
    {"sqlite", "SQLite in memory", "sqlite", std::nullopt},
    {"compiler", "a compiler (libtcc)", "compiler", std::nullopt},
    {"shell", "shell loop of 300 commands", "shell", times_native(1.3)},
}};

}  // namespace

std::span<const Row> rows() { return all_rows; }

const Row* find_row(std::string_view name) {
    auto found =
        std::find_if(all_rows.begin(), all_rows.end(), [name](const Row& row) { return row.name == name; });
    return found == all_rows.end() ? nullptr : &*found;
}

}  // namespace undercroft::bench
