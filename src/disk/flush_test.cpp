// SPDX-License-Identifier: Apache-2.0
// A flush is honest: when a sync of the host's file has failed, no later flush says that all is well, since
// what was to be written then may be lost without another word from the host.
#include "disk/memory_storage.hpp"
#include "disk/patient_disk.hpp"
#include "disk/qcow2_disk.hpp"
#include "disk/raw_disk.hpp"

#include <gtest/gtest.h>

namespace undercroft::test {
namespace {

enum class Format : std::uint8_t { Raw, Qcow2 };

constexpr std::uint64_t disk_size = 4 << 20;

struct Flush : testing::TestWithParam<Format> {
    MemoryStorage* file = nullptr;  // the newest disk's
    unsigned waits = 0;

    std::unique_ptr<Disk> disk() {
        auto storage = std::make_unique<MemoryStorage>();
        file = storage.get();
        std::unique_ptr<Disk> below;
        if (GetParam() == Format::Raw) {
            (void)write_zero_bytes(*file, 0, disk_size);
            below = *RawDisk::open(std::move(storage), DiskAccess::ReadWrite);
        } else {
            auto header = Qcow2Disk::create(*file, disk_size);
            below = *Qcow2Disk::open(std::move(storage), *header, DiskAccess::ReadWrite, nullptr);
        }
        auto patient =
            std::make_unique<PatientDisk>(std::move(below), [this](bool begins) { waits += begins; });
        patient->set_patient(true);
        return patient;
    }
    static DiskStatus put(Disk& disk, std::uint64_t offset, std::string bytes) {
        iovec buffer{bytes.data(), bytes.size()};
        return disk.write(offset, {&buffer, 1});
    }
};

TEST_P(Flush, FailsForeverOnceASyncHasFailed) {
    for (DiskStatus reason : {DiskStatus::Failed, DiskStatus::Full}) {
        auto flushed = disk();
        ASSERT_EQ(put(*flushed, 0, std::string(65536, 'k')), DiskStatus::Ok);
        ASSERT_EQ(flushed->flush(), DiskStatus::Ok);
        ASSERT_EQ(put(*flushed, 1 << 20, std::string(65536, 'l')), DiskStatus::Ok);
        file->sync_failure = reason;
        file->syncs_until_failure = 0;
        EXPECT_EQ(flushed->flush(), DiskStatus::Failed);
        EXPECT_EQ(flushed->flush(), DiskStatus::Failed) << "the host has reported it, and says so no more";
        EXPECT_EQ(put(*flushed, 2 << 20, std::string(65536, 'm')), DiskStatus::Ok);
        EXPECT_EQ(flushed->flush(), DiskStatus::Failed);
        EXPECT_EQ(waits, 0u) << "room that appears brings nothing back";
        std::mt19937_64 random{1};
        std::string found = file->after_crash(random);
        EXPECT_NE(found.find(std::string(65536, 'k')), std::string::npos) << "what was flushed stays";
        EXPECT_EQ(found.find("llll"), std::string::npos) << "and this is lost, as every flush since has said";
    }
}

// A flush of qcow2 has several, between which it writes tables.
TEST_P(Flush, FailsForeverWhicheverSyncItWas) {
    for (std::uint64_t before = 0; before < 4; ++before) {
        auto flushed = disk();
        file->syncs_until_failure = before;
        bool has_failed = false;
        for (std::uint64_t at = 0; at < disk_size; at += disk_size / 8) {
            ASSERT_EQ(put(*flushed, at, std::string(65536, 'd')), DiskStatus::Ok);
            bool fails = flushed->flush() != DiskStatus::Ok;
            EXPECT_TRUE(fails || !has_failed) << before << " syncs before, at " << at;
            has_failed = has_failed || fails;
        }
        EXPECT_TRUE(has_failed) << before << " syncs before";
    }
}

INSTANTIATE_TEST_SUITE_P(Disks, Flush, testing::Values(Format::Raw, Format::Qcow2),
                         [](const auto& format) { return format.param == Format::Raw ? "Raw" : "Qcow2"; });

}  // namespace
}  // namespace undercroft::test
