// SPDX-License-Identifier: Apache-2.0
#include "direct/memory_file.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace undercroft {

Result<MemoryFile> MemoryFile::create(const char* name, std::size_t size) {
    Fd file{static_cast<int>(::syscall(SYS_memfd_create, name, MFD_CLOEXEC))};
    if (!file || ::ftruncate(file.get(), static_cast<off_t>(size)) != 0) return host_error();
    void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (data == MAP_FAILED) return host_error();
    return MemoryFile{std::move(file), static_cast<std::byte*>(data), size};
}

MemoryFile::~MemoryFile() {
    if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace undercroft
