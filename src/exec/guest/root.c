// SPDX-License-Identifier: Apache-2.0
#include "guest.h"

#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void mount_or_fail(const char* source, const char* target, const char* type, unsigned long flags,
                          const char* options) {
    if (mount(source, target, type, flags, options) != 0) fail("mount %s at %s", type, target);
}

static void make_folders(const char* path) {
    char part[4096];
    for (size_t n = 1; n < sizeof part && path[n - 1] != '\0'; n++) {
        if (path[n] != '/' && path[n] != '\0') continue;
        memcpy(part, path, n);
        part[n] = '\0';
        mkdir(part, 0755);
    }
}

// The host's root, below an overlay in memory.
static void mount_overlay(void) {
    mkdir("/lower", 0755);
    mkdir("/changes", 0755);
    mkdir("/new", 0755);
    mount_or_fail("root", "/lower", "virtiofs", MS_RDONLY, NULL);
    mount_or_fail("changes", "/changes", "tmpfs", 0, "mode=755");
    mkdir("/changes/upper", 0755);
    mkdir("/changes/work", 0755);
    mount_or_fail("root", "/new", "overlay", 0,
                  "lowerdir=/lower,upperdir=/changes/upper,workdir=/changes/work");
}

static void mount_what_kernels_have(void) {
    static const char* const folders[] = {"/new/proc", "/new/sys", "/new/dev", "/new/run"};
    for (size_t n = 0; n < sizeof folders / sizeof *folders; n++) mkdir(folders[n], 0755);
    mkdir("/new/tmp", 01777);
    mount_or_fail("proc", "/new/proc", "proc", 0, NULL);
    mount_or_fail("sysfs", "/new/sys", "sysfs", 0, NULL);
    mount_or_fail("devtmpfs", "/new/dev", "devtmpfs", 0, NULL);
    mkdir("/new/dev/pts", 0755);
    mkdir("/new/dev/shm", 01777);
    mount_or_fail("devpts", "/new/dev/pts", "devpts", 0, "gid=5,mode=620,ptmxmode=666");
    mount_or_fail("shm", "/new/dev/shm", "tmpfs", 0, "mode=1777");
    mount_or_fail("run", "/new/run", "tmpfs", 0, "mode=755");
    (void)!symlink("/proc/self/fd", "/new/dev/fd");
    (void)!symlink("/proc/self/fd/0", "/new/dev/stdin");
    (void)!symlink("/proc/self/fd/1", "/new/dev/stdout");
    (void)!symlink("/proc/self/fd/2", "/new/dev/stderr");
}

static void mount_shared(const char* folder) {
    char path[4096 + 8];
    snprintf(path, sizeof path, "/new%s", folder);
    make_folders(path);
    mount_or_fail("work", path, "virtiofs", planned(PLAN_READ_ONLY) != NULL ? MS_RDONLY : 0, NULL);
}

void mount_root(void) {
    mount_overlay();
    mount_what_kernels_have();
    const char* shared = planned(PLAN_SHARED);
    if (shared != NULL) mount_shared(shared);
    // An initramfs cannot be left by pivot_root.
    if (chdir("/new") != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0 ||
        chdir("/") != 0)
        fail("the new root");
}
