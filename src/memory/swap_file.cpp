// SPDX-License-Identifier: Apache-2.0
#include "memory/swap_file.hpp"

#include "x86/paging.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

namespace undercroft {

Result<std::unique_ptr<SwapFile>> SwapFile::create(const std::string& folder, std::uint64_t most) {
    Fd file{open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    if (!file) return Error{"'" + folder + "': " + std::strerror(errno)};
    Reservation links{(most + 1) * sizeof(std::uint32_t)};
    if (!links) return Error{"'" + folder + "': no memory for the table of slots"};
    return std::unique_ptr<SwapFile>{new SwapFile{std::move(file), std::move(links), most}};
}

SwapFile::SwapFile(Fd file, Reservation links, std::uint64_t most)
    : file_{std::move(file)}, most_{most}, links_{std::move(links)} {}

std::optional<std::uint32_t> SwapFile::write(const std::byte* page) {
    std::uint32_t slot = 0;
    {
        std::lock_guard lock{lock_};
        if (in_use_ >= most_) {
            failure_ = ENOSPC;
            return std::nullopt;
        }
        slot = free_ != 0 ? free_ : fresh_++;
        if (slot == free_) free_ = reinterpret_cast<std::uint32_t*>(links_.data())[slot];
        ++in_use_;
    }
    ssize_t written = pwrite(file_.get(), page, page_size, static_cast<off_t>(slot) * 4096);
    if (written == static_cast<ssize_t>(page_size)) return slot;
    failure_ = written < 0 ? errno : ENOSPC;
    release(slot);
    return std::nullopt;
}

std::uint64_t SwapFile::in_use() const noexcept {
    std::lock_guard lock{lock_};
    return in_use_;
}

}  // namespace undercroft
