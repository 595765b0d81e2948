// SPDX-License-Identifier: Apache-2.0
// madvise(2): have the host back memory before it is touched. Here for headers older than Linux 5.14; an
// older host refuses.

#pragma once

#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
