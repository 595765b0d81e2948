// SPDX-License-Identifier: Apache-2.0
// For tests: storage in memory that may be full, and that crashes: after so many writes nothing reaches it
// any more, and of those since the last sync any may be lost. And its syncs may fail, as Linux's do.

#pragma once

#include "disk/storage.hpp"

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace undercroft::test {

class MemoryStorage final : public Storage {
public:
    std::uint64_t limit = ~std::uint64_t{0};  // bytes: more is Full
    // The sync after so many fails, for this reason. What it should have written is lost, but can be read as
    // long as nothing crashes; the next one knows nothing of it.
    std::uint64_t syncs_until_failure = ~std::uint64_t{0};
    DiskStatus sync_failure = DiskStatus::Failed;

    const std::string& bytes() const { return bytes_; }
    void crash_after(std::uint64_t writes) { writes_left_ = writes; }
    bool has_crashed() const { return writes_left_ == 0; }
    // The bytes that a host would find: those of the last sync, and any of the later writes.
    std::string after_crash(std::mt19937_64& random) const {
        std::string found = synced_;
        for (const Write& write : unsynced_)
            if (random() % 2 == 0) apply(write, found);
        return found;
    }

    const std::string& name() const override { return name_; }
    std::uint64_t size() const override { return bytes_.size(); }
    DiskStatus read(std::uint64_t offset, std::span<const iovec> to) override {
        for (const iovec& piece : to) {
            if (offset > bytes_.size() || piece.iov_len > bytes_.size() - offset) return DiskStatus::Failed;
            std::memcpy(piece.iov_base, bytes_.data() + offset, piece.iov_len);
            offset += piece.iov_len;
        }
        return DiskStatus::Ok;
    }
    DiskStatus write(std::uint64_t offset, std::span<const iovec> from) override {
        Write write{offset, {}};
        for (const iovec& piece : from)
            write.data.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
        if (offset > limit || write.data.size() > limit - offset) return DiskStatus::Full;
        return take(std::move(write));
    }
    DiskStatus punch(std::uint64_t offset, std::uint64_t length) override {
        if (offset >= bytes_.size()) return DiskStatus::Ok;
        return take({offset, std::string(std::min<std::uint64_t>(length, bytes_.size() - offset), '\0')});
    }
    DiskStatus zero(std::uint64_t, std::uint64_t) override { return DiskStatus::Unsupported; }

private:
    DiskStatus try_sync() override {
        if (has_crashed()) return DiskStatus::Failed;
        bool fails = syncs_until_failure-- == 0;
        for (const Write& write : unsynced_)
            if (!fails) apply(write, synced_);
        unsynced_.clear();
        return fails ? sync_failure : DiskStatus::Ok;
    }
    struct Write {
        std::uint64_t offset;
        std::string data;
    };
    static void apply(const Write& write, std::string& to) {
        if (to.size() < write.offset + write.data.size()) to.resize(write.offset + write.data.size());
        std::memcpy(to.data() + write.offset, write.data.data(), write.data.size());
    }
    DiskStatus take(Write write) {
        if (has_crashed()) return DiskStatus::Failed;
        if (writes_left_ != ~std::uint64_t{0}) --writes_left_;
        apply(write, bytes_);
        unsynced_.push_back(std::move(write));
        return DiskStatus::Ok;
    }

    std::string name_ = "memory";
    std::string bytes_;
    std::string synced_;
    std::vector<Write> unsynced_;
    std::uint64_t writes_left_ = ~std::uint64_t{0};
};

}  // namespace undercroft::test
