// SPDX-License-Identifier: Apache-2.0
// What the scheduler reaches: the time of a machine switch beside the host's process switch, how exactly
// weights divide a processor, and how soon a guest runs that a timer wakes while others compute.
//
// The guests are some instructions each, in machines of 4 MiB, so that what is measured is the scheduler with
// the engine's way in and out: all of a vCPU's state changes hands, vector registers too.

#include "base/check.hpp"
#include "engine/step/testing.hpp"
#include "engine/translate/engine.hpp"
#include "schedule/scheduler.hpp"

#include <fmt/core.h>
#include <getopt.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace undercroft::bench {
namespace {

constexpr double second = 1e9;

// A vCPU that runs a few instructions, and what becomes of its turns.
class GuestTask : public Task {
public:
    explicit GuestTask(std::initializer_list<int> code) {
        machine_.load(code);
        auto made = TranslateEngine::create(machine_.vcpu, {});
        CHECK(made, "an engine");
        engine_ = *std::move(made);
    }
    void preempt() noexcept override { machine_.vcpu.request(Attention::Preempt); }
    void forget_preempt() noexcept override { machine_.vcpu.attention.fetch_and(~Attention::Preempt); }
    bool is_ready() const noexcept override { return ends; }
    void end() {
        ends = true;
        machine_.vcpu.request(Attention::Stop);
    }
    std::uint64_t turns() const { return turns_; }
    std::uint64_t counter() const { return machine_.get<std::uint64_t>(test::StepMachine::data); }

    std::atomic<bool> ends{false};

protected:
    // Until the guest halts or is interrupted.
    Exit execute() {
        ++turns_;
        machine_.vcpu.activity = Activity::Running;
        return engine_->run(machine_.vcpu);
    }

