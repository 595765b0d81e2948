// SPDX-License-Identifier: Apache-2.0
// The stock kernel's balloon driver: it gives memory up when it is asked to, takes it back, and reports what
// is free; what the guest keeps stays as it is.

#include "small_machines.hpp"

#include <chrono>
#include <functional>
#include <regex>

namespace undercroft {
namespace {

constexpr std::uint64_t mebibyte = 1 << 20;

struct Balloon : SmallMachines {
    std::string stock_machine() const {
        std::string cache = GUESTS_CACHE;
        std::filesystem::path path = folder / "guest.toml";
        std::ofstream{path} << "kernel = '" << cache << "/cloud/vmlinuz'\n"
                            << "initrd = '" << cache << "/initramfs-cloud.cpio'\n"
                            << "append = 'quiet'\nmemory = '256M'\nballoon = true\n";
        return path.string();
    }
    static std::uint64_t figure(const char* name) {
        std::string list = undercroft({"ps", "--json"}).output;
        std::smatch found;
        std::regex pattern{std::string{"\""} + name + "\":([0-9]+)"};
        return std::regex_search(list, found, pattern) ? std::stoull(found[1]) : ~std::uint64_t{0};
    }
    // Asks again until it holds; false: it did not for long.
    static bool comes(const std::function<bool()>& holds) {
        auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>{patience(30)};
        while (!holds()) {
            if (std::chrono::steady_clock::now() > end) return false;
        }
        return true;
    }
};

TEST_F(Balloon, TakesMemoryAndGivesItBack) {
    NEED_GUEST(Image::Plain);
    GuestProcess guest{{"run", stock_machine()}};
    guest.send(
        "dd if=/dev/urandom of=/tmp/kept bs=1M count=40; sum=$(md5sum </tmp/kept); echo stored=$((1 + 1))\n");
    ASSERT_TRUE(guest.wait_for("stored=2", patience(60))) << CONSOLE_OF(guest);
    auto kept = [&](const char* word) {
        guest.send(std::string{"[ \"$sum\" = \"$(md5sum </tmp/kept)\" ] && echo "} + word + "=$((1 + 1))\n");
        return guest.wait_for(std::string{word} + "=2", patience(30));
    };

    EXPECT_EQ(undercroft({"balloon", "guest", "128M"}).status, 0);
    EXPECT_TRUE(comes([] { return figure("ballooned_bytes") == 128 * mebibyte; }));
    EXPECT_TRUE(kept("inflated")) << CONSOLE_OF(guest);
    EXPECT_EQ(undercroft({"balloon", "guest", "256M"}).status, 0);
    // A page is the guest's again as soon as it is written, and no sooner does it count as such.
    guest.send("dd if=/dev/zero bs=1M count=128 | tr '\\0' x >/tmp/filled; echo filled=$((1 + 1))\n");
    ASSERT_TRUE(guest.wait_for("filled=2", patience(60))) << CONSOLE_OF(guest);
    std::uint64_t full = figure("touched_bytes");
    EXPECT_LT(figure("ballooned_bytes"), 64 * mebibyte);
    EXPECT_GT(full, 150 * mebibyte);
    EXPECT_TRUE(kept("deflated")) << CONSOLE_OF(guest);

    // Free memory is reported after some seconds, in pieces of 2 MiB or more.
    guest.send(
        "rm /tmp/filled; echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/compact_memory; echo "
        "removed=$((1 + 1))\n");
    ASSERT_TRUE(guest.wait_for("removed=2", patience(30))) << CONSOLE_OF(guest);
    EXPECT_TRUE(comes([full] { return figure("touched_bytes") + 32 * mebibyte < full; }));
    EXPECT_TRUE(kept("reported")) << CONSOLE_OF(guest);
    guest.send("exit\n");
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE_OF(guest);
}

// Nobody asks by hand: the pool has no room for what the guest writes.
TEST_F(Balloon, IsAskedWhenThePoolIsShort) {
    NEED_GUEST(Image::Plain);
    GuestProcess guest{{"run", stock_machine(), "--pool", "80M", "--swap", folder.string()}};
    guest.send(
        "dd if=/dev/urandom of=/tmp/kept bs=1M count=60; sum=$(md5sum </tmp/kept); echo stored=$((1 + 1))\n");
    ASSERT_TRUE(guest.wait_for("stored=2", patience(60))) << CONSOLE_OF(guest);
    EXPECT_TRUE(comes([] { return figure("ballooned_bytes") - 1 < 256 * mebibyte; }));
    guest.send("[ \"$sum\" = \"$(md5sum </tmp/kept)\" ] && echo kept=$((1 + 1)); exit\n");
    EXPECT_TRUE(guest.wait_for("kept=2", patience(60))) << CONSOLE_OF(guest);
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE_OF(guest);
}

TEST_F(Balloon, WithoutOneItIsSaid) {
    GuestProcess guest{{"run", machine("idle", small::idle), machine("mute", small::idle, "balloon = true")}};
    ASSERT_TRUE(guest.wait_for("ready", patience(20)) && guest.wait_for("ready", patience(20)))
        << CONSOLE_OF(guest);
    EXPECT_EQ(undercroft({"balloon", "idle", "32M"}).errors,
              "undercroft: machine 'idle': it has no balloon: it has to be started with one\n");
    EXPECT_EQ(undercroft({"balloon", "mute", "32M"}).errors,
              "undercroft: machine 'mute': its guest has no driver for the balloon (virtio_balloon)\n");
}

}  // namespace
}  // namespace undercroft
