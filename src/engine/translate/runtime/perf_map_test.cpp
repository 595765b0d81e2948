// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/runtime/perf_map.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace undercroft::translate {
namespace {

TEST(PerfMap, has_a_line_for_each_piece) {
    auto place = [](std::uintptr_t address) { return reinterpret_cast<HostCode>(address); };
    std::string path = "/tmp/perf-" + std::to_string(getpid()) + ".map";
    PerfMap::add(place(0x1000), place(0x1010), "", AccessMode::User, 0x400000);  // not open: no file
    EXPECT_NE(::access(path.c_str(), F_OK), 0);

    ASSERT_TRUE(PerfMap::open());
    PerfMap::add(place(0x7f0012345000), place(0x7f0012345080), "", AccessMode::Supervisor,
                 0xffffffff81000000);
    PerfMap::add(place(0x7f0012345080), place(0x7f00123450a0), "_entry", AccessMode::User, 0x401abc);
    std::stringstream text;
    text << std::ifstream{path}.rdbuf();
    EXPECT_EQ(text.str(),
              "7f0012345000 80 guest_kernel:ffffffff81000000\n"
              "7f0012345080 20 guest_user_entry:401abc\n");
    ::unlink(path.c_str());
}

}  // namespace
}  // namespace undercroft::translate
