// SPDX-License-Identifier: Apache-2.0
// What the tests of disks share: a folder for images, and other programs' opinions of them.

#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace undercroft {

namespace fs = std::filesystem;

#define CONSOLE(guest) "console:\n" << (guest).output() << "\nerrors:\n" << (guest).errors()

struct Disks : testing::Test {
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-disks-" + std::to_string(getpid()));
    void SetUp() override { fs::create_directories(folder); }
    void TearDown() override { fs::remove_all(folder); }

    std::string file(const std::string& name, const std::string& bytes) const {
        std::ofstream{folder / name, std::ios::binary} << bytes;
        return (folder / name).string();
    }
    static std::string contents(const fs::path& path) {
        std::ifstream stream{path, std::ios::binary};
        return {std::istreambuf_iterator<char>{stream}, {}};
    }

    struct Outcome {
        int status = -1;
        std::string text;  // what it printed, to both outputs
    };
    // /sbin is not on an ordinary user's PATH.
    static Outcome run(const std::string& command) {
        Outcome outcome;
        FILE* pipe = popen(("PATH=$PATH:/sbin; { " + command + "; } 2>&1 </dev/null").c_str(), "re");
        if (pipe == nullptr) return outcome;
        std::array<char, 4096> bytes;
        while (std::size_t got = std::fread(bytes.data(), 1, bytes.size(), pipe))
            outcome.text.append(bytes.data(), got);
        int status = pclose(pipe);
        if (WIFEXITED(status)) outcome.status = WEXITSTATUS(status);
        return outcome;
    }
    static int shell(const std::string& command) { return run(command).status; }

    // The bytes that an image shows, by another program's reading, as a raw file.
    std::string raw_copy(const std::string& image, const std::string& format) const {
        std::string raw = (folder / "raw").string();
        EXPECT_EQ(shell("qemu-img convert -f " + format + " -O raw " + image + " " + raw), 0);
        return raw;
    }
};

}  // namespace undercroft
