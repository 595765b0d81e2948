// SPDX-License-Identifier: Apache-2.0
#include "guest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int ports[PORTS] = {-1, -1, -1, -1};

void load_modules(void) {
    for (char** path = all_planned(PLAN_MODULE); *path != NULL; path++) {
        int fd = open(*path, O_RDONLY | O_CLOEXEC);
        const char* ending = strrchr(*path, '.');
        int flags = ending != NULL && strcmp(ending, ".ko") != 0 ? 4 : 0;  // MODULE_INIT_COMPRESSED_FILE
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", flags) != 0 && errno != EEXIST))
            fail("module %s", *path);
        close(fd);
    }
}

// Whatever number the kernel gives to the device: there is one.
static int find_port(unsigned number) {
    char ending[16];
    snprintf(ending, sizeof ending, "p%u", number);
    DIR* devices = opendir("/dev");
    int fd = -1;
    for (struct dirent* entry; fd < 0 && devices != NULL && (entry = readdir(devices)) != NULL;) {
        char path[300];
        const char* at = strrchr(entry->d_name, 'p');
        if (strncmp(entry->d_name, "vport", 5) != 0 || at == NULL || strcmp(at, ending) != 0) continue;
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    }
    if (devices != NULL) closedir(devices);
    return fd;
}

// What is written before the host has opened its end would be lost. It opens them in their order; that of the
// input may be closed again by now.
static int has_other_end(int fd) {
    struct pollfd look = {.fd = fd, .events = POLLOUT};
    return poll(&look, 1, 0) > 0 && (look.revents & POLLOUT) != 0 && (look.revents & POLLHUP) == 0;
}

// The kernel makes them in its own time.
void open_ports(void) {
    int found[PORTS] = {-1, -1, -1, -1};
    for (unsigned tries = 0, n = 0; n < PORTS; tries++) {
        if (found[n] < 0) found[n] = find_port(n);
        if (found[n] >= 0 && (n == PORT_INPUT || has_other_end(found[n]))) {
            n++;
            continue;
        }
        errno = ENODEV;
        if (tries > 5000) fail("port %u of the virtio console", n);
        usleep(200);
    }
    memcpy(ports, found, sizeof ports);
}

void tell_host(const char* format, ...) {
    char line[80];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    for (const char* rest = line; length > 0;) {
        struct pollfd wait = {.fd = ports[PORT_CONTROL], .events = POLLOUT};
        poll(&wait, 1, -1);
        ssize_t n = write(ports[PORT_CONTROL], rest, (size_t)length);
        if (n < 0 && errno != EAGAIN && errno != EINTR) return;
        if (n > 0) rest += n, length -= (int)n;
    }
}
