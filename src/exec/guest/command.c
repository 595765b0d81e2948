// SPDX-License-Identifier: Apache-2.0
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

__attribute__((noreturn)) static void run(const int stdio[3], int terminal) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setsid();
    for (int n = 0; n < 3; n++) dup2(stdio[n], n);
    if (terminal) ioctl(STDIN_FILENO, TIOCSCTTY, 0);
    const char* mask = planned(PLAN_UMASK);
    umask(mask != NULL ? (mode_t)strtoul(mask, NULL, 8) : 022);
    const char* shared = planned(PLAN_SHARED);
    const char* folder = shared != NULL ? shared : planned(PLAN_FOLDER);
    if (folder != NULL && chdir(folder) != 0) {
        dprintf(STDERR_FILENO, "undercroft: in the guest: folder '%s': %s\n", folder, strerror(errno));
        _exit(STATUS_FAILED);
    }
    char** arguments = all_planned(PLAN_ARGUMENT);
    environ = all_planned(PLAN_VARIABLE);  // whose PATH counts
    execvp(arguments[0], arguments);
    int error = errno;
    dprintf(STDERR_FILENO, "undercroft: command '%s': %s\n", arguments[0], strerror(error));
    _exit(error == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE);
}

static void make_pipe(int ends[2]) {
    if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe");
}

static void open_terminal(const char* size, int* ours, int* its) {
    struct winsize window = {.ws_row = 24, .ws_col = 80};
    sscanf(size, "%hu %hu", &window.ws_row, &window.ws_col);
    *ours = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (*ours < 0 || unlockpt(*ours) != 0) fail("terminal");
    ioctl(*ours, TIOCSWINSZ, &window);
    *its = open(ptsname(*ours), O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*its < 0) fail("terminal");
}

struct command start_command(void) {
    struct command command = {.errors = -1};
    int stdio[3], pipes[2];
    const char* size = planned(PLAN_TERMINAL);
    command.terminal = size != NULL;
    if (command.terminal) {
        open_terminal(size, &command.output, &stdio[0]);
        command.input = command.output;
        stdio[1] = stdio[2] = stdio[0];
    } else {
        make_pipe(pipes);
        stdio[0] = pipes[0], command.input = pipes[1];
        fcntl(command.input, F_SETFL,
              O_WRONLY | O_NONBLOCK);  // so as not to wait for a command that reads nothing
        make_pipe(pipes);
        stdio[1] = pipes[1], command.output = pipes[0];
    }
    if (!command.terminal || planned(PLAN_ERRORS_APART) != NULL) {
        make_pipe(pipes);
        stdio[2] = pipes[1], command.errors = pipes[0];
    }
    // Before it can end or be killed, what will be told of that.
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    signal(SIGPIPE, SIG_IGN);
    command.pid = fork();
    if (command.pid < 0) fail("fork");
    if (command.pid == 0) run(stdio, command.terminal);
    close(stdio[0]);
    if (!command.terminal) close(stdio[1]);
    if (command.errors >= 0) close(stdio[2]);
    return command;
}
