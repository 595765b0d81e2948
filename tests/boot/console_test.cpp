// SPDX-License-Identifier: Apache-2.0
// Floods of console input and output lose nothing; an idle guest leaves the host's processor alone.

#include "guest_process.hpp"
#include "settings.hpp"

#include <array>
#include <cstdio>

namespace undercroft {

namespace {

std::string flood(std::uint64_t bytes) {
    std::string text;
    std::string command = std::string{GUESTS_CACHE} + "/programs/flood write " + std::to_string(bytes);
    std::FILE* pipe = popen(command.c_str(), "r");
    std::array<char, 65536> buffer;
    for (std::size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
        text.append(buffer.data(), n);
    pclose(pipe);
    return text;
}

TEST(Console, InputFloodArrivesWhole) {
    NEED_GUEST(Image::Tests);
    std::string bytes = setting("UNDERCROFT_BYTES", "1048576");
    GuestProcess guest{run_script("flood-in", Image::Tests, "undercroft.bytes=" + bytes)};
    ASSERT_TRUE(guest.wait_for("undercroft: send ", patience(60)) && guest.wait_for("\n", patience(10)))
        << guest.output();
    guest.send(flood(std::stoull(bytes)));
    EXPECT_TRUE(guest.wait_for("RESULT flood.in PASS", patience(120))) << guest.output();
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0);
}

TEST(Console, OutputFloodArrivesWhole) {
    NEED_GUEST(Image::Tests);
    std::string bytes = setting("UNDERCROFT_BYTES", "104857600");
    GuestProcess guest{run_script("flood-out", Image::Tests, "undercroft.bytes=" + bytes)};
    ASSERT_TRUE(guest.wait_for("undercroft: flood begins", patience(60)) &&
                guest.wait_for("\n", patience(10)))
        << guest.output();
    std::size_t begin = guest.position();
    ASSERT_TRUE(guest.wait_for("undercroft: flood ends", patience(600)))
        << guest.output().size() - begin << " bytes came";
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0);
    std::string want = flood(std::stoull(bytes));
    std::size_t differs = 0;
    const std::string& got = guest.output();
    while (differs < want.size() && begin + differs < got.size() && got[begin + differs] == want[differs])
        ++differs;
    EXPECT_EQ(differs, want.size()) << "the first byte that differs";
}

TEST(Console, IdleGuestUsesUnderOnePercent) {
    NEED_GUEST(Image::Plain);
    GuestProcess guest{run_script("idle", Image::Plain, "undercroft.bytes=60")};
    ASSERT_TRUE(guest.wait_for("undercroft: idle begins", patience(60))) << guest.output();
    EXPECT_LT(guest.least_processor_use(5, 0.01, "undercroft: idle ends"), 0.01) << "of one processor";
}

}  // namespace

}  // namespace undercroft
