// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/cache/code_memory.hpp"

#include "base/fd.hpp"

#include <sys/mman.h>

namespace undercroft::translate {

Result<std::unique_ptr<CodeMemory>> CodeMemory::create(std::size_t code_size, std::size_t record_size) {
    std::unique_ptr<CodeMemory> memory{new CodeMemory{code_size, record_size}};
    memory->view_ = Reservation{code_size, large_page_size};
    memory->all_ = Reservation{code_size + record_size, large_page_size};
    if (!memory->view_ || !memory->all_) return host_error().in("code cache");
    memory->writable_ = memory->view_.data();
    std::byte* code = memory->all_.data();
    memory->executable_ = code;
    memory->records_ = code + code_size;
    constexpr int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    // An old size of zero makes a second view of shared pages.
    if (::mmap(memory->writable_, code_size, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED ||
        ::mremap(memory->writable_, 0, code_size, MREMAP_MAYMOVE | MREMAP_FIXED, code) == MAP_FAILED ||
        ::mprotect(code, code_size, PROT_READ | PROT_EXEC) != 0)
        return host_error().in("code cache");
    return memory;
}

CodeMemory::~CodeMemory() {
    backing_->forget(view_.data(), view_.size());
    backing_->forget(all_.data(), all_.size());
}

void CodeMemory::reset(std::size_t hot_mark) {
    hot_.used = hot_mark;
    cold_.used = hot_.end;
    record_region_.used = 0;
}

}  // namespace undercroft::translate
