// SPDX-License-Identifier: Apache-2.0
// Programs that compute, with everything in between that may come between: so that the monitor executes most
// of this in its second gear (direct execution), and has to leave it, and come back, in every way. `direct
// spin` computes for good.

#include <cpuid.h>
#include <fcntl.h>
#include <fenv.h>
#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>

#include "burst.h"
#include "result.h"

static void computing(void) {
    check(one_by_one(1, 30 * Burst) == at_once(1, 30 * Burst), "direct.compute", "wrong");
}

static uint64_t read_at(const volatile void* address) { return *(const volatile uint64_t*)address; }
static void write_at(volatile void* address, uint64_t value) { *(volatile uint64_t*)address = value; }

static void memory(void) {
    enum { Pages = 300 };
    volatile unsigned wrong = 0, missed = 0;
    for (volatile unsigned round = 0; round < 12; round++) {
        uint8_t* pages = map_pages(Pages, PROT_READ | PROT_WRITE);
        for (unsigned n = 0; n < Pages; n++) wrong += read_at(pages + n * PAGE) != 0;
        for (unsigned n = 0; n < Pages; n++) write_at(pages + n * PAGE, at_once(n, round));
        wrong += !burst(round);
        pages = mremap(pages, Pages * PAGE, 2 * Pages * PAGE, MREMAP_MAYMOVE);
        if (pages == MAP_FAILED) exit(1);
        for (unsigned n = 0; n < Pages; n++) wrong += read_at(pages + n * PAGE) != at_once(n, round);
        for (unsigned n = 0; n < Pages; n++) wrong += read_at(pages + (Pages + n) * PAGE) != 0;
        uint8_t* odd = pages + (2 * round + 1) * PAGE;
        mprotect(odd, PAGE, PROT_READ);
        wrong += !burst(round);
        missed += !CATCHES(write_at(odd + 8, 1)) || caught.address != (uint64_t)odd + 8;
        wrong += read_at(odd + 8) != 0;
        mprotect(odd, PAGE, PROT_NONE);
        missed += !CATCHES(read_at(odd)) || caught.address != (uint64_t)odd;
        mprotect(odd, PAGE, PROT_READ | PROT_WRITE);
        wrong += read_at(odd) != at_once(2 * round + 1, round);
        write_at(odd, 7);
        // Its neighbours' content at its own place.
        if (mremap(odd - PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, odd) != odd) exit(1);
        wrong += read_at(odd) != at_once(2 * round, round);
        missed += !CATCHES(read_at(odd - PAGE));
        madvise(odd, PAGE, MADV_DONTNEED);
        wrong += read_at(odd) != 0;
        munmap(pages, 2 * Pages * PAGE);
        missed += !CATCHES(read_at(pages));
    }
    check(wrong == 0, "direct.memory", "%u wrong", wrong);
    check(missed == 0, "direct.faults", "%u missed or elsewhere", missed);
}

static void copy_on_write(void) {
    enum { Pages = 200 };
    uint8_t* pages = map_pages(Pages, PROT_READ | PROT_WRITE);
    unsigned wrong = 0;
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned n = 0; n < Pages; n++) write_at(pages + n * PAGE, round + n);
        wrong += !burst(round);
        const pid_t child = fork();
        const unsigned mine = child == 0 ? 1000 : 2000;
        unsigned bad = 0;
        for (unsigned n = round % 2; n < Pages; n += 2) write_at(pages + n * PAGE, mine + n);
        bad += !burst(mine);
        for (unsigned n = 0; n < Pages; n++)
            bad += read_at(pages + n * PAGE) != (n % 2 == round % 2 ? mine : round) + n;
        if (child == 0) _exit(bad != 0);
        int status = 1;
        waitpid(child, &status, 0);
        wrong += bad + (status != 0);
    }
    check(wrong == 0, "direct.fork", "%u wrong", wrong);
    munmap(pages, Pages * PAGE);
}

