// SPDX-License-Identifier: Apache-2.0
#include "user/program.hpp"

namespace softtlb {

void walk(u64 rounds_and_pages) {
    u64 pages = rounds_and_pages & 0xffffffff;
    for (u64 round = 1; round <= rounds_and_pages >> 32; round++) {
        for (u64 page = 0; page < pages; page++) {
            auto* word = reinterpret_cast<volatile u64*>(user::data + page * page_size);
            *word = *word + 1;
            if (*word != round) say("FAIL a page has lost what was written\n");
        }
        yield();
    }
    end();
}

void spin(u64) {
    for (;;) asm volatile("");
}

void doze(u64 ticks) {
    for (unsigned time = 0; time < 10; time++) sleep(ticks);
    end();
}

void keep_secret(u64) {
    auto* word = reinterpret_cast<volatile u64*>(user::data);
    *word = 0x5ec4e7;
    sleep(1);  // the attack goes on until the next tick at least
    expect("a process's data is as it left it", *word, 0x5ec4e7);
    end();
}

}  // namespace softtlb
