// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.hpp"

#include <fcntl.h>
#include <unistd.h>

namespace {

// A closed standard descriptor would be reused for the next file opened, which then gets what was meant for
// it. Read-only, so that writing still fails.
void open_standard_descriptors() {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
        if (fcntl(fd, F_GETFD) < 0) (void)!open("/dev/null", O_RDONLY);  // the lowest number that is free: fd
    }
}

}  // namespace

int main(int argc, char** argv) {
    open_standard_descriptors();
    return undercroft::cli::start(argc, argv);
}
