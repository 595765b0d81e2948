// SPDX-License-Identifier: Apache-2.0
// A pipe for tests.

#pragma once

#include "base/fd.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace undercroft {

struct TestPipe {
    TestPipe() {
        std::array<int, 2> ends{-1, -1};
        EXPECT_EQ(::pipe(ends.data()), 0);
        read_end = Fd{ends[0]};
        write_end = Fd{ends[1]};
    }
    // So many bytes, as they come.
    std::string read(std::size_t count) const {
        std::string text(count, '\0');
        std::size_t got = 0;
        while (got < count) {
            ssize_t n = ::read(read_end.get(), text.data() + got, count - got);
            if (n <= 0) break;
            got += static_cast<std::size_t>(n);
        }
        text.resize(got);
        return text;
    }

    Fd read_end, write_end;
};

}  // namespace undercroft
