// SPDX-License-Identifier: Apache-2.0
// Processes: fork and exec in loops, exit statuses, pipes between generations, many at once.

#include <spawn.h>
#include <sys/socket.h>

#include "result.h"

static void forks(void) {
    int good = 0;
    for (int i = 0; i < 300; i++) {
        const pid_t child = fork();
        if (child == 0) _exit(i & 0xff);
        int status = 0;
        if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == (i & 0xff))
            good++;
    }
    check(good == 300, "processes.fork", "%d of 300", good);
}

static void execs(const char* self) {
    int good = 0;
    for (int i = 0; i < 100; i++) {
        char text[12];
        snprintf(text, sizeof text, "%d", i);
        char* arguments[] = {"processes", "exit", text, NULL};
        pid_t child;
        int status = 0;
        if (posix_spawn(&child, self, NULL, NULL, arguments, environ) == 0 &&
            waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == i)
            good++;
    }
    check(good == 100, "processes.exec", "%d of 100", good);
}

// A byte goes back and forth between two processes.
static void ping_pong(void) {
    int there[2], back[2], good = 0;
    if (pipe(there) != 0 || pipe(back) != 0)
        return check(false, "processes.ping-pong", "pipe: %s", strerror(errno));
    const pid_t child = fork();
    uint8_t byte = 0;
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1) {
            byte++;
            if (write(back[1], &byte, 1) != 1) _exit(1);
        }
        _exit(0);
    }
    for (int i = 0; i < 2000; i++) {
        byte = (uint8_t)i;
        if (write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1 && byte == (uint8_t)(i + 1))
            good++;
    }
    close(there[1]);
    int status = 1;
    waitpid(child, &status, 0);
    close(there[0]), close(back[0]), close(back[1]);
    check(good == 2000 && status == 0, "processes.ping-pong", "%d of 2000, status %#x", good, status);
}

// A chain of processes, each of which adds one to every number that passes.
static void chain(void) {
    enum { Links = 20, Numbers = 5000 };
    int input = -1, output[2];
    for (int link = 0; link <= Links; link++) {
        if (pipe(output) != 0) return check(false, "processes.chain", "pipe: %s", strerror(errno));
        if (fork() == 0) {
            FILE* to = fdopen(output[1], "w");
            close(output[0]);
            uint32_t number;
            if (link == 0) {
                for (number = 0; number < Numbers; number++) fwrite(&number, sizeof number, 1, to);
            } else {
                FILE* from = fdopen(input, "r");
                while (fread(&number, sizeof number, 1, from) == 1) {
                    number++;
                    fwrite(&number, sizeof number, 1, to);
                }
            }
            fflush(to);
            _exit(0);
        }
        close(output[1]);
        if (input >= 0) close(input);
        input = output[0];
    }
    FILE* from = fdopen(input, "r");
    uint32_t number, good = 0;
    while (fread(&number, sizeof number, 1, from) == 1)
        if (number == good + Links) good++;
    fclose(from);
    while (wait(NULL) > 0) {
    }
    check(good == Numbers, "processes.chain", "%u of %d numbers", good, Numbers);
}

// Many children at once, each of which fills memory of its own.
static void crowd(void) {
    enum { Children = 40 };
    static uint32_t shared_by_copy[4096];
    for (unsigned i = 0; i < 4096; i++) shared_by_copy[i] = i;
    for (int i = 0; i < Children; i++) {
        if (fork() == 0) {
            for (unsigned round = 0; round < 20; round++)
                for (unsigned k = 0; k < 4096; k++) shared_by_copy[k] = shared_by_copy[k] * 5 + (uint32_t)i;
            uint32_t expected = 17;
            for (unsigned round = 0; round < 20; round++) expected = expected * 5 + (uint32_t)i;
            _exit(shared_by_copy[17] == expected ? 0 : 1);
        }
    }
    int good = 0, status;
    while (wait(&status) > 0) good += status == 0;
    check(good == Children && shared_by_copy[17] == 17, "processes.crowd", "%d of %d", good, Children);
}

static void sockets(void) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return skip("processes.socket", "no Unix sockets");
    enum { Bytes = 1 << 20 };
    if (fork() == 0) {
        static uint8_t block[3000];
        for (unsigned sent = 0; sent < Bytes;) {
            unsigned count = sizeof block < Bytes - sent ? sizeof block : Bytes - sent;
            for (unsigned i = 0; i < count; i++) block[i] = (uint8_t)((sent + i) * 31 >> 3);
            if (write(ends[1], block, count) != (ssize_t)count) _exit(1);
            sent += count;
        }
        _exit(0);
    }
    close(ends[1]);
    unsigned received = 0, wrong = 0;
    uint8_t block[4096];
    for (ssize_t count; (count = read(ends[0], block, sizeof block)) > 0; received += (unsigned)count)
        for (unsigned i = 0; i < (unsigned)count; i++)
            wrong += block[i] != (uint8_t)((received + i) * 31 >> 3);
    wait(NULL);
    check(received == Bytes && wrong == 0, "processes.socket", "%u bytes, %u wrong", received, wrong);
    close(ends[0]);
}

int main(int count, char** arguments) {
    if (count == 3) return atoi(arguments[2]);
    forks();
    execs("/proc/self/exe");
    ping_pong();
    chain();
    crowd();
    sockets();
}
