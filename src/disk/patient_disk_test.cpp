// SPDX-License-Identifier: Apache-2.0
#include "disk/patient_disk.hpp"

#include "disk/memory_storage.hpp"
#include "disk/qcow2_disk.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace undercroft::test {
namespace {

using namespace std::chrono_literals;

struct PatientDiskTest : testing::Test {
    std::unique_ptr<MemoryStorage> storage = std::make_unique<MemoryStorage>();
    MemoryStorage& file = *storage;
    std::atomic<unsigned> begun = 0;
    std::atomic<unsigned> ended = 0;
    std::string data = std::string(1 << 20, 'd');
    iovec buffer{data.data(), data.size()};

    std::unique_ptr<PatientDisk> disk(std::chrono::milliseconds pause) {
        auto header = Qcow2Disk::create(file, 4 << 20);
        auto below = Qcow2Disk::open(std::move(storage), *header, DiskAccess::ReadWrite, nullptr);
        file.limit = file.size() + (128 << 10);
        return std::make_unique<PatientDisk>(
            *std::move(below), [this](bool waits) { ++(waits ? begun : ended); }, pause);
    }
};

TEST_F(PatientDiskTest, WaitsUntilThereIsRoom) {
    auto patient = disk(1ms);
    patient->set_patient(true);
    std::atomic<DiskStatus> status = DiskStatus::Unsupported;
    std::thread writer{[&] { status = patient->write(0, {&buffer, 1}); }};
    while (begun == 0) std::this_thread::yield();
    EXPECT_EQ(ended, 0u);
    file.limit = ~std::uint64_t{0};
    writer.join();
    EXPECT_EQ(status, DiskStatus::Ok);
    EXPECT_EQ(ended, 1u);
    std::string again(data.size(), '?');
    iovec into{again.data(), again.size()};
    EXPECT_EQ(patient->read(0, {&into, 1}), DiskStatus::Ok);
    EXPECT_TRUE(again == data);
}

TEST_F(PatientDiskTest, ResetsAndEndsDoNotWait) {
    auto patient = disk(1h);
    EXPECT_EQ(patient->write(0, {&buffer, 1}), DiskStatus::Full) << "nobody has asked for patience";
    patient->set_patient(true);
    std::atomic<DiskStatus> status = DiskStatus::Unsupported;
    std::thread writer{[&] { status = patient->write(0, {&buffer, 1}); }};
    while (begun < 2) std::this_thread::yield();
    patient->set_patient(false);
    writer.join();
    EXPECT_EQ(status, DiskStatus::Full);
    EXPECT_EQ(begun, ended);
}

}  // namespace
}  // namespace undercroft::test
