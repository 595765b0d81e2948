// SPDX-License-Identifier: Apache-2.0
#include "base/backing_thread.hpp"

#include <gtest/gtest.h>

#include <sys/mman.h>

#include <vector>

namespace undercroft {
namespace {

// Private memory that nobody has touched, some large pages of it.
class Backed : public ::testing::Test {
protected:
    static constexpr std::size_t pages = 32, size = (pages + 1) * large_page_size;

    Backed() {
        mapping_ =
            mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        auto at = reinterpret_cast<std::uintptr_t>(mapping_);
        at = (at + large_page_size - 1) / large_page_size * large_page_size;
        memory_ = reinterpret_cast<std::byte*>(at);
    }
    ~Backed() override { munmap(mapping_, size); }

    std::byte* page(std::size_t n) const { return memory_ + n * large_page_size; }
    // In host pages of 4 KiB.
    std::size_t resident(std::size_t n) const {
        std::vector<unsigned char> in_core(large_page_size / 4096);
        EXPECT_EQ(mincore(page(n), large_page_size, in_core.data()), 0);
        std::size_t count = 0;
        for (unsigned char here : in_core) count += here & 1u;
        return count;
    }

    std::shared_ptr<BackingThread> thread_ = BackingThread::shared();

private:
    void* mapping_ = nullptr;
    std::byte* memory_ = nullptr;
};

TEST_F(Backed, WhatIsAskedForAndNothingElse) {
    thread_->ask(page(1), Backing::Populate);
    thread_->finish();
    EXPECT_EQ(resident(0), 0u);
    EXPECT_EQ(resident(1), large_page_size / 4096);
    EXPECT_EQ(resident(2), 0u);
}

TEST_F(Backed, WhatWasWrittenStays) {
    page(3)[5] = std::byte{7};
    thread_->ask(page(3), Backing::Collapse);
    thread_->ask(page(3), Backing::Populate);
    thread_->finish();
    EXPECT_EQ(page(3)[5], std::byte{7});
    EXPECT_EQ(page(3)[6], std::byte{0});
}

TEST_F(Backed, ForgottenMemoryIsNotTouchedAnyMore) {
    for (std::size_t n = 0; n < pages; ++n) thread_->ask(page(n), Backing::Populate);
    thread_->forget(page(0), pages * large_page_size);
    madvise(page(0), pages * large_page_size, MADV_DONTNEED);
    thread_->finish();
    for (std::size_t n = 0; n < pages; ++n) EXPECT_EQ(resident(n), 0u) << n;
}

TEST_F(Backed, ThereIsOneThreadWhileSomebodyHoldsIt) {
    EXPECT_EQ(BackingThread::shared(), thread_);
    std::weak_ptr<BackingThread> watched = thread_;
    thread_.reset();
    EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace undercroft
