// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/cache/code_memory.hpp"

#include "base/fd.hpp"

#include <sys/mman.h>

namespace undercroft::translate {

Result<std::unique_ptr<CodeMemory>> CodeMemory::create(std::size_t code_size, std::size_t record_size) {
    std::unique_ptr<CodeMemory> memory{new CodeMemory{code_size, record_size}};
    constexpr int anonymous = MAP_ANONYMOUS | MAP_NORESERVE;
    void* view = ::mmap(nullptr, code_size, PROT_READ | PROT_WRITE, MAP_SHARED | anonymous, -1, 0);
    if (view == MAP_FAILED) return host_error().in("code cache");
    memory->writable_ = static_cast<std::byte*>(view);
    void* base = ::mmap(nullptr, code_size + record_size, PROT_NONE, MAP_PRIVATE | anonymous, -1, 0);
    if (base == MAP_FAILED) return host_error().in("code cache");
    memory->executable_ = static_cast<std::byte*>(base);
    memory->records_ = memory->executable_ + code_size;
    // An old size of zero makes a second view of shared pages.
    if (::mremap(view, 0, code_size, MREMAP_MAYMOVE | MREMAP_FIXED, base) == MAP_FAILED ||
        ::mprotect(base, code_size, PROT_READ | PROT_EXEC) != 0 ||
        ::mprotect(memory->records_, record_size, PROT_READ | PROT_WRITE) != 0)
        return host_error().in("code cache");
    return memory;
}

CodeMemory::~CodeMemory() {
    if (executable_ != nullptr) ::munmap(executable_, code_size_ + record_size_);
    if (writable_ != nullptr) ::munmap(writable_, code_size_);
}

void CodeMemory::reset(std::size_t hot_mark) {
    hot_.used = hot_mark;
    cold_.used = hot_.end;
    records_used_ = 0;
}

}  // namespace undercroft::translate
