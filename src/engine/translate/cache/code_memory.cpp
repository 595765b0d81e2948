// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/cache/code_memory.hpp"

#include "base/fd.hpp"

#include <sys/mman.h>

namespace undercroft::translate {
namespace {

constexpr int anonymous = MAP_ANONYMOUS | MAP_NORESERVE;

// Addresses that begin with a large page, for what is to be mapped there.
void* reserve(std::size_t size) {
    void* all = ::mmap(nullptr, size + large_page_size, PROT_NONE, MAP_PRIVATE | anonymous, -1, 0);
    if (all == MAP_FAILED) return all;
    auto begin = reinterpret_cast<std::uintptr_t>(all);
    std::uintptr_t aligned = (begin + large_page_size - 1) / large_page_size * large_page_size;
    if (aligned > begin) ::munmap(all, aligned - begin);
    std::uintptr_t behind = begin + large_page_size - aligned;
    if (behind > 0) ::munmap(reinterpret_cast<void*>(aligned + size), behind);
    return reinterpret_cast<void*>(aligned);
}

}  // namespace

Result<std::unique_ptr<CodeMemory>> CodeMemory::create(std::size_t code_size, std::size_t record_size) {
    std::unique_ptr<CodeMemory> memory{new CodeMemory{code_size, record_size}};
    void* view = reserve(code_size);
    if (view == MAP_FAILED) return host_error().in("code cache");
    memory->writable_ = static_cast<std::byte*>(view);
    void* base = reserve(code_size + record_size);
    if (base == MAP_FAILED) return host_error().in("code cache");
    memory->executable_ = static_cast<std::byte*>(base);
    memory->records_ = memory->executable_ + code_size;
    // An old size of zero makes a second view of shared pages.
    if (::mmap(view, code_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | anonymous, -1, 0) ==
            MAP_FAILED ||
        ::mremap(view, 0, code_size, MREMAP_MAYMOVE | MREMAP_FIXED, base) == MAP_FAILED ||
        ::mprotect(base, code_size, PROT_READ | PROT_EXEC) != 0 ||
        ::mprotect(memory->records_, record_size, PROT_READ | PROT_WRITE) != 0)
        return host_error().in("code cache");
    return memory;
}

CodeMemory::~CodeMemory() {
    if (executable_ != nullptr) ::munmap(executable_, code_size_ + record_region_.end);
    if (writable_ != nullptr) ::munmap(writable_, code_size_);
}

void CodeMemory::back_with_large_page(std::byte* memory, Region& region) noexcept {
    std::size_t page = region.small_until / large_page_size * large_page_size;
    if (page + large_page_size <= region.end) collapse_large_pages(memory + page, large_page_size);
    region.small_until = page + large_page_size;
}

void CodeMemory::reset(std::size_t hot_mark) {
    hot_.used = hot_mark;
    cold_.used = hot_.end;
    record_region_.used = 0;
}

}  // namespace undercroft::translate
