// SPDX-License-Identifier: Apache-2.0
// A small operating system for a processor with a software-managed TLB: what it shows, in order.
#include "console.hpp"
#include "descriptors.hpp"
#include "process.hpp"
#include "remap.hpp"
#include "timer.hpp"
#include "tlb.hpp"
#include "user/program.hpp"

namespace softtlb {
namespace {

enum class SecondLevel : u8 { Off, On };

struct Measurement {
    Counters counted;
    u64 nanoseconds;
};

Measurement run_two(void (*first)(u64), void (*second)(u64), u64 argument, Asids asids,
                    u64 ticks = no_limit) {
    counters = {};
    start_process(1, first, argument, ticks);
    start_process(2, second, argument, ticks);
    u64 begin = time_stamp();
    run_processes(asids);
    u64 elapsed = time_stamp() - begin;
    return {counters, elapsed * 1'000'000 / cpuid_eax(0x40000010)};
}

constexpr u64 rounds = 100;
constexpr u64 pages = 150;
constexpr u64 accesses = 2 * rounds * pages;
constexpr u64 first_touches = 2 * pages;
constexpr u64 code_and_stacks = 16;  // at most: pages that the programs touch besides

Measurement measure_walk(SecondLevel second_level, Asids asids) {
    use_second_level(second_level == SecondLevel::On);
    Measurement measured = run_two(walk, walk, rounds << 32 | pages, asids);
    print_line("walk: second level ", second_level == SecondLevel::On ? "on" : "off", ", ",
               asids == Asids::Each ? "an ASID each" : "a flush at each switch", ": ",
               measured.counted.misses, " misses in the kernel, ", measured.counted.switches, " switches, ",
               measured.nanoseconds / accesses, " ns a page");
    return measured;
}

// Figure B.6, and how the monitor's software TLB skips it.
void show_translation() {
    print_line("two processes, ", pages, " pages each, ", rounds, " rounds; the TLB has 64 entries");
    Measurement plain = measure_walk(SecondLevel::Off, Asids::Each);
    Measurement second = measure_walk(SecondLevel::On, Asids::Each);
    Measurement flushed = measure_walk(SecondLevel::On, Asids::One);
    Measurement neither = measure_walk(SecondLevel::Off, Asids::One);
    verdict(plain.counted.misses >= accesses, "without a second level each page of each round misses");
    verdict(second.counted.misses <= first_touches + code_and_stacks,
            "the second level knows all but first touches");
    verdict(second.counted.misses >= first_touches, "each first touch comes to the kernel");
    verdict(second.counted.pages_zeroed >= first_touches, "and gets a page of zeroes");
    verdict(flushed.counted.misses >= accesses, "without ASIDs each switch costs all translations");
    verdict(neither.counted.misses >= accesses, "without both, too");
    use_second_level(true);
}

void show_time_sharing() {
    constexpr u64 ticks_per_second = 1000;
    start_timer(ticks_per_second);
    constexpr u64 ticks = 5;
    Measurement spun = run_two(spin, spin, 0, Asids::Each, ticks);
    print_line("spin: ", spun.counted.timer_ticks, " timer ticks, ", spun.counted.switches, " switches");
    verdict(spun.counted.switches >= 2 * ticks - 1, "who does not give way is interrupted, in turn");

    Measurement dozed = run_two(doze, doze, 2, Asids::Each);
    print_line("doze: ", dozed.counted.timer_ticks, " timer ticks, ", dozed.counted.idle_ticks,
               " of them idle");
    verdict(dozed.counted.idle_ticks >= 10, "with nothing to do the kernel idles");
    stop_timer();
}

void show_protection() {
    start_timer(100);
    Measurement attacked = run_two(keep_secret, attack, 0, Asids::Each);
    stop_timer();
    print_line("attack: ", attacked.counted.system_calls, " system calls");
    verdict(true, "the kernel is still here");
}

}  // namespace

extern "C" [[noreturn]] void kernel_main() {
    load_descriptors();
    print_line("softtlb: on UndercroftVM, this kernel fills the TLB");
    show_translation();
    show_remapping();
    show_time_sharing();
    show_protection();
    print_line("softtlb: done");
    power_off();
}

}  // namespace softtlb