    // A few instructions: to the first place where guest code looks whether its turn has ended.
    void execute_shortly() {
        ++turns_;
        engine_->begin(machine_.vcpu);
        preempt();
        engine_->advance(machine_.vcpu);
        engine_->end();
    }

private:
    test::StepMachine machine_;
    std::unique_ptr<TranslateEngine> engine_;
    std::uint64_t turns_ = 0;
};

// Counts in memory until its turn ends.
class Computes final : public GuestTask {
public:
    Computes()
        : GuestTask{{0x48, 0xff, 0x04, 0x25, 0, 0, 0x20, 0,  // inc qword [0x200000]
                     0xc5, 0xfd, 0xfe, 0xc1,                 // vpaddd ymm0, ymm0, ymm1
                     0xeb, 0xf2}} {}
    TurnResult run() override { return {execute() == Exit::Stop ? TurnEnd::Ended : TurnEnd::Preempted}; }
};

// A turn is a few instructions with a vector register. The x87 is as kernels and most programs have it.
class Alternates final : public GuestTask {
public:
    Alternates()
        : GuestTask{{0xdb, 0xe3,                           // fninit
                     0xc5, 0xfd, 0xfe, 0xc1, 0xeb, 0xfa}}  // vpaddd ymm0, ymm0, ymm1; jmp
    {}
    TurnResult run() override {
        execute_shortly();
        return {ends ? TurnEnd::Ended : TurnEnd::Paused};
    }
};

// Sleeps for a millisecond, again and again, and writes down how late it runs.
class Sleeps final : public GuestTask {
public:
    explicit Sleeps(std::size_t times) : GuestTask{{0xf4, 0xeb, 0xfd}} { late.reserve(times); }
    TurnResult run() override {
        if (deadline_ != 0) late.push_back(static_cast<double>(time_now() - deadline_));
        if (late.size() == late.capacity()) {
            done = true;
            done.notify_all();
            return {TurnEnd::Ended};
        }
        execute();
        deadline_ = time_now() + 1'000'000;
        return {TurnEnd::Waits, deadline_};
    }
    std::vector<double> late;  // ns
    std::atomic<bool> done{false};

private:
    Time deadline_ = 0;
};

std::unique_ptr<Scheduler> make_scheduler(unsigned processors) {
    auto made = Scheduler::create({.processors = processors, .on_thread = [](const auto& body) { body(); }});
    CHECK(made, "a scheduler");
    return *std::move(made);
}

void sleep_for(double seconds) { usleep(static_cast<useconds_t>(seconds * 1e6)); }

double switch_ns(double seconds) {
    auto scheduler = make_scheduler(1);
    std::deque<Alternates> guests(2);
    std::deque<Share> shares;
    for (Alternates& guest : guests) scheduler->add(guest, shares.emplace_back(ShareOptions{}));
    Time begin = time_now();
    for (Alternates& guest : guests) scheduler->wake(guest);
    sleep_for(seconds);
    for (Alternates& guest : guests) guest.end();
    for (Alternates& guest : guests) scheduler->remove(guest);
    auto took = static_cast<double>(time_now() - begin);
    return took / static_cast<double>(guests[0].turns() + guests[1].turns());
}

// The same guest without another one: the engine's way in and out, and the instructions.
double entry_ns(double seconds) {
    Alternates guest;
    std::uint64_t turns = 0;
    Time begin = time_now();
    Time end = begin + static_cast<Time>(seconds * second);
    for (; time_now() < end; turns += 1000) {
        for (int n = 0; n < 1000; ++n) guest.run();
    }
    return static_cast<double>(time_now() - begin) / static_cast<double>(turns);
}

void stay_on_one_processor() {
    int here = sched_getcpu();
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(here, &set);
    sched_setaffinity(0, sizeof set, &set);
}

// Two processes on one processor hand it to each other: by pipes, or by sched_yield.
double process_switch_ns(double seconds, bool by_pipes) {
    std::array<int, 2> there{};
    std::array<int, 2> back{};
    CHECK(pipe(there.data()) == 0 && pipe(back.data()) == 0, "pipes");
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    stay_on_one_processor();
    pid_t child = fork();
    char byte = 0;
    if (child == 0) {
        close(there[1]);
        close(back[0]);
        if (!by_pipes) {
            for (pid_t parent = getppid(); getppid() == parent;) sched_yield();
        }
        while (read(there[0], &byte, 1) == 1) {
            if (write(back[1], &byte, 1) != 1) break;
        }
        _exit(0);
    }
    std::uint64_t switches = 0;
    Time begin = time_now();
    Time end = begin + static_cast<Time>(seconds * second);
    for (; time_now() < end; switches += 200) {
        for (int n = 0; n < 100; ++n) {
            if (!by_pipes) {
                sched_yield();
            } else if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) {
                CHECK(false, "the other process answers");
            }
        }
    }
    double each = static_cast<double>(time_now() - begin) / static_cast<double>(switches);
    if (!by_pipes) kill(child, SIGKILL);
    for (int fd : {there[0], there[1], back[0], back[1]}) close(fd);
    waitpid(child, nullptr, 0);
    sched_setaffinity(0, sizeof before, &before);
    return each;
}

// How far each guest's part of what all counted is from its due, at most, in percent of its due.
double share_error(double seconds) {
    constexpr std::array<unsigned, 3> weights{100, 200, 400};
    auto scheduler = make_scheduler(1);
    std::deque<Computes> guests(weights.size());
    std::deque<Share> shares;
    for (std::size_t n = 0; n < weights.size(); ++n)
        scheduler->add(guests[n], shares.emplace_back(ShareOptions{.weight = weights[n]}));
    for (Computes& guest : guests) scheduler->wake(guest);
    sleep_for(seconds);
    for (Computes& guest : guests) guest.end();
    for (Computes& guest : guests) scheduler->remove(guest);
    double all = 0;
    for (const Computes& guest : guests) all += static_cast<double>(guest.counter());
    double worst = 0;
    for (std::size_t n = 0; n < weights.size(); ++n) {
        double due = weights[n] / 700.;
        double had = static_cast<double>(guests[n].counter()) / all;
        worst = std::max(worst, 100 * std::abs(had - due) / due);
    }
    return worst;
}