// Large pages, all over, long enough for the monitor to bring their frames together; and pieces of them with
// other rights, and without contents.
static void large_pages(void) {
    enum { Large = 512, Pages = 4 * Large, Touches = 20000 };
    uint8_t* all = map_pages(Pages + Large, PROT_READ | PROT_WRITE);
    uint8_t* pages = (uint8_t*)(((uintptr_t)all + Large * PAGE - 1) / (Large * PAGE) * (Large * PAGE));
    static uint64_t values[Pages];
    volatile unsigned wrong = 0, missed = 0;
    const int setting =
        open("/sys/kernel/mm/transparent_hugepage/enabled", O_WRONLY);  // as on larger machines
    if (setting < 0 || write(setting, "madvise", 7) != 7) exit(1);
    close(setting);
    madvise(pages, Pages * PAGE, MADV_HUGEPAGE);
    for (unsigned n = 0; n < Pages; n++) write_at(pages + n * PAGE, values[n] = at_once(n, 9));
    uint64_t random = 1;
    for (volatile unsigned round = 0; round < 100; round++) {
        for (unsigned touch = 0; touch < Touches; touch++) {
            random = random * factor + 1;
            const unsigned n = (random >> 40) % Pages;
            wrong += read_at(pages + n * PAGE) != values[n];
            if (touch % 4 == 0) write_at(pages + n * PAGE, values[n] = random);
        }
        wrong += !burst(round);
        if (round % 20 != 19) continue;
        const unsigned odd = (17 * round) % Pages;
        mprotect(pages + odd * PAGE, PAGE, PROT_READ);
        missed += !CATCHES(write_at(pages + odd * PAGE, 1));
        mprotect(pages + odd * PAGE, PAGE, PROT_READ | PROT_WRITE);
        madvise(pages + (odd ^ 1) * PAGE, PAGE, MADV_DONTNEED);
        values[odd ^ 1] = 0;
    }
    for (unsigned n = 0; n < Pages; n++) wrong += read_at(pages + n * PAGE) != values[n];
    check(wrong == 0 && missed == 0, "direct.large-pages", "%u wrong, %u missed", wrong, missed);
    munmap(all, (Pages + Large) * PAGE);
}

static volatile unsigned ticks;
static void on_tick(int signal, siginfo_t* info UNUSED, void* context UNUSED) {
    asm volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n vpcmpeqd %%ymm1, %%ymm1, %%ymm1\n fldz\n fstp %%st(0)" ::
                     : "xmm0", "xmm1", "st");
    ticks = ticks + (unsigned)(signal == SIGALRM);
}

// Adds up, with the registers of the x87 in use.
__attribute__((target("avx2"), noinline)) static bool vectors(long long start, long long step) {
    __m256i sum = _mm256_set_epi64x(start, start + 1, start + 2, start + 3);
    const __m256i each = _mm256_set1_epi64x(step);
    double down = 0;
    asm volatile("fld1\n fldpi");
    for (unsigned i = 0; i < Burst; i++) {
        sum = _mm256_add_epi64(sum, each);
        asm volatile("" : "+x"(sum));
    }
    asm volatile("fstp %%st(0)\n fstpl %0" : "=m"(down));
    const long long more = Burst * step;
    const long long wanted[] = {start + 3 + more, start + 2 + more, start + 1 + more, start + more};
    return memcmp(&sum, wanted, sizeof wanted) == 0 && down == 1.0;
}

