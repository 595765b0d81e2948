// SPDX-License-Identifier: Apache-2.0
// One run of the program under test with its guest's console in our hands.
//
// Every wait is for something the guest or the program does, with a time limit; nothing sleeps. Input queued
// by send() flows whenever the program takes it, while output is being read. The process is killed on
// destruction.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace undercroft {

class GuestProcess {
public:
    // `arguments` follow the program's name; `starter` is another program, with its arguments, that executes
    // it.
    explicit GuestProcess(const std::vector<std::string>& arguments,
                          const std::vector<std::string>& starter = {});
    ~GuestProcess();
    GuestProcess(const GuestProcess&) = delete;
    GuestProcess& operator=(const GuestProcess&) = delete;

    // Reads until `text` appears after what earlier calls found, and moves behind it; false on time-out or
    // end.
    bool wait_for(std::string_view text, double seconds);
    // Reads to the end of output and returns the exit status; nullopt on time-out or death by a signal.
    std::optional<int> wait_for_exit(double seconds);

    void send(std::string_view bytes) { input_ += bytes; }
    void close_input();  // when all that was queued has flowed
    void terminate();    // SIGTERM

    const std::string& output() const { return output_; }
    const std::string& errors();
    std::size_t position() const { return position_; }  // behind what the last wait_for() found
    pid_t pid() const { return pid_; }

    // Processor time of all threads so far, in seconds.
    double processor_seconds() const;
    // The least use of one processor in up to four windows, until one is below `enough`, in each of which
    // `text` does not come. Another process on the host can make a window's use larger, never smaller.
    double least_processor_use(double seconds, double enough, std::string_view text);

private:
    bool pump(int timeout_ms);  // false at the end of output

    pid_t pid_ = -1;
    int to_guest_ = -1;
    bool input_ends_ = false;
    int from_guest_ = -1;
    int errors_fd_ = -1;
    std::string input_;
    std::string output_;
    std::string errors_;
    std::size_t position_ = 0;
    std::optional<int> wait_status_;
};

// How often `word` stands in the text.
inline unsigned count(std::string_view text, std::string_view word) {
    unsigned found = 0;
    for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1))
        ++found;
    return found;
}

}  // namespace undercroft
