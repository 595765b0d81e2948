// SPDX-License-Identifier: Apache-2.0
#include "guest.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char* plan;
static size_t plan_size;

void read_plan(void) {
    struct stat status;
    int fd = open("/plan", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) fail("/plan");
    plan_size = (size_t)status.st_size;
    plan = malloc(plan_size + 1);
    if (plan == NULL || read(fd, plan, plan_size) != status.st_size) fail("/plan");
    plan[plan_size] = '\0';
    close(fd);
}

static char* next(char* entry) {
    entry = entry == NULL ? plan : entry + strlen(entry) + 1;
    return entry < plan + plan_size ? entry : NULL;
}

char* planned(enum plan_entry which) {
    for (char* entry = NULL; (entry = next(entry)) != NULL;)
        if (entry[0] == (char)which) return entry + 1;
    return NULL;
}

char** all_planned(enum plan_entry which) {
    size_t count = 0;
    for (char* entry = NULL; (entry = next(entry)) != NULL;) count += entry[0] == (char)which;
    char** list = calloc(count + 1, sizeof *list);
    if (list == NULL) fail("memory");
    count = 0;
    for (char* entry = NULL; (entry = next(entry)) != NULL;)
        if (entry[0] == (char)which) list[count++] = entry + 1;
    return list;
}
