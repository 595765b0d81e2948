// SPDX-License-Identifier: Apache-2.0
// Very many machines in one process: they all boot, and idle together they leave the host's processors alone.

#include "guest_process.hpp"
#include "settings.hpp"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

double resident_mebibytes(pid_t process) {
    std::ifstream statm{"/proc/" + std::to_string(process) + "/statm"};
    double size = 0;
    double resident = 0;
    statm >> size >> resident;
    return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

TEST(ManyMachines, BootAndIdle) {
    NEED_GUEST(Image::Plain);
    int count = std::stoi(setting("UNDERCROFT_MACHINES", "64"));
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-many-" + std::to_string(getpid()));
    fs::create_directories(folder);
    std::vector<std::string> arguments{"run"};
    for (int n = 0; n < count; ++n) {
        fs::path path = folder / ("m" + std::to_string(n) + ".toml");
        std::ofstream{path} << "kernel = '" << kernel_path() << "'\ninitrd = '" << initrd_path(Image::Plain)
                            << "'\nappend = 'undercroft.script=idle undercroft.bytes=10000 quiet'\n"
                            << "memory = '96M'\n";
        arguments.push_back(path);
    }
    GuestProcess guests{arguments};
    for (int n = 0; n < count; ++n)
        ASSERT_TRUE(guests.wait_for("undercroft: idle begins", patience(300)))
            << n << " of them are up:\n"
            << guests.output() << guests.errors();
    double use = guests.least_processor_use(5, 0.1, "undercroft: idle ends");
    std::printf("%d machines: idle they use %.2f %% of one processor; %.1f MiB resident for each\n", count,
                use * 100, resident_mebibytes(guests.pid()) / count);
    EXPECT_LT(use, 0.1) << "of one processor";
    guests.terminate();
    EXPECT_EQ(guests.wait_for_exit(patience(60)), std::nullopt) << "killed by the signal";
    fs::remove_all(folder);
}

}  // namespace
}  // namespace undercroft
