// SPDX-License-Identifier: Apache-2.0
#include "guest.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

// Bytes on their way from one end to another: one buffer, so whoever is slow holds up his own stream only.
struct stream {
    int from, to;  // -1: closed
    size_t first, end;
    unsigned long long passed;
    char bytes[32 * 1024];
};
enum { INPUT, OUTPUT, ERRORS, STREAMS };
static struct stream streams[STREAMS];

static int is_waiting(const struct stream* stream) { return stream->first < stream->end; }

static void take(struct stream* stream) {
    ssize_t n = read(stream->from, stream->bytes, sizeof stream->bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    stream->first = 0;
    stream->end = n > 0 ? (size_t)n : 0;
    if (n <= 0) stream->from = -1;  // a terminal's end is an error
}

// The other end takes nothing any more: neither do we, so that whoever writes hears of it (SIGPIPE).
static void give_up(struct stream* stream, int terminal) {
    if (stream->from >= 0 && !terminal) close(stream->from);
    stream->from = -1;
    stream->end = 0;
}

static void give(struct stream* stream, short ready, int terminal) {
    if ((ready & POLLOUT) == 0) return give_up(stream, terminal);
    ssize_t n = write(stream->to, stream->bytes + stream->first, stream->end - stream->first);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n < 0) return give_up(stream, terminal);
    stream->first += (size_t)n;
    stream->passed += (unsigned long long)n;
}

// The host's input has ended, and the command has got all of it.
static void end_input(struct stream* input, int terminal) {
    if (input->to < 0 || input->from >= 0 || is_waiting(input)) return;
    if (terminal) {
        (void)!write(input->to, "\4", 1);
    } else {
        close(input->to);
    }
    input->to = -1;
}

// A line of the host's, see exec/control_port.hpp.
static void obey(const char* line, const struct command* command) {
    int number;
    struct winsize size = {0};
    // It may not have made its group yet.
    if (sscanf(line, "signal %d", &number) == 1 && kill(-command->pid, number) != 0)
        kill(command->pid, number);
    if (sscanf(line, "size %hu %hu", &size.ws_row, &size.ws_col) == 2 && command->terminal)
        ioctl(command->output, TIOCSWINSZ, &size);
}

static void hear_host(const struct command* command) {
    static char line[80];
    static size_t length;
    char bytes[256];
    ssize_t count = read(ports[PORT_CONTROL], bytes, sizeof bytes);
    for (ssize_t n = 0; n < count; n++) {
        if (bytes[n] != '\n') {
            if (length + 1 < sizeof line) line[length++] = bytes[n];
            continue;
        }
        line[length] = '\0';
        length = 0;
        obey(line, command);
    }
}

// The command's status when it has ended; whoever else has ended is forgotten.
static int has_ended(pid_t command, int* status) {
    int found = 0;
    int its;
    for (pid_t pid; (pid = waitpid(-1, &its, WNOHANG)) > 0;) {
        if (pid != command) continue;
        found = 1;
        *status = WIFEXITED(its) ? WEXITSTATUS(its) : 128 + WTERMSIG(its);
    }
    return found;
}

static struct pollfd source(const struct stream* stream) {
    return (struct pollfd){.fd = is_waiting(stream) ? -1 : stream->from, .events = POLLIN};
}

static struct pollfd sink(const struct stream* stream) {
    return (struct pollfd){.fd = is_waiting(stream) ? stream->to : -1, .events = POLLOUT};
}

// What the command has written is in its pipe or terminal when it has ended; what others go on to write
// there, who have it open, is cut off.
static void drain(struct stream* stream, int terminal) {
    enum { most_that_one_holds = 1 << 20 };
    for (unsigned long long limit = stream->passed + most_that_one_holds; stream->passed < limit;) {
        struct pollfd from = source(stream), to = sink(stream);
        if (from.fd < 0 && to.fd < 0) return;
        if (to.fd >= 0) {
            if (poll(&to, 1, -1) > 0) give(stream, to.revents, terminal);
        } else {
            if (poll(&from, 1, 0) <= 0 || (from.revents & POLLIN) == 0) return;
            take(stream);
        }
    }
}

struct ending attend(struct command command) {
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    int signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    streams[INPUT].from = ports[PORT_INPUT], streams[INPUT].to = command.input;
    streams[OUTPUT].from = command.output, streams[OUTPUT].to = ports[PORT_OUTPUT];
    streams[ERRORS].from = command.errors, streams[ERRORS].to = ports[PORT_ERRORS];
    const int shared[STREAMS] = {1, command.terminal, 0};  // whose source is not to be closed
    tell_host("started\n");
    for (int status = STATUS_FAILED;;) {
        enum { SIGNALS = 2 * STREAMS, CONTROL, WAITS };
        struct pollfd waits[WAITS] = {[SIGNALS] = {.fd = signals, .events = POLLIN},
                                      [CONTROL] = {.fd = ports[PORT_CONTROL], .events = POLLIN}};
        for (int n = 0; n < STREAMS; n++) {
            waits[2 * n] = source(&streams[n]);
            waits[2 * n + 1] = sink(&streams[n]);
        }
        if (poll(waits, WAITS, -1) < 0) continue;
        for (int n = 0; n < STREAMS; n++) {
            if (waits[2 * n].revents != 0) take(&streams[n]);
            if (waits[2 * n + 1].revents != 0) give(&streams[n], waits[2 * n + 1].revents, shared[n]);
        }
        end_input(&streams[INPUT], command.terminal);
        if (waits[CONTROL].revents != 0) hear_host(&command);
        if (waits[SIGNALS].revents == 0) continue;
        struct signalfd_siginfo information;
        (void)!read(signals, &information, sizeof information);
        if (!has_ended(command.pid, &status)) continue;
        drain(&streams[OUTPUT], shared[OUTPUT]);
        drain(&streams[ERRORS], shared[ERRORS]);
        return (struct ending){status, streams[OUTPUT].passed, streams[ERRORS].passed};
    }
}
