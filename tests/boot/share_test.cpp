// SPDX-License-Identifier: Apache-2.0
// A stock kernel mounts folders of the host, and the host finds there what the guest has done.

#include "guest_process.hpp"
#include "settings.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

#define CONSOLE(guest) "console:\n" << (guest).output() << "\nerrors:\n" << (guest).errors()

struct Shares : testing::Test {
    fs::path folder = fs::path{testing::TempDir()} / ("undercroft-shares-" + std::to_string(getpid()));
    void SetUp() override {
        fs::create_directories(folder / "work");
        fs::create_directories(folder / "tools");
    }
    void TearDown() override { fs::remove_all(folder); }

    void file(const std::string& name, const std::string& bytes) const {
        std::ofstream{folder / name, std::ios::binary} << bytes;
    }
    std::string contents(const std::string& name) const {
        std::ifstream stream{folder / name, std::ios::binary};
        return {std::istreambuf_iterator<char>{stream}, {}};
    }
};

TEST_F(Shares, AreReadAndWrittenByTheGuest) {
    NEED_GUEST(Image::Plain);
    file("work/hello", "hello, guest\n");
    file("secret", "not yours");
    fs::create_symlink(folder / "secret", folder / "work" / "escape");
    std::string zeroes(8 << 20, '\0');
    file("tools/large", zeroes);
    file("tools/sum", "96995b58d4cbf6aaa9041b4f00c7f6ae");
    std::vector<std::string> arguments =
        run_script("share", Image::Plain, "undercroft.share=work undercroft.share=tools");
    arguments.insert(arguments.end(), {"--share", (folder / "work").string() + ",tag=work", "--share",
                                       (folder / "tools").string() + ",tag=tools,ro"});
    GuestProcess guest{arguments};
    ASSERT_TRUE(guest.wait_for("undercroft: init reached at ", patience(60))) << CONSOLE(guest);
    ASSERT_TRUE(guest.wait_for("SHARE done", patience(60))) << CONSOLE(guest);
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE(guest);
    EXPECT_EQ(guest.output().find(" FAIL"), std::string::npos) << CONSOLE(guest);
    EXPECT_EQ(count(guest.output(), " PASS"), 17u) << CONSOLE(guest);

    EXPECT_EQ(contents("work/two"), "one\nthree\n");
    EXPECT_TRUE(contents("work/numbers").ends_with("\n100000\n"));
    struct stat status {};
    ASSERT_EQ(::stat((folder / "work" / "two").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0640u);
    EXPECT_EQ(status.st_nlink, 2u);
    EXPECT_EQ(status.st_mtim.tv_sec, 1'000'000'000);
    EXPECT_EQ(status.st_uid, geteuid());
    EXPECT_EQ(contents("secret"), "not yours");
    EXPECT_TRUE(contents("tools/large") == zeroes);
    EXPECT_FALSE(fs::exists(folder / "tools" / "new"));
}

}  // namespace
}  // namespace undercroft