// Vectors, the x87's stack, flags and modes across signals and turns of other programs.
static void preemption(void) {
    if (!__builtin_cpu_supports("avx2")) return skip("direct.preemption", "no AVX2");
    on_signal(SIGALRM, on_tick, SA_RESTART);
    const struct itimerval period = {{0, 1000}, {0, 1000}}, never = {0};
    const pid_t other = fork();  // with values of its own in the same registers
    unsigned wrong = 0;
    if (other != 0) setitimer(ITIMER_REAL, &period, NULL);
    for (unsigned round = 0; round < 20; round++)
        wrong += !vectors(other == 0 ? -7 : (long long)round, other == 0 ? 3 : 1);
    if (other == 0) _exit(wrong != 0);
    setitimer(ITIMER_REAL, &never, NULL);
    int status = 1;
    waitpid(other, &status, 0);
    check(wrong == 0 && status == 0, "direct.preemption", "%u wrong, the other one's status %d", wrong,
          status);
    check(ticks > 10, "direct.signals", "%u ticks", ticks);
}

static void rounding(void) {
    static const unsigned modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
    unsigned wrong = 0;
    for (volatile unsigned round = 0; round < 12; round++) {
        volatile double one = 1, three = round % 2 != 0 ? -3 : 3, quotient = 0;
        volatile long double wide = 1;
        fesetround((int)modes[round % 4]);
        wrong += !burst(round);
        for (unsigned i = 0; i < 100000; i++) quotient = one / three;
        wide = wide / three;
        wrong += !burst(round);
        wrong += (unsigned)fegetround() != modes[round % 4];
        fesetround(FE_TONEAREST);
        const bool away = (round % 4 == 1 && three < 0) || (round % 4 == 2 && three > 0);
        const double wanted = (away ? 0x1.5555555555556p-2 : 0x1.5555555555555p-2) * (three < 0 ? -1 : 1);
        wrong += quotient != wanted;
        const bool up = away || round % 4 == 0;  // the next bits are 1010...
        wrong += fabsl(wide) != (up ? 0xaaaaaaaaaaaaaaabp-65L : 0xaaaaaaaaaaaaaaaap-65L);
    }
    check(wrong == 0, "direct.rounding", "%u wrong", wrong);
}

static void exceptions(void) {
    unsigned wrong = 0;
    volatile int zero = 0, seven = 7, result = 5;
    for (volatile unsigned round = 0; round < 12; round++) {
        wrong += !burst(round);
        wrong += !CATCHES(result = seven / zero) || caught.signal != SIGFPE;
        wrong += result != 5;
        wrong += !CATCHES(asm volatile("ud2")) || caught.signal != SIGILL;
        wrong += !CATCHES(asm volatile("int3")) || caught.signal != SIGTRAP;
        wrong += !CATCHES(asm volatile("hlt")) || caught.signal != SIGSEGV || caught.trap != 13;
        wrong += !CATCHES(read_at((void*)0x1234567890abcd00)) || caught.signal != SIGSEGV;
        wrong += !CATCHES(read_at((void*)(uintptr_t)(64 + round))) || caught.address != 64 + round;
    }
    check(wrong == 0, "direct.exceptions", "%u wrong", wrong);
}

// What is told of the processor, in the middle of it all, is what was told in the beginning.
struct Told {
    unsigned leaf1[4], leaf7[4], hypervisor[4];
};
static struct Told ask(void) {
    struct Told told;
    __cpuid(1, told.leaf1[0], told.leaf1[1], told.leaf1[2], told.leaf1[3]);
    told.leaf1[1] &= 0xffffff;  // the processor's number
    __cpuid_count(7, 0, told.leaf7[0], told.leaf7[1], told.leaf7[2], told.leaf7[3]);
    __cpuid(0x40000000, told.hypervisor[0], told.hypervisor[1], told.hypervisor[2], told.hypervisor[3]);
    return told;
}

