// SPDX-License-Identifier: Apache-2.0
// A stock kernel that was damaged, or that does not fit: one line on standard error, status 2. What needs no
// kernel is tested beside the command line (src/cli/bad_input_test.cpp).

#include "guest_process.hpp"
#include "settings.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace undercroft {

namespace {

namespace fs = std::filesystem;

struct StockKernelInput : testing::Test {
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-input-" + std::to_string(getpid()));
    void SetUp() override {
        NEED_GUEST(Image::Plain);
        fs::create_directories(folder);
    }
    void TearDown() override { fs::remove_all(folder); }

    static std::string kernel_bytes() {
        std::ifstream stream{kernel_path(), std::ios::binary};
        std::ostringstream bytes;
        bytes << stream.rdbuf();
        return bytes.str();
    }
    std::string file(const std::string& name, const std::string& bytes) const {
        std::ofstream{folder / name, std::ios::binary} << bytes;
        return (folder / name).string();
    }
    static void expect_refused(std::vector<std::string> arguments, const std::string& named) {
        arguments.insert(arguments.begin(), "run");
        GuestProcess process{arguments};
        EXPECT_EQ(process.wait_for_exit(60), 2) << process.output();
        const std::string& errors = process.errors();
        EXPECT_NE(errors.find(named), std::string::npos) << errors;
        EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 1) << errors;
        EXPECT_EQ(process.output(), "");
    }
};

TEST_F(StockKernelInput, TruncatedAnywhere) {
    std::string whole = kernel_bytes();
    for (std::size_t size :
         {std::size_t{100}, std::size_t{513}, std::size_t{5000}, whole.size() / 2, whole.size() - 100000}) {
        std::string path = file("truncated", whole.substr(0, size));
        expect_refused({"--kernel", path}, path);
    }
}

TEST_F(StockKernelInput, CorruptPayload) {
    std::string bytes = kernel_bytes();
    for (std::size_t at = bytes.size() / 2; at < bytes.size() / 2 + 4096; ++at)
        bytes[at] = static_cast<char>(bytes[at] ^ 0x5a);
    std::string path = file("corrupt", bytes);
    expect_refused({"--kernel", path}, path);
}

TEST_F(StockKernelInput, No64BitEntry) {
    std::string bytes = kernel_bytes();
    bytes[0x236] = static_cast<char>(bytes[0x236] & ~1);  // xloadflags: XLF_KERNEL_64
    std::string path = file("no-entry", bytes);
    expect_refused({"--kernel", path}, "64-bit");
}

TEST_F(StockKernelInput, MemoryTooSmall) {
    expect_refused({"--kernel", kernel_path(), "--memory", "32M"}, "memory");
}

TEST_F(StockKernelInput, InitrdLargerThanMemory) {
    std::string path = (folder / "initrd").string();
    std::ofstream{path} << "x";
    fs::resize_file(path, std::uintmax_t{300} << 20);
    expect_refused({"--kernel", kernel_path(), "--initrd", path, "--memory", "256M"}, "initrd");
}

TEST_F(StockKernelInput, UnwritableConsole) {
    expect_refused({"--kernel", kernel_path(), "--console", "file:/nonexistent/console"},
                   "/nonexistent/console");
    expect_refused({"--kernel", kernel_path(), "--console", "unix:/nonexistent/console"},
                   "/nonexistent/console");
}

}  // namespace

}  // namespace undercroft
