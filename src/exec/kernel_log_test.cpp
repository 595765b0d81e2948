// SPDX-License-Identifier: Apache-2.0
#include "exec/kernel_log.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace undercroft {
namespace {

std::string lines(unsigned count) {
    std::string text;
    for (unsigned n = 0; n < count; ++n)
        text += "[    1.234567] a line of a kernel's log, number " + std::to_string(n) + "\n";
    return text;
}

TEST(KernelLog, KeepsTheEndInWholeLines) {
    EXPECT_EQ(KernelLog::what_matters(""), "");
    EXPECT_EQ(KernelLog::what_matters("one\ntwo\n"), "one\ntwo\n");
    std::string shown = KernelLog::what_matters(lines(1000));
    EXPECT_TRUE(shown.starts_with("[    1.234567]")) << shown;
    EXPECT_TRUE(shown.ends_with("number 999\n")) << shown;
    EXPECT_LT(shown.size(), 2100u);
}

TEST(KernelLog, KeepsWhatAPanicSaid) {
    std::string panic = "[    2.000000] Kernel panic - not syncing: why\n";
    std::string shown = KernelLog::what_matters(lines(100) + panic + lines(100));
    EXPECT_TRUE(shown.starts_with(panic + "...\n[    1.234567]")) << shown;
    EXPECT_EQ(KernelLog::what_matters(panic + lines(3)), panic + lines(3)) << "once";
}

TEST(KernelLog, TakesWhatAConsolePrints) {
    auto log = std::move(*KernelLog::open(false));
    std::string text = lines(5000);
    std::ofstream{log->console().substr(5), std::ios::binary} << text;
    EXPECT_EQ(log->finish(), KernelLog::what_matters(text));
}

}  // namespace
}  // namespace undercroft
