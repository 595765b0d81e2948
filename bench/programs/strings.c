// SPDX-License-Identifier: Apache-2.0
// A hash table of strings: formats, hashes, compares and copies 2,000 short words, then looks each up twice.

#include "bench.h"

enum { words = 2000, buckets = 1024, arena_size = 256 << 10 };

struct Entry {
    struct Entry* next;
    uint64_t hash;
    unsigned uses;
    char word[];
};

static struct Entry* table[buckets];
static char arena[arena_size];
static size_t arena_used;

static uint64_t hash_of(const char* word) {
    uint64_t hash = 0xcbf29ce484222325u;
    while (*word != 0) hash = (hash ^ (uint8_t)*word++) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

static struct Entry* find_or_add(const char* word) {
    const uint64_t hash = hash_of(word);
    struct Entry** bucket = &table[hash % buckets];
    for (struct Entry* entry = *bucket; entry != NULL; entry = entry->next) {
        if (entry->hash == hash && strcmp(entry->word, word) == 0) return entry;
    }
    struct Entry* entry = (struct Entry*)(arena + arena_used);
    arena_used += (sizeof *entry + strlen(word) + 1 + 7) / 8 * 8;
    if (arena_used > arena_size) exit(1);
    *entry = (struct Entry){.next = *bucket, .hash = hash};
    strcpy(entry->word, word);
    *bucket = entry;
    return entry;
}

// Writes a word of syllables that only `number` has.
static void spell(unsigned number, char* word) {
    static const char syllables[16][4] = {"ba", "ke", "li",  "mo", "nu", "pra", "se", "tri",
                                          "vo", "wu", "cha", "de", "fi", "go",  "hu", "zar"};
    do {
        word = stpcpy(word, syllables[number & 15]);
        number >>= 4;
    } while (number != 0);
}

static uint64_t count_words(void) {
    char word[64];
    uint64_t sum = 0;
    memset(table, 0, sizeof table);
    arena_used = 0;
    for (unsigned pass = 0; pass < 3; pass++) {
        for (unsigned i = 0; i < words; i++) {
            spell(i * 7919 % words * 31, word);
            struct Entry* entry = find_or_add(word);
            sum += ++entry->uses * (entry->hash & 0xff);
        }
    }
    return sum;
}

int main(void) { bench("strings", "ns", 3.0 * words, count_words); }
