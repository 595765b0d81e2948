// SPDX-License-Identifier: Apache-2.0
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void power_off(void) {
    reboot(RB_POWER_OFF);
    for (;;) pause();
}

// Files that programs have mapped are written back before the host hears of the end; then whatever it says is
// for us: there is no command any more.
void finish(struct ending ending) {
    sync();
    tell_host("exit %d %llu %llu\n", ending.status, ending.output, ending.errors);
    char answer[4096];
    do {
        struct pollfd wait = {.fd = ports[PORT_CONTROL], .events = POLLIN};
        poll(&wait, 1, -1);
        ssize_t length = read(ports[PORT_CONTROL], answer, sizeof answer - 1);
        answer[length > 0 ? length : 0] = '\0';
    } while (strstr(answer, "bye") == NULL);
    power_off();
    __builtin_unreachable();
}

// On the error output, or on the console while there is none.
void fail(const char* format, ...) {
    char text[512];
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    int has_ports = ports[PORT_CONTROL] >= 0;
    int written = dprintf(has_ports ? ports[PORT_ERRORS] : STDERR_FILENO,
                          "undercroft: in the guest: %s: %s\n", text, strerror(error));
    if (has_ports) finish((struct ending){STATUS_FAILED, 0, written > 0 ? (unsigned long long)written : 0});
    power_off();
    __builtin_unreachable();
}

static void set_up_loopback(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
}

// A kernel that has found no console leaves these descriptors free for the next file that is opened.
static void open_standard_descriptors(void) {
    int fd;
    do fd = open("/dev/console", O_RDWR);
    while (fd >= 0 && fd < STDERR_FILENO);
    if (fd > STDERR_FILENO) close(fd);
}

int main(void) {
    umask(0);
    mkdir("/dev", 0755);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);  // or the kernel has done it
    open_standard_descriptors();
    read_plan();
    load_modules();
    open_ports();
    mount_root();
    set_up_loopback();
    sethostname("undercroft", 10);
    finish(attend(start_command()));
}
