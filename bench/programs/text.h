// SPDX-License-Identifier: Apache-2.0
// A fixed text that compresses like prose: words of a small vocabulary, frequent ones first.

#pragma once

#include "bench.h"

BENCH_UNUSED static void write_text(char* text, size_t size) {
    static const char* const words[] = {
        "the",     "of",   "and",       "a",      "to",      "machine",     "in",          "is",
        "monitor", "that", "memory",    "page",   "it",      "processor",   "for",         "with",
        "guest",   "as",   "virtual",   "by",     "each",    "trap",        "register",    "physical",
        "table",   "when", "interrupt", "kernel", "address", "instruction", "translation", "privileged"};
    enum { vocabulary = sizeof words / sizeof words[0] };
    uint64_t state = 11;
    size_t used = 0;
    while (used < size) {
        const uint64_t chance = next_random(&state);
        size_t number = chance >> 59;
        if ((chance >> 32 & 3) != 0) number &= chance >> 40;  // the first words come more often
        const char* word = words[number % vocabulary];
        while (*word != 0 && used < size) text[used++] = *word++;
        if (used < size) text[used++] = (chance >> 20 & 15) == 0 ? '\n' : ' ';
    }
}