static void telling(const struct Told* before) {
    unsigned wrong = 0, back = 0;
    uint64_t last = 0;
    struct timespec time, last_time = {0};
    cpu_set_t mask;
    sched_getaffinity(0, sizeof mask, &mask);
    for (unsigned round = 0; round < 20; round++) {
        const int processor = (int)round % CPU_COUNT(&mask);
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(processor, &one);
        sched_setaffinity(0, sizeof one, &one);
        wrong += !burst(round);
        const struct Told told = ask();
        wrong += memcmp(&told, before, sizeof told) != 0;
        unsigned auxiliary = ~0u;
        for (unsigned i = 0; i < 200; i++) {
            const uint64_t now = i % 2 ? __rdtsc() : __rdtscp(&auxiliary);
            back += now < last;
            last = now;
            clock_gettime(CLOCK_MONOTONIC, &time);
            back += time.tv_sec < last_time.tv_sec ||
                    (time.tv_sec == last_time.tv_sec && time.tv_nsec < last_time.tv_nsec);
            last_time = time;
        }
        wrong += auxiliary % 4096 != (unsigned)processor || sched_getcpu() != processor;
    }
    sched_setaffinity(0, sizeof mask, &mask);
    check(wrong == 0, "direct.telling", "%u wrong", wrong);
    check(back == 0, "direct.clocks", "%u times back", back);
}

// Code that reads itself, and code with what is sensitive, on pages of their own. (docs/direct.md: the two do
// not go together.)
__attribute__((noinline, aligned(4096))) static uint32_t with_cpuid(void) {
    unsigned a, b, c, d;
    __cpuid(0, a, b, c, d);
    return a + b + c + d;
}

__attribute__((noinline, aligned(4096))) static uint64_t sum_of_bytes(const uint8_t* from, uint64_t size) {
    uint64_t sum = 0;
    for (uint64_t n = 0; n < size; n++) sum = sum * 31 + from[n];
    return sum;
}

static void own_code(void) {
    const uint8_t* code = (const uint8_t*)(uintptr_t)sum_of_bytes;
    const uint32_t answer = with_cpuid();
    const uint64_t sum = sum_of_bytes(code, 32);
    unsigned wrong = 0;
    for (unsigned round = 0; round < 10; round++) {
        wrong += !burst(round);
        for (unsigned n = 0; n < 10000; n++) wrong += sum_of_bytes(code, 32) != sum;
        wrong += with_cpuid() != answer;
    }
    check(wrong == 0, "direct.own-code", "%u wrong", wrong);
}

typedef uint32_t (*Code)(uint32_t);
// mov eax, value; a loop of edi rounds: add eax, 1; dec edi; jnz; ret
static void emit(uint8_t* at, uint32_t value) {
    memcpy(at, "\xb8....\x83\xc0\x01\xff\xcf\x75\xf9\xc3", 13);
    memcpy(at + 1, &value, 4);
}

static void new_code(void) {
    uint8_t* page = map_pages(2, PROT_READ | PROT_WRITE | PROT_EXEC);
    unsigned wrong = 0;
    for (uint32_t round = 0; round < 60; round++) {  // beside data that is written
        emit(page + 64 * (round % 8), round);
        const uint32_t rounds = round % 6 == 0 ? 8 * Burst : 10;
        wrong += ((Code)(uintptr_t)(page + 64 * (round % 8)))(rounds) != round + rounds;
        write_at(page + 2048, round);
        wrong += read_at(page + 2048) != round;
    }
    check(wrong == 0, "direct.rewritten", "%u wrong", wrong);
    wrong = 0;
    for (uint32_t round = 0; round < 20; round++) {  // first written, then executed
        mprotect(page, PAGE, PROT_READ | PROT_WRITE);
        wrong += !CATCHES(((Code)(uintptr_t)page)(1)) || caught.address != (uint64_t)page;
        emit(page, 7 * round);
        mprotect(page, PAGE, PROT_READ | PROT_EXEC);
        wrong += ((Code)(uintptr_t)page)(2 * Burst) != 7 * round + 2 * Burst;
        wrong += !CATCHES(write_at(page + 64, 1)) || caught.address != (uint64_t)page + 64;
    }
    check(wrong == 0, "direct.written-then-executed", "%u wrong", wrong);
    munmap(page, 2 * PAGE);
}

