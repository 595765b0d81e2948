// SPDX-License-Identifier: Apache-2.0
// A compiler run: libtcc compiles a fixed C text of 60 functions, in memory.
// Links: -ltcc -ldl -lm -pthread

#include <libtcc.h>

#include "bench.h"

enum { functions = 60, size = 256 << 10 };

static char source[size];

static void write_source(void) {
    size_t used = 0;
    for (int i = 0; i < functions; i++) {
        used += (size_t)snprintf(source + used, size - used,
                                 "struct point%d { int x, y; struct point%d* next; const char* name; };\n"
                                 "static int distance%d(const struct point%d* p, int scale) {\n"
                                 "    int sum = 0;\n"
                                 "    for (; p; p = p->next) {\n"
                                 "        int dx = p->x * scale - %d, dy = (p->y << 2) / (scale | 1);\n"
                                 "        if (dx < 0) dx = -dx; /* the absolute value */\n"
                                 "        switch (dy & 3) {\n"
                                 "        case 0: sum += dx * dy; break;\n"
                                 "        case 1: sum ^= dx + dy; break;\n"
                                 "        default: while (dy > 10) { sum += dy & 0x%x; dy >>= 1; }\n"
                                 "        }\n"
                                 "    }\n"
                                 "    return sum%s;\n"
                                 "}\n"
                                 "int area%d(int a, int b) {\n"
                                 "    struct point%d second = { a, b, 0, \"second\" }, first = { b, a, "
                                 "&second, \"first of %d\" };\n"
                                 "    return distance%d(&first, a) + (int)(1.5 * b);\n"
                                 "}\n",
                                 i, i, i, i, i * 3, i * 5 + 1, i % 2 == 0 ? " + 1" : "", i, i, i, i);
        if (used >= size) exit(1);
    }
}

static void report(void* unused, const char* text) {
    (void)unused;
    fprintf(stderr, "%s\n", text);
}

static uint64_t compile(void) {
    TCCState* state = tcc_new();
    if (state == NULL) exit(1);
    tcc_set_error_func(state, NULL, report);
    tcc_set_options(state, "-nostdlib -nostdinc");
    tcc_set_output_type(state, TCC_OUTPUT_MEMORY);
    if (tcc_compile_string(state, source) != 0) exit(1);
    const int bytes = tcc_relocate(state, NULL);  // the size that it would need
    tcc_delete(state);
    return (uint64_t)bytes;
}

int main(void) {
    write_source();
    bench("compiler", "ms", 1, compile);
}
