// SPDX-License-Identifier: Apache-2.0
// Memory for generated code and its records: one reservation, so that code reaches its records with 32-bit
// displacements.
//
// Code is shared memory seen through two views: one writable, one executable; never both through one address.
// It is anonymous rather than a memfd, since perf looks for names (runtime/perf_map.hpp) only there. The
// records (call sites, exits) are plain memory right behind the executable view. Both are bump-allocated and
// freed all at once.

#pragma once

#include "base/result.hpp"
#include "engine/translate/emit/assembler.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

namespace undercroft::translate {

class CodeMemory {
public:
    static constexpr std::size_t default_code_size = std::size_t{32} << 20;
    static constexpr std::size_t default_record_size = std::size_t{64} << 20;  // reserved; backed as used

    // Whole pages each. Errors: "code cache: reason".
    static Result<std::unique_ptr<CodeMemory>> create(std::size_t code_size = default_code_size,
                                                      std::size_t record_size = default_record_size);
    CodeMemory(const CodeMemory&) = delete;
    CodeMemory& operator=(const CodeMemory&) = delete;
    ~CodeMemory();

    // The rest of the code view, to assemble into; then take() what was used.
    std::span<std::byte> writable_rest() { return {writable_ + code_used_, code_size_ - code_used_}; }
    HostCode next() const { return executable_ + code_used_; }
    void take(std::size_t bytes) { code_used_ += bytes; }
    std::size_t code_left() const { return code_size_ - code_used_; }
    std::size_t code_used() const { return code_used_; }
    std::size_t record_left() const { return record_size_ - records_used_; }
    std::size_t records_used() const { return records_used_; }

    bool contains(HostCode code) const { return code >= executable_ && code < executable_ + code_size_; }
    std::size_t offset_of(HostCode code) const { return static_cast<std::size_t>(code - executable_); }

    // Makes the 32-bit displacement at `site` reach `target`.
    void patch_jump(HostCode site, HostCode target) noexcept {
        store32(site, static_cast<std::uint32_t>(static_cast<std::int32_t>(target - (site + 4))));
    }
    void patch_imm32(HostCode site, std::uint32_t imm) noexcept { store32(site, imm); }

    // A record that lives until reset().
    template <class T>
    T* record() {
        records_used_ = (records_used_ + alignof(T) - 1) / alignof(T) * alignof(T);
        T* place = new (records_ + records_used_) T{};
        records_used_ += sizeof(T);
        return place;
    }

    std::uint32_t record_offset(const void* record) const {
        return static_cast<std::uint32_t>(static_cast<const std::byte*>(record) - records_);
    }
    void* record_at(std::uint32_t offset) const noexcept { return records_ + offset; }

    // Forgets everything behind `code_mark` and all records (the thunks stay).
    void reset(std::size_t code_mark, std::size_t record_mark);

private:
    CodeMemory(std::size_t code_size, std::size_t record_size)
        : code_size_{code_size}, record_size_{record_size} {}
    void store32(HostCode site, std::uint32_t v) noexcept {
        // Aligned or not, x86 makes this visible as a whole unless it straddles a cache line; the only reader
        // is the thread that stores.
        __builtin_memcpy(writable_ + offset_of(site), &v, sizeof v);
    }

    std::size_t code_size_;
    std::size_t record_size_;
    std::byte* writable_ = nullptr;
    std::byte* executable_ = nullptr;
    std::byte* records_ = nullptr;
    std::size_t code_used_ = 0;
    std::size_t records_used_ = 0;
};

}  // namespace undercroft::translate
