// SPDX-License-Identifier: Apache-2.0
// Recursive calls: Fibonacci numbers the slow way, every call a call.

#include "bench.h"

enum { depth = 26 };

// Neither unrolled into itself nor turned into a loop.
__attribute__((noinline, noclone, optimize("no-optimize-sibling-calls", "no-inline"))) static uint64_t
fibonacci(unsigned n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static uint64_t compute(void) { return fibonacci(depth); }

int main(void) {
    // fibonacci(n) makes 2 F(n+1) - 1 calls.
    double calls = 2.0 * (double)fibonacci(depth + 1) - 1;
    bench("calls", "ns", calls, compute);
}
