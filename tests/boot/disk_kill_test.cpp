// SPDX-License-Identifier: Apache-2.0
// The process is killed at any moment of a stock guest's writes to a file system. The image is whole, so is
// the file system after its journal was replayed, and the files that the guest said to be flushed are there.
// UNDERCROFT_KILLS says how often. docs/testing.md has what is asserted, and why.

#include "disk_fixture.hpp"
#include "guest_process.hpp"
#include "settings.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <map>
#include <random>
#include <regex>
#include <string>
#include <utility>
#include <vector>

namespace undercroft {
namespace {

// An image with an ext4 file system.
struct Medium {
    std::string format{};  // qemu-img's word
    std::string path{};
    std::map<std::string, std::string> flushed{};  // files of all rounds with this image, and their contents
    std::uint64_t leaked = 0;                      // clusters, in all rounds
};

struct KilledDisks : Disks {
    std::mt19937 random{1};
    std::array<Medium, 2> media{{{.format = "raw"}, {.format = "qcow2"}}};

    void make(Medium& medium, bool small_blocks) const;
    void write_until_killed(Medium& medium, int round);
    bool has_new_leaks(Medium& medium) const;
    void check_file_system(const Medium& medium) const;
};

void KilledDisks::make(Medium& medium, bool small_blocks) const {
    std::string raw = (folder / "new").string();
    fs::remove(raw);
    ASSERT_EQ(shell("mke2fs -q -t ext4 -b " + std::string{small_blocks ? "1024 " : "4096 "} + raw + " 64M"),
              0);
    medium = {.format = medium.format, .path = (folder / ("disk." + medium.format)).string()};
    std::string option = medium.format == "raw" ? ""
                         : small_blocks         ? "-o cluster_size=4k "
                                                : "-o cluster_size=64k ";
    ASSERT_EQ(shell("qemu-img convert -O " + medium.format + " " + option + raw + " " + medium.path), 0);
}

// What guests/scripts/disk-kill writes to a file.
std::string contents_of(std::uint64_t round, std::uint64_t number) {
    std::uint64_t first = (round * 10000 + number) * 10000;
    std::string text;
    for (std::uint64_t n = first; n <= first + number * 131 % 4000; ++n) text += std::to_string(n) + "\n";
    return text;
}

// From the guest's mount on to some time after a random number of files.
void KilledDisks::write_until_killed(Medium& medium, int round) {
    std::vector<std::string> arguments =
        run_script("disk-kill", Image::Plain, "undercroft.round=" + std::to_string(round));
    arguments.insert(arguments.end(), {"--disk", medium.path + ",format=" + medium.format});
    GuestProcess guest{arguments};
    ASSERT_TRUE(guest.wait_for("DISK mounting", patience(60))) << CONSOLE(guest);
    for (auto files = random() % 24; files > 0; --files)
        ASSERT_TRUE(guest.wait_for("FLUSHED ", patience(60))) << CONSOLE(guest);
    guest.wait_for("what it never says", static_cast<double>(random() % 30) / 1000);
    ::kill(guest.pid(), SIGKILL);
    EXPECT_EQ(guest.wait_for_exit(patience(10)), std::nullopt);

    std::regex line{"FLUSHED " + std::to_string(round) + "-([0-9]+)\\."};
    const std::string& said = guest.output();
    EXPECT_EQ(said.find("DISK FAIL"), std::string::npos) << CONSOLE(guest);
    for (std::sregex_iterator found{said.begin(), said.end(), line}, end; found != end; ++found)
        medium.flushed[std::to_string(round) + "-" + found->str(1)] =
            contents_of(static_cast<std::uint64_t>(round), std::stoull(found->str(1)));
}

// qemu-img check finds the image whole, but for clusters that are counted and not used. Are there more of
// these?
bool KilledDisks::has_new_leaks(Medium& medium) const {
    if (medium.format == "raw") return false;
    Outcome check = run("qemu-img check --output=json " + medium.path + " 2>/dev/null");
    EXPECT_TRUE(check.status == 0 || check.status == 3) << check.text;
    auto report = nlohmann::json::parse(check.text, nullptr, false);
    EXPECT_TRUE(report.is_object()) << check.text;
    auto leaked = report.is_object() ? report.value("leaks", std::uint64_t{0}) : 0;
    EXPECT_EQ(check.status == 3, leaked > 0) << check.text;
    return leaked > std::exchange(medium.leaked, leaked);
}

void KilledDisks::check_file_system(const Medium& medium) const {
    std::string copy = raw_copy(medium.path, medium.format);
    Outcome as_it_is = run("e2fsck -n " + copy);
    EXPECT_EQ(as_it_is.status, 0) << as_it_is.text;
    // What a mount would do, too: replay the journal, delete what was being deleted.
    Outcome recovery = run("e2fsck -p " + copy);
    EXPECT_TRUE(recovery.status == 0 || recovery.status == 1) << recovery.text;
    EXPECT_NE(recovery.text.find(": clean, "), std::string::npos) << "no repair: " << recovery.text;
    if (!medium.flushed.empty()) {
        EXPECT_NE(recovery.text.find("recovering journal"), std::string::npos) << recovery.text;
    }
    Outcome all_of_it = run("e2fsck -fn " + copy);
    EXPECT_EQ(all_of_it.status, 0) << all_of_it.text;

    fs::remove_all(folder / "kept");
    Outcome dump = run("debugfs -R 'rdump /kept " + folder.string() + "' " + copy);
    std::string lost;
    for (const auto& [name, text] : medium.flushed)
        if (contents(folder / "kept" / name) != text) lost += " " + name;
    EXPECT_EQ(lost, "") << "of " << medium.flushed.size() << " flushed files; debugfs: " << dump.text;
}

TEST_F(KilledDisks, KeepWhatWasFlushed) {
    NEED_GUEST(Image::Plain);
    int kills = std::stoi(setting("UNDERCROFT_KILLS", "6"));
    int of_qcow2 = 0, leaking = 0;
    std::size_t files = 0;
    for (int round = 0; round < kills && !HasFatalFailure(); ++round) {
        Medium& medium = media[static_cast<std::size_t>(round % 2)];
        SCOPED_TRACE("round " + std::to_string(round) + ", " + medium.format);
        if (round % 10 < 2) make(medium, round / 10 % 2 != 0);
        std::size_t before = medium.flushed.size();
        write_until_killed(medium, round);
        files += medium.flushed.size() - before;
        of_qcow2 += medium.format == "qcow2";
        leaking += has_new_leaks(medium);
        check_file_system(medium);
    }
    EXPECT_GT(files, static_cast<std::size_t>(kills)) << "flushed in all rounds";
    std::printf("%zu files flushed; %d of %d kills left a qcow2 image with leaked clusters\n", files, leaking,
                of_qcow2);
}

}  // namespace
}  // namespace undercroft
