// SPDX-License-Identifier: Apache-2.0
// The first process of a machine that `undercroft exec` boots: mounts the host's folders, runs one command,
// passes its input and output through the ports of a virtio console, and says how it ended. It is linked
// statically, and embedded in the host's program.
#ifndef UNDERCROFT_EXEC_GUEST_H
#define UNDERCROFT_EXEC_GUEST_H

#include <stddef.h>
#include <sys/types.h>

// plan.c: what is to be done, from /plan: strings with a zero behind each, whose first letter says what it
// is.
enum plan_entry {
    PLAN_MODULE = 'm',     // path of a kernel module to load, in this order
    PLAN_SHARED = 'w',     // the file system of the tag "work" is mounted there, and the command begins there
    PLAN_READ_ONLY = 'o',  // ... and may not be changed
    PLAN_FOLDER = 'd',     // or it begins there
    PLAN_TERMINAL = 't',   // "ROWS COLUMNS" of the command's terminal; it has pipes without it
    PLAN_ERRORS_APART = 's',  // its error output is a pipe all the same
    PLAN_UMASK = 'u',         // in octal digits
    PLAN_VARIABLE = 'e',      // NAME=VALUE
    PLAN_ARGUMENT = 'a',
};
void read_plan(void);
char* planned(enum plan_entry entry);       // the first one, or NULL
char** all_planned(enum plan_entry entry);  // with a NULL behind them

// ports.c: the console's ports. What goes over PORT_CONTROL is said in exec/control_port.hpp.
enum port { PORT_INPUT, PORT_OUTPUT, PORT_ERRORS, PORT_CONTROL, PORTS };
extern int ports[PORTS];  // they do not block
void load_modules(void);
void open_ports(void);
__attribute__((format(printf, 1, 2))) void tell_host(const char* format, ...);

// root.c
void mount_root(void);

// command.c: the command, as its process group's leader
struct command {
    pid_t pid;
    int input, output,
        errors;    // our ends; `errors` is -1 if a terminal takes them, whose end both others are
    int terminal;  // that is so
};
struct command start_command(void);

// streams.c: until the command has ended
struct ending {
    int status;
    unsigned long long output, errors;  // bytes
};
struct ending attend(struct command command);

// init.c
enum { STATUS_FAILED = 125, STATUS_NOT_EXECUTABLE = 126, STATUS_NOT_FOUND = 127 };
// The host is told, and the machine ends.
__attribute__((noreturn)) void finish(struct ending ending);
// Says what keeps the command from being run, with the reason in errno.
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char* format, ...);

#endif
