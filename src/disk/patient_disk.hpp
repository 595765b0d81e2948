// SPDX-License-Identifier: Apache-2.0
// PatientDisk: another disk, whose requests wait while the host has no room for them, and then are done
// again.
//
// So a guest does not see a full host: its machine is paused meanwhile (by who is told), and goes on as if
// nothing had happened. But a sync of the host's file is never done again, as that would not write what was
// lost (Storage::sync()): it is not Full but Failed. Of a flush, only writes of tables wait.

#pragma once

#include "disk/disk.hpp"

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

namespace undercroft {

class PatientDisk final : public Disk {
public:
    // `tell` is called with true when a request begins to wait, and with false when it does not any more, on
    // the thread that makes requests.
    PatientDisk(std::unique_ptr<Disk> disk, std::function<void(bool waits)> tell,
                std::chrono::milliseconds pause = std::chrono::milliseconds{1000});

    const std::string& name() const override { return disk_->name(); }
    std::uint64_t size() const override { return disk_->size(); }
    bool is_read_only() const override { return disk_->is_read_only(); }
    Topology topology() const override { return disk_->topology(); }
    DiskStatus read(std::uint64_t offset, std::span<const iovec> to) override {
        return disk_->read(offset, to);
    }
    void will_read(std::uint64_t offset, std::uint64_t length) override { disk_->will_read(offset, length); }
    std::optional<Origin> origin(std::uint64_t offset) override { return disk_->origin(offset); }
    DiskStatus write(std::uint64_t offset, std::span<const iovec> from) override;
    DiskStatus flush() override;
    DiskStatus discard(std::uint64_t offset, std::uint64_t length) override;
    DiskStatus write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) override;
    void set_patient(bool patient) override;

private:
    template <class Request>
    DiskStatus until_there_is_room(Request request);
    bool wait();  // false: no more patience

    std::unique_ptr<Disk> disk_;
    std::function<void(bool)> tell_;
    std::chrono::milliseconds pause_;  // between one attempt and the next
    std::mutex mutex_;
    std::condition_variable changed_;
    bool patient_ = false;  // under the mutex
};

}  // namespace undercroft