// Two threads, each of which waits for the other one while it computes.
static atomic_uint turn;
static atomic_ulong counted;
static uint64_t guarded;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint8_t* shared_page;
static uint8_t* shared_code;
enum { Turns = 120, Counts = 300000, Locks = 20000 };

static void wait_for(unsigned number) {
    for (unsigned spins = 0; atomic_load(&turn) < number; spins++)
        if (spins > 20000) sched_yield();
}

// Takes pages away, and changes them, while the other one computes with them.
static void* changing(void* unused) {
    for (unsigned n = 0; n < Counts; n++) atomic_fetch_add(&counted, 1);
    for (unsigned n = 0; n < Locks; n++) {
        pthread_mutex_lock(&mutex);
        guarded = guarded + 1;
        pthread_mutex_unlock(&mutex);
    }
    for (unsigned n = 0; n < Turns; n++) {
        wait_for(2 * n + 1);
        if (n % 3 == 0) mprotect(shared_page, PAGE, PROT_READ);
        if (n % 3 == 1) {
            munmap(shared_page, PAGE);
            if (mmap(shared_page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                     0) != shared_page)
                exit(1);
        }
        if (n % 3 == 2) mprotect(shared_page, PAGE, PROT_NONE);
        emit(shared_code, n);
        atomic_store(&turn, 2 * n + 2);
    }
    return unused;
}

static void threads(void) {
    volatile unsigned wrong = 0, missed = 0, old = 0;
    shared_page = map_pages(1, PROT_READ | PROT_WRITE);
    shared_code = map_pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
    pthread_t other;
    pthread_create(&other, NULL, changing, NULL);
    for (unsigned n = 0; n < Counts; n++) atomic_fetch_add(&counted, 1);
    for (unsigned n = 0; n < Locks; n++) {
        pthread_mutex_lock(&mutex);
        guarded = guarded + 1;
        pthread_mutex_unlock(&mutex);
    }
    for (unsigned n = 0; n < Turns; n++) {
        mprotect(shared_page, PAGE, PROT_READ | PROT_WRITE);
        write_at(shared_page, n + 1);
        wrong += one_by_one(n, Burst / 4) != at_once(n, Burst / 4);
        if (n > 0) ((Code)(uintptr_t)shared_code)(1);
        atomic_store(&turn, 2 * n + 1);
        wait_for(2 * n + 2);
        if (n % 3 == 0) missed += !CATCHES(write_at(shared_page, 0)) || read_at(shared_page) != n + 1;
        if (n % 3 == 1) wrong += read_at(shared_page) != 0;
        if (n % 3 == 2) missed += !CATCHES(read_at(shared_page));
        asm volatile("cpuid" : : "a"(0), "c"(0) : "rbx", "rdx", "memory");
        old += ((Code)(uintptr_t)shared_code)(1) != n + 1;
    }
    pthread_join(other, NULL);
    check(wrong == 0, "direct.threads", "%u wrong", wrong);
    check(missed == 0, "direct.threads-faults", "%u missed", missed);
    check(old == 0, "direct.threads-code", "%u times old code", old);
    check(counted == 2 * Counts && guarded == 2 * Locks, "direct.threads-counts", "%lu and %lu",
          (unsigned long)counted, guarded);
}

int main(int count, char** arguments) {
    if (count > 1 && strcmp(arguments[1], "spin") == 0) {
        printf("undercroft: spinning\n");
        fflush(stdout);
        for (uint64_t n = 0;; n++)
            if (!burst(n)) return 1;
    }
    const struct Told told = ask();
    for (const int* signal = (const int[]){SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGBUS, 0}; *signal; signal++)
        on_signal(*signal, note_and_leave, 0);
    computing();
    memory();
    large_pages();
    copy_on_write();
    preemption();
    rounding();
    exceptions();
    telling(&told);
    own_code();
    new_code();
    threads();
}
