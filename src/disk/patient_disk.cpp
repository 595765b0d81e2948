// SPDX-License-Identifier: Apache-2.0
#include "disk/patient_disk.hpp"

#include <utility>

namespace undercroft {

PatientDisk::PatientDisk(std::unique_ptr<Disk> disk, std::function<void(bool)> tell,
                         std::chrono::milliseconds pause)
    : disk_{std::move(disk)}, tell_{std::move(tell)}, pause_{pause} {}

void PatientDisk::set_patient(bool patient) {
    {
        std::lock_guard lock{mutex_};
        patient_ = patient;
    }
    changed_.notify_all();
}

bool PatientDisk::wait() {
    std::unique_lock lock{mutex_};
    changed_.wait_for(lock, pause_, [this] { return !patient_; });
    return patient_;
}

template <class Request>
DiskStatus PatientDisk::until_there_is_room(Request request) {
    DiskStatus status = request();
    if (status != DiskStatus::Full) return status;
    tell_(true);
    while (status == DiskStatus::Full && wait()) status = request();
    tell_(false);
    return status;
}

DiskStatus PatientDisk::write(std::uint64_t offset, std::span<const iovec> from) {
    return until_there_is_room([&] { return disk_->write(offset, from); });
}

DiskStatus PatientDisk::flush() {
    return until_there_is_room([&] { return disk_->flush(); });
}

DiskStatus PatientDisk::discard(std::uint64_t offset, std::uint64_t length) {
    return until_there_is_room([&] { return disk_->discard(offset, length); });
}

DiskStatus PatientDisk::write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) {
    return until_there_is_room([&] { return disk_->write_zeroes(offset, length, may_unmap); });
}

}  // namespace undercroft
