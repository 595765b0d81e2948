// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/cache/code_memory.hpp"

#include <sys/mman.h>

namespace undercroft::translate {

Result<std::unique_ptr<CodeMemory>> CodeMemory::create(std::size_t code_size, std::size_t record_size) {
    std::unique_ptr<CodeMemory> memory{new CodeMemory{code_size, record_size}};
    memory->memfd_ = Fd{::memfd_create("undercroft-code", MFD_CLOEXEC)};
    if (!memory->memfd_ || ::ftruncate(memory->memfd_.get(), static_cast<off_t>(code_size)) != 0)
        return host_error().in("code cache");
    void* base = ::mmap(nullptr, code_size + record_size, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return host_error().in("code cache");
    memory->executable_ = static_cast<std::byte*>(base);
    memory->records_ = memory->executable_ + code_size;
    int fd = memory->memfd_.get();
    if (::mmap(base, code_size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        return host_error().in("code cache");
    }
    if (::mprotect(memory->records_, record_size, PROT_READ | PROT_WRITE) != 0)
        return host_error().in("code cache");
    void* view = ::mmap(nullptr, code_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (view == MAP_FAILED) return host_error().in("code cache");
    memory->writable_ = static_cast<std::byte*>(view);
    return memory;
}

CodeMemory::~CodeMemory() {
    if (executable_ != nullptr) ::munmap(executable_, code_size_ + record_size_);
    if (writable_ != nullptr) ::munmap(writable_, code_size_);
}

void CodeMemory::reset(std::size_t code_mark, std::size_t record_mark) {
    code_used_ = code_mark;
    records_used_ = record_mark;
}

}  // namespace undercroft::translate
