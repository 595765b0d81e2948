// SPDX-License-Identifier: Apache-2.0
// Sockets between guest and host (AF_VSOCK). `vsock echo PORT N`: takes N connections, one after the other,
// and sends back what comes. `vsock talk PORT`: connects to the host, sends standard input, ends that half,
// and prints what comes back. Says what failed on standard output.
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

static int failed(const char* what) {
    printf("vsock: %s: %s\n", what, strerror(errno));
    return 1;
}

static struct sockaddr_vm address(unsigned cid, const char* port) {
    return (struct sockaddr_vm){
        .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = (unsigned)strtoul(port, NULL, 10)};
}

// All that comes from one goes to the other.
static bool copy(int from, int to) {
    static char bytes[65536];
    ssize_t got;
    while ((got = read(from, bytes, sizeof bytes)) > 0) {
        for (ssize_t done = 0; done < got;) {
            ssize_t sent = write(to, bytes + done, (size_t)(got - done));
            if (sent < 0) return false;
            done += sent;
        }
    }
    return got == 0;
}

static int echo(const char* port, unsigned connections) {
    struct sockaddr_vm here = address(VMADDR_CID_ANY, port);
    int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (listener < 0) return failed("socket");
    if (bind(listener, (struct sockaddr*)&here, sizeof here) != 0) return failed("bind");
    if (listen(listener, 8) != 0) return failed("listen");
    puts("VSOCK listens");
    fflush(stdout);
    for (; connections > 0; --connections) {
        int peer = accept(listener, NULL, NULL);
        if (peer < 0) return failed("accept");
        if (!copy(peer, peer)) return failed("copy");
        close(peer);
    }
    return 0;
}

static int talk(const char* port) {
    struct sockaddr_vm host = address(VMADDR_CID_HOST, port);
    int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (fd < 0) return failed("socket");
    if (connect(fd, (struct sockaddr*)&host, sizeof host) != 0) return failed("connect");
    if (!copy(STDIN_FILENO, fd)) return failed("send");
    if (shutdown(fd, SHUT_WR) != 0) return failed("shutdown");
    if (!copy(fd, STDOUT_FILENO)) return failed("receive");
    close(fd);
    return 0;
}

int main(int count, char** words) {
    if (count == 4 && strcmp(words[1], "echo") == 0) return echo(words[2], (unsigned)atoi(words[3]));
    if (count == 3 && strcmp(words[1], "talk") == 0) return talk(words[2]);
    fputs("usage: vsock echo PORT N | vsock talk PORT\n", stderr);
    return 2;
}
