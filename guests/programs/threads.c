// SPDX-License-Identifier: Apache-2.0
// Threads: futexes under contention, thread-local storage, atomic operations, a barrier, signals to a thread.

#include <pthread.h>
#include <stdatomic.h>

#include "result.h"

enum { Threads = 8, Rounds = 20000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t guarded;
static atomic_ulong counter, or_bits;
static _Thread_local uint64_t own = 5;
static pthread_barrier_t barrier;
static __int128 wide;

static void* work(void* argument) {
    const uintptr_t number = (uintptr_t)argument;
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < Rounds; i++) {
        pthread_mutex_lock(&mutex);
        guarded = guarded + 1;
        pthread_mutex_unlock(&mutex);
        atomic_fetch_add(&counter, 1);
        atomic_fetch_or(&or_bits, 1UL << (number * 8 + (uintptr_t)i % 8));
        own += number;
        // cmpxchg16b, inline
        uint64_t low, high;
        bool done;
        do {
            low = (uint64_t)wide, high = (uint64_t)(wide >> 64);
            asm volatile("lock cmpxchg16b %1"
                         : "=@ccz"(done), "+m"(wide), "+a"(low), "+d"(high)
                         : "b"(low + 1), "c"(high + (low + 1 == 0)));
        } while (!done);
    }
    return (void*)own;
}

static void contention(void) {
    pthread_t threads[Threads];
    pthread_barrier_init(&barrier, NULL, Threads);
    wide = (__int128)UINT64_MAX - 1000;
    const __int128 before = wide;
    int wrong = 0;
    for (uintptr_t i = 0; i < Threads; i++) pthread_create(&threads[i], NULL, work, (void*)i);
    for (uintptr_t i = 0; i < Threads; i++) {
        void* result;
        pthread_join(threads[i], &result);
        wrong += (uintptr_t)result != 5 + i * Rounds;
    }
    check(guarded == Threads * Rounds, "threads.mutex", "%lu", guarded);
    check(counter == Threads * Rounds, "threads.atomic", "%lu", (unsigned long)counter);
    check(or_bits == UINT64_MAX, "threads.atomic-or", "%#lx", (unsigned long)or_bits);
    check(wide - before == Threads * Rounds, "threads.cmpxchg16b", "%ld", (long)(wide - before));
    check(wrong == 0 && own == 5, "threads.local", "%d wrong", wrong);
}

// Two threads take turns.
static int turn;
static void* take_turns(void* argument) {
    const int mine = (int)(uintptr_t)argument;
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&mutex);
        while (turn % 2 != mine) pthread_cond_wait(&changed, &mutex);
        turn++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void turns(void) {
    pthread_t one, two;
    pthread_create(&one, NULL, take_turns, (void*)0);
    pthread_create(&two, NULL, take_turns, (void*)1);
    pthread_join(one, NULL);
    pthread_join(two, NULL);
    check(turn == 4000, "threads.turns", "%d", turn);
}

static void* nothing(void* argument) { return argument; }

static void many(void) {
    int good = 0;
    for (uintptr_t i = 0; i < 300; i++) {
        pthread_t thread;
        void* result = NULL;
        if (pthread_create(&thread, NULL, nothing, (void*)i) == 0 && pthread_join(thread, &result) == 0)
            good += result == (void*)i;
    }
    check(good == 300, "threads.create", "%d of 300", good);
}

static volatile sig_atomic_t signalled;
static pthread_t receiver;
static void note_thread(int signal UNUSED) {
    signalled += pthread_equal(pthread_self(), receiver) ? 1 : 1000;
}

static void* spin(void* argument UNUSED) {
    while (signalled == 0) {
    }
    return NULL;
}

// A loop without a system call is interrupted by a signal to its thread.
static void signal_to_thread(void) {
    signal(SIGUSR1, note_thread);
    pthread_create(&receiver, NULL, spin, NULL);
    usleep(20000);
    pthread_kill(receiver, SIGUSR1);
    pthread_join(receiver, NULL);
    check(signalled == 1, "threads.signal", "%d", (int)signalled);
}

int main(void) {
    contention();
    turns();
    many();
    signal_to_thread();
}
