// SPDX-License-Identifier: Apache-2.0
// Data accesses of one instruction: segmentation, canonical addresses, alignment checks, breakpoints, then
// the MMU.
//
// All return false with context.trap set, and nothing changed, when the access faults.
// Source: Intel SDM vol. 3A sections 5.3 (limit checks), 6.15 (#AC, #GP, #SS), 17.2 (debug registers).

#pragma once

#include "cpu/cpuid.hpp"
#include "engine/step/context.hpp"

#include <cstdint>
#include <cstring>

namespace undercroft {

inline bool is_amd(const Vcpu& vcpu) { return vcpu.cpuid != nullptr && vcpu.cpuid->is_amd(); }

// The linear address of `offset` (already truncated to the address size) in `segment`, checked for an access
// of `size` bytes. Records data breakpoints.
[[nodiscard]] bool linear_address(Context& context, SegmentName segment, std::uint64_t offset, unsigned size,
                                  Access access, std::uint64_t& linear);

// The offset that the memory operand's expression gives now; of a VSIB form, without the index.
std::uint64_t effective_address(const Context& context);

// The linear address of the instruction's memory operand; `size` bytes from `skip` bytes on.
[[nodiscard]] bool operand_address(Context& context, Access access, std::uint64_t& linear, unsigned size,
                                   std::uint64_t skip = 0);

// A non-canonical address is #GP, in a stack-relative access #SS: turns the MMU's answer into the latter.
inline void blame_segment(Context& context, SegmentName segment) {
    if (context.trap.vector == Vector::GP && segment == SegmentName::SS) context.trap.vector = Vector::SS;
}

// AMD's processors access large x87 operands in parts: a register's significand first; of an environment or
// state the first word, then the last byte. Which fault that gives, when `context.trap` is the one of the
// whole.
void blame_x87_part(Context& context, std::uint64_t linear, unsigned size, Access access);

[[nodiscard]] bool read_linear_slowly(Context& context, std::uint64_t linear, unsigned size,
                                      std::uint64_t& value);
[[nodiscard]] bool write_linear_slowly(Context& context, std::uint64_t linear, unsigned size,
                                       std::uint64_t value);

// One access of 1, 2, 4 or 8 bytes at a checked linear address.
[[nodiscard]] inline bool read_linear(Context& context, std::uint64_t linear, unsigned size,
                                      std::uint64_t& value) {
    const TlbEntry& entry = context.vcpu.tlb.entry(context.mode, linear);
    std::uint64_t offset = linear - entry.read_tag;
    if (offset > 4096 - size) return read_linear_slowly(context, linear, size, value);
    const std::byte* host = entry.host_page + offset;
    switch (size) {
        case 1: value = *reinterpret_cast<const std::uint8_t*>(host); break;
        case 2: {
            std::uint16_t word;
            std::memcpy(&word, host, 2);
            value = word;
            break;
        }
        case 4: {
            std::uint32_t dword;
            std::memcpy(&dword, host, 4);
            value = dword;
            break;
        }
        default: std::memcpy(&value, host, 8); break;
    }
    return true;
}

[[nodiscard]] inline bool write_linear(Context& context, std::uint64_t linear, unsigned size,
                                       std::uint64_t value) {
    const TlbEntry& entry = context.vcpu.tlb.entry(context.mode, linear);
    std::uint64_t offset = linear - entry.write_tag;
    if (offset > 4096 - size) return write_linear_slowly(context, linear, size, value);
    std::byte* host = entry.host_page + offset;
    switch (size) {
        case 1: *reinterpret_cast<std::uint8_t*>(host) = static_cast<std::uint8_t>(value); break;
        case 2: std::memcpy(host, &value, 2); break;
        case 4: std::memcpy(host, &value, 4); break;
        default: std::memcpy(host, &value, 8); break;
    }
    return true;
}

// Reads and writes of 1..8 bytes through a segment.
[[nodiscard]] inline bool read_segment(Context& context, SegmentName segment, std::uint64_t offset,
                                       unsigned size, std::uint64_t& value) {
    std::uint64_t linear = 0;
    if (!linear_address(context, segment, offset, size, Access::Read, linear)) return false;
    if (read_linear(context, linear, size, value)) return true;
    blame_segment(context, segment);
    return false;
}
[[nodiscard]] inline bool write_segment(Context& context, SegmentName segment, std::uint64_t offset,
                                        unsigned size, std::uint64_t value) {
    std::uint64_t linear = 0;
    if (!linear_address(context, segment, offset, size, Access::Write, linear)) return false;
    if (write_linear(context, linear, size, value)) return true;
    blame_segment(context, segment);
    return false;
}
[[nodiscard]] bool check_segment(Context& context, SegmentName segment, std::uint64_t offset, unsigned size,
                                 Access access);

// AMD's masked byte stores check all of the operand, DS:rDI, in pieces of eight bytes, whatever the mask
// leaves out.
[[nodiscard]] bool check_masked_store(Context& context, unsigned size);

// The memory operand as a value of 1..8 bytes, or as bytes.
[[nodiscard]] bool read_memory(Context& context, unsigned size, std::uint64_t& value, std::uint64_t skip = 0);
[[nodiscard]] bool write_memory(Context& context, unsigned size, std::uint64_t value, std::uint64_t skip = 0);
[[nodiscard]] bool read_memory_bytes(Context& context, void* to, unsigned size);
[[nodiscard]] bool write_memory_bytes(Context& context, const void* from, unsigned size);

// Memory held for a native instruction to work on: the guest's RAM itself where the operand lies in one page,
// so that locked instructions are atomic; else a copy, which release() writes back, and for a locked
// instruction no other vCPU executes meanwhile. Device memory is accessed once, in pin() or in release().
class Pin {
public:
    Pin() = default;
    Pin(const Pin&) = delete;
    Pin& operator=(const Pin&) = delete;
    ~Pin() { end_exclusive(); }

    // `size` <= 512. With `write`, write access is checked before anything is read.
    [[nodiscard]] bool pin(Context& context, std::uint64_t linear, unsigned size, bool read, bool write);
    // After the instruction has executed: completes the writes. Cannot fault.
    void release(Context& context);
    void* pointer() { return pointer_; }

private:
    struct Part {  // what lies in one page
        Translation where;
        unsigned size = 0;
    };
    [[nodiscard]] bool pin_slowly(Context& context, std::uint64_t linear, bool read);
    void copy_in(Context& context);
    void copy_out(Context& context);
    void end_exclusive();

    CodePages* alone_ = nullptr;  // the others wait
    void* pointer_ = nullptr;
    unsigned size_ = 0;
    bool write_ = false;
    bool copied_ = false;
    Part part_[2];
    alignas(64) std::byte copy_[512];
};

}  // namespace undercroft
