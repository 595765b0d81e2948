// SPDX-License-Identifier: Apache-2.0
// SQLite in memory: a table with an index, 200 insertions, 100 queries by the index, an aggregate, an update.
// Links: -lsqlite3 -ldl -pthread -lm

#include <sqlite3.h>

#include "bench.h"

enum { rows = 200, queries = 100 };

static sqlite3* base;

static void run(const char* command) {
    if (sqlite3_exec(base, command, NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", command, sqlite3_errmsg(base));
        exit(1);
    }
}

static sqlite3_stmt* prepare(const char* command) {
    sqlite3_stmt* statement = NULL;
    if (sqlite3_prepare_v2(base, command, -1, &statement, NULL) != SQLITE_OK) exit(1);
    return statement;
}

static void insert_rows(void) {
    sqlite3_stmt* insert = prepare("INSERT INTO item VALUES (?, ?, ?)");
    uint64_t state = 13;
    for (int i = 0; i < rows; i++) {
        char name[32];
        snprintf(name, sizeof name, "item %llu", (unsigned long long)(next_random(&state) >> 44));
        sqlite3_bind_int(insert, 1, i);
        sqlite3_bind_text(insert, 2, name, -1, SQLITE_TRANSIENT);
        sqlite3_bind_int(insert, 3, (int)(next_random(&state) >> 54));
        if (sqlite3_step(insert) != SQLITE_DONE) exit(1);
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
}

static uint64_t sum_of(const char* command, int bound, int times) {
    sqlite3_stmt* query = prepare(command);
    uint64_t sum = 0;
    for (int i = 0; i < times; i++) {
        if (bound != 0) sqlite3_bind_int(query, 1, i * 7 % bound);
        while (sqlite3_step(query) == SQLITE_ROW) sum += (uint64_t)sqlite3_column_int64(query, 0);
        sqlite3_reset(query);
    }
    sqlite3_finalize(query);
    return sum;
}

static uint64_t work(void) {
    if (sqlite3_open(":memory:", &base) != SQLITE_OK) exit(1);
    run("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, value INTEGER)");
    run("CREATE INDEX by_value ON item (value)");
    run("BEGIN");
    insert_rows();
    run("COMMIT");
    uint64_t sum = sum_of("SELECT id FROM item WHERE value = ?", 1024, queries);
    sum += sum_of("SELECT sum(value) + count(DISTINCT name) FROM item", 0, 1);
    run("UPDATE item SET value = value + 1 WHERE name LIKE '%7%'");
    sum = sum * 31 + sum_of("SELECT value FROM item ORDER BY name LIMIT 100", 0, 1);
    sqlite3_close(base);
    return sum;
}

int main(void) { bench("sqlite", "ms", 1, work); }
