// SPDX-License-Identifier: Apache-2.0
#include "exec/kernel_files.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

TEST(ModuleOrder, WhatIsNeededComesFirst) {
    constexpr std::string_view dependencies =
        "kernel/fs/fuse/virtiofs.ko: kernel/fs/fuse/fuse.ko kernel/drivers/virtio/virtio_ring.ko "
        "kernel/drivers/virtio/virtio.ko\n"
        "kernel/drivers/virtio/virtio.ko:\n"
        "kernel/drivers/virtio/virtio-mmio.ko.xz: kernel/drivers/virtio/virtio_ring.ko "
        "kernel/drivers/virtio/virtio.ko\n"
        "kernel/unwanted.ko: kernel/other.ko\n";
    EXPECT_EQ(
        module_order(dependencies, {"virtiofs", "virtio_mmio", "overlay"}),
        (std::vector<std::string>{"kernel/drivers/virtio/virtio.ko", "kernel/drivers/virtio/virtio_ring.ko",
                                  "kernel/fs/fuse/fuse.ko", "kernel/fs/fuse/virtiofs.ko",
                                  "kernel/drivers/virtio/virtio-mmio.ko.xz"}));
    EXPECT_TRUE(module_order("", {"overlay"}).empty());
    EXPECT_TRUE(module_order("no colon\n\n:", {"overlay"}).empty());
}

// A bzImage that says no more than this.
std::vector<std::byte> image_of(const char* version, std::uint16_t offset = 0x100) {
    std::vector<std::byte> image(0x400);
    std::memcpy(image.data() + 0x20e, &offset, 2);
    std::memcpy(image.data() + 0x300, version, std::strlen(version));
    return image;
}

TEST(KernelRelease, IsTheVersionsFirstWord) {
    EXPECT_EQ(kernel_release(image_of("6.1.0-1-amd64 (builder) #1 SMP")), "6.1.0-1-amd64");
    EXPECT_EQ(kernel_release(image_of("6.1", 0)), "");
    EXPECT_EQ(kernel_release(image_of("../../etc")), "");
    EXPECT_EQ(kernel_release(image_of("6.1", 0xfff0)), "");
    EXPECT_EQ(kernel_release({}), "");
}

struct FindKernel : testing::Test {
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-kernels-" + std::to_string(getpid()));
    void SetUp() override { fs::create_directories(folder / "boot"); }
    void TearDown() override { fs::remove_all(folder); }

    std::string kernel(const std::string& name) const {
        auto image = image_of("6.0-test");
        std::ofstream{folder / name, std::ios::binary}.write(reinterpret_cast<const char*>(image.data()),
                                                             static_cast<std::streamsize>(image.size()));
        return (folder / name).string();
    }
    void modules_below(const std::string& root) const {
        fs::create_directories(folder / root / "lib/modules/6.0-test");
        std::ofstream{folder / root / "lib/modules/6.0-test/modules.dep"} << "kernel/overlay.ko:\n";
    }
};

TEST_F(FindKernel, ModulesAreBesideItOrBesideItsFolder) {
    std::string here = kernel("vmlinuz");
    std::string below = kernel("boot/vmlinuz");
    EXPECT_TRUE(find_kernel(here, "")->modules.empty()) << "it may have all built in";
    modules_below("");
    std::vector<std::string> found{(folder / "lib/modules/6.0-test/kernel/overlay.ko").string()};
    EXPECT_EQ(find_kernel(here, "")->modules, found);
    EXPECT_EQ(find_kernel(below, "")->modules, found);
    EXPECT_EQ(find_kernel(below, (folder / "lib/modules/6.0-test").string())->modules, found);
}

TEST_F(FindKernel, SaysWhatIsMissing) {
    EXPECT_EQ(find_kernel("/nonexistent", "").error().message,
              "kernel '/nonexistent': No such file or directory");
    EXPECT_EQ(find_kernel(kernel("vmlinuz"), "/nonexistent").error().message,
              "modules '/nonexistent/modules.dep': No such file or directory; depmod(8) makes this file");
    fs::create_directories(folder / "lib/modules/6.0-test");
    EXPECT_EQ(find_kernel(kernel("vmlinuz"), "").error().message,
              "modules '" + (folder / "lib/modules/6.0-test/modules.dep").string() +
                  "': No such file or directory; depmod(8) makes this file")
        << "a kernel that has modules needs them";
}

}  // namespace
}  // namespace undercroft
