// SPDX-License-Identifier: Apache-2.0
// Time: sleeps that are neither too short nor absurdly long, interval timers, clocks that agree and never
// go back. The bounds are wide, for hosts with other work to do.

#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <x86intrin.h>

#include "result.h"

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void sleeps(void) {
    const double before = seconds(CLOCK_MONOTONIC);
    for (int i = 0; i < 20; i++) nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    const double took = seconds(CLOCK_MONOTONIC) - before;
    check(took >= 0.1 && took < 2.0, "timers.nanosleep", "20 times 5 ms took %f s", took);

    const double short_before = seconds(CLOCK_MONOTONIC);
    for (int i = 0; i < 100; i++) nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    const double short_took = seconds(CLOCK_MONOTONIC) - short_before;
    check(short_took >= 0.005 && short_took < 2.0, "timers.short", "100 times 50 us took %f s", short_took);
}

static volatile int ticks;
static void tick(int signal UNUSED) { ticks++; }

static void interval(void) {
    signal(SIGALRM, tick);
    const struct itimerval period = {.it_interval.tv_usec = 10000, .it_value.tv_usec = 10000}, off = {0};
    setitimer(ITIMER_REAL, &period, NULL);
    const double before = seconds(CLOCK_MONOTONIC);
    volatile uint64_t spins = 0;
    while (ticks < 20 && seconds(CLOCK_MONOTONIC) - before < 10)
        spins = spins + 1;  // a busy program is interrupted
    const double took = seconds(CLOCK_MONOTONIC) - before;
    setitimer(ITIMER_REAL, &off, NULL);
    check(ticks >= 20 && took > 0.15 && took < 5, "timers.itimer", "%d ticks in %f s", ticks, took);

    ticks = 0;
    signal(SIGVTALRM, tick);
    setitimer(ITIMER_VIRTUAL, &period, NULL);
    const double start = seconds(CLOCK_MONOTONIC);
    while (ticks < 5 && seconds(CLOCK_MONOTONIC) - start < 10) spins = spins + 1;
    setitimer(ITIMER_VIRTUAL, &off, NULL);
    check(ticks >= 5, "timers.virtual", "%d ticks of user time", ticks);
}

static void descriptors(void) {
    const int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    if (timer < 0) return skip("timers.timerfd", "none");
    const struct itimerspec period = {.it_interval.tv_nsec = 3000000, .it_value.tv_nsec = 3000000};
    timerfd_settime(timer, 0, &period, NULL);
    uint64_t total = 0, count = 0;
    const double before = seconds(CLOCK_MONOTONIC);
    while (total < 30 && read(timer, &count, 8) == 8) total += count;
    const double took = seconds(CLOCK_MONOTONIC) - before;
    close(timer);
    check(total >= 30 && took >= 0.08 && took < 3, "timers.timerfd", "%lu periods in %f s", total, took);
}

static void clocks(void) {
    double last = seconds(CLOCK_MONOTONIC);
    uint64_t last_tsc = __rdtsc(), backwards = 0;
    const double first = last, first_raw = seconds(CLOCK_MONOTONIC_RAW), first_real = seconds(CLOCK_REALTIME);
    while (last - first < 0.5) {
        const double now = seconds(CLOCK_MONOTONIC);
        const uint64_t tsc = __rdtsc();
        backwards += now < last || tsc < last_tsc;
        last = now, last_tsc = tsc;
    }
    const double raw = seconds(CLOCK_MONOTONIC_RAW) - first_raw, real = seconds(CLOCK_REALTIME) - first_real;
    check(backwards == 0, "timers.monotonic", "%lu times back", backwards);
    check(raw > 0.45 && raw < 0.6 && real > 0.45 && real < 0.6, "timers.agree", "0.5 s, raw %f, real %f", raw,
          real);
    const double used = seconds(CLOCK_PROCESS_CPUTIME_ID);
    check(used > 0.3 && used < 20, "timers.cpu-time", "%f s", used);
    check(first_real > 1.6e9, "timers.date", "the clock says %f", first_real);
}

static void polls(void) {
    const double before = seconds(CLOCK_MONOTONIC);
    struct timeval timeout = {.tv_usec = 30000};
    select(0, NULL, NULL, NULL, &timeout);
    const double took = seconds(CLOCK_MONOTONIC) - before;
    check(took >= 0.03 && took < 1, "timers.select", "30 ms took %f s", took);
}

int main(void) {
    sleeps();
    interval();
    descriptors();
    clocks();
    polls();
}