std::vector<double> lateness(double seconds) {
    unsigned processors = host_processors();
    auto scheduler = make_scheduler(processors);
    std::deque<Computes> guests(2 * processors);
    std::deque<Share> shares;
    for (Computes& guest : guests) scheduler->add(guest, shares.emplace_back(ShareOptions{}));
    Sleeps sleeper{static_cast<std::size_t>(seconds * 900)};
    scheduler->add(sleeper, shares.emplace_back(ShareOptions{}));
    for (Computes& guest : guests) scheduler->wake(guest);
    scheduler->wake(sleeper);
    sleeper.done.wait(false);
    for (Computes& guest : guests) guest.end();
    for (Computes& guest : guests) scheduler->remove(guest);
    scheduler->remove(sleeper);
    std::sort(sleeper.late.begin(), sleeper.late.end());
    return std::move(sleeper.late);
}

void measure(double seconds, bool json) {
    std::vector<double> entry, machine, pipes, yields;
    for (int n = 0; n < 5; ++n) {  // in turn: who disturbs one disturbs all
        entry.push_back(entry_ns(seconds / 50));
        machine.push_back(switch_ns(seconds / 50));
        pipes.push_back(process_switch_ns(seconds / 50, true));
        yields.push_back(process_switch_ns(seconds / 50, false));
    }
    auto median = [](std::vector<double>& values) {
        std::sort(values.begin(), values.end());
        return values[values.size() / 2];
    };
    double error = share_error(seconds);
    std::vector<double> late = lateness(seconds);
    auto part = [&](double of) {
        return late[static_cast<std::size_t>(of * static_cast<double>(late.size() - 1))];
    };
    nlohmann::ordered_json figures{{"machine_switch_ns", median(machine)},
                                   {"engine_entry_ns", median(entry)},
                                   {"process_switch_by_pipe_ns", median(pipes)},
                                   {"process_switch_by_yield_ns", median(yields)},
                                   {"share_error_percent", error},
                                   {"wake_up_late_median_us", part(0.5) / 1e3},
                                   {"wake_up_late_99_percent_us", part(0.99) / 1e3},
                                   {"wake_up_late_most_us", late.back() / 1e3}};
    if (json) {
        std::puts(figures.dump(2).c_str());
        return;
    }
    fmt::print("machine switch, vector state and all      {:8.0f} ns\n", median(machine));
    fmt::print("  of it, into the engine and out          {:8.0f} ns\n", median(entry));
    fmt::print("the host's process switch, by a pipe      {:8.0f} ns\n", median(pipes));
    fmt::print("the host's process switch, by sched_yield {:8.0f} ns\n", median(yields));
    fmt::print("weights 1:2:4 on one processor, {:.0f} s: at most {:.2f} % from what is due\n", seconds,
               error);
    fmt::print(
        "woken by a timer while {} guests compute on {} processors: {:.0f} us late in the median, {:.0f} us "
        "at 99 %, {:.0f} us at most\n",
        2 * host_processors(), host_processors(), part(0.5) / 1e3, part(0.99) / 1e3, late.back() / 1e3);
}

int start(int argc, char** argv) {
    double seconds = 10;
    bool json = false;
    const option options[] = {
        {"seconds", required_argument, nullptr, 's'}, {"json", no_argument, nullptr, 'j'}, {}};
    for (int c = 0; (c = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
        if (c == 'j')
            json = true;
        else if (c == 's' && std::atof(optarg) >= 0.5)
            seconds = std::atof(optarg);
        else
            return std::fputs("usage: bench_schedule [--seconds N] [--json]\n", stderr), 2;
    }
    measure(seconds, json);
    return 0;
}

}  // namespace
}  // namespace undercroft::bench

int main(int argc, char** argv) { return undercroft::bench::start(argc, argv); }
