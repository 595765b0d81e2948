// SPDX-License-Identifier: Apache-2.0
// SharedTerminal: our standard input and output as the console of several machines.
//
// One machine is attached: it gets what is typed. The terminal shows either all machines, in rows that begin
// with their names (monitor/rows.hpp), or the attached one alone, as it prints; then the others' output is
// only remembered. Nothing is held up for long by a machine that prints much: output waits in a queue, in
// order, and each machine may have `share` bytes in it.
//
// Threads: lines are written by any; the rest belongs to the event loop's. Lock order: a ConsoleOutput's,
// then this one's.

#pragma once

#include "base/result.hpp"
#include "machine/console_backend.hpp"
#include "machine/console_file.hpp"
#include "machine/escape.hpp"
#include "machine/event_loop.hpp"
#include "monitor/recent_output.hpp"
#include "monitor/rows.hpp"

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace undercroft {

class SharedTerminal {
public:
    static constexpr std::size_t share = 32 * 1024;

    // On our standard descriptors. Machine `first` is attached, and all are shown. The loop outlives it; it
    // outlives its lines.
    static Result<std::unique_ptr<SharedTerminal>> open(const std::vector<std::string>& names, unsigned first,
                                                        EventLoop& loop);
    // On any backend; to people, names are shown in colours.
    enum class Reader : std::uint8_t { Person, Program };
    static Result<std::unique_ptr<SharedTerminal>> create(const std::vector<std::string>& names,
                                                          unsigned first, EventLoop& loop,
                                                          std::unique_ptr<ConsoleBackend> terminal,
                                                          Reader reader);
    SharedTerminal(const SharedTerminal&) = delete;
    SharedTerminal& operator=(const SharedTerminal&) = delete;
    ~SharedTerminal();

    std::unique_ptr<ConsoleBackend> line(unsigned machine);

    // `typed` says whether the machine has room for more; if not, has_room() is called when it has.
    void on_input(std::function<bool(unsigned machine, std::span<const std::byte>)> typed);
    void on_command(std::function<void(Escape::Command)> command) { command_ = std::move(command); }
    void has_room(unsigned machine);

    void attach(unsigned machine);  // and show it alone, with its newest output
    void show_all();                // the same one stays attached
    std::optional<unsigned> shown_alone() const;
    unsigned attached() const;
    // Attaches another machine in rows, for the one that was has ended. Only where a person types; what a
    // program writes is for the machine that it was meant for. False: it is a program.
    bool hand_over(unsigned machine);

    // Waits, until then at most, for all to be out. When the machines have ended.
    void finish(std::chrono::steady_clock::time_point until);

private:
    class Line;
    struct Waiting {
        unsigned machine;
        std::string text;
    };
    struct MachineState {
        RecentOutput recent;
        std::size_t waiting = 0;  // bytes in the queue
    };
    using Guard = std::lock_guard<std::mutex>;

    SharedTerminal(const std::vector<std::string>& names, unsigned first, EventLoop& loop,
                   std::unique_ptr<ConsoleBackend> terminal, Reader reader, Alarm alarm);
    ConsoleBackend::Transfer write(unsigned machine, std::span<const std::byte> bytes);
    void enqueue(const Guard&, unsigned machine, std::string text);
    void write_out(const Guard&);
    void ring_later(const Guard&);
    void on_alarm();
    void read_input();
    void give(std::vector<std::byte>& typed);

    EventLoop& loop_;
    std::unique_ptr<ConsoleBackend> terminal_;
    std::string row_end_;
    Alarm alarm_;
    Escape escape_;
    std::function<bool(unsigned, std::span<const std::byte>)> typed_;
    std::function<void(Escape::Command)> command_ = [](Escape::Command) {};
    bool reading_ = false;
    std::vector<bool> full_;  // machines that take no input

    mutable std::mutex mutex_;  // protects all below
    std::vector<MachineState> machines_;
    unsigned attached_;
    bool alone_ = false;
    Rows rows_;
    std::deque<Waiting> queue_;
    bool alarm_set_ = false;
    int failure_ = 0;  // errno of the write that failed for good
};

}  // namespace undercroft
