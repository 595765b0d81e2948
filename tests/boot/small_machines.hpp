// SPDX-License-Identifier: Apache-2.0
// A folder with machines of small kernels, a monitor's sockets in it, and the program's verbs.

#pragma once

#include "guest_process.hpp"
#include "settings.hpp"
#include "small_kernels.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace undercroft {

#define CONSOLE_OF(guest) "console:\n" << (guest).output() << "\nerrors:\n" << (guest).errors()

struct SmallMachines : testing::Test {
    std::filesystem::path folder =
        std::filesystem::path{testing::TempDir()} / ("undercroft-small-" + std::to_string(getpid()));

    void SetUp() override {
        std::filesystem::create_directories(folder);
        setenv("XDG_RUNTIME_DIR", folder.c_str(), 1);
    }
    void TearDown() override { std::filesystem::remove_all(folder); }

    // The path of NAME.toml: a machine that prints "ready" and then executes `code`.
    std::string machine(const std::string& name, const small::Code& code,
                        const std::string& more = "") const {
        small::write_kernel(folder / (name + ".elf"), small::join(small::print("ready\n"), code));
        std::filesystem::path path = folder / (name + ".toml");
        std::ofstream{path} << "kernel = '" << name << ".elf'\nmemory = '32M'\n" << more << "\n";
        return path.string();
    }

    struct Ran {
        int status = -1;
        std::string output, errors;
    };
    static Ran undercroft(const std::vector<std::string>& arguments) {
        GuestProcess process{arguments};
        process.close_input();
        Ran ran;
        ran.status = process.wait_for_exit(patience(20)).value_or(-1);
        ran.output = process.output();
        ran.errors = process.errors();
        return ran;
    }
    std::vector<std::string> sockets() const {
        std::vector<std::string> found;
        std::error_code none;
        for (const auto& entry : std::filesystem::directory_iterator{folder / "undercroft", none})
            found.push_back(entry.path().string());
        return found;
    }
    static int connect_to(const std::string& path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.data(), path.size());
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0) << path;
        return fd;
    }
};

}  // namespace undercroft
