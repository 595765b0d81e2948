// SPDX-License-Identifier: Apache-2.0
// Places in a block's code and records that depend on where the guest or the host has put it: what a copy for
// another virtual page changes (runtime/relocate.cpp).

#pragma once

#include "base/check.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace undercroft::translate {

class Relocation {
public:
    enum class Kind : std::uint8_t {
        Relative,      // a 32-bit displacement to code or a record
        GuestAddress,  // 64 bits: an address that moves with the block's virtual page
        ExecId,        // a 32-bit displacement: the exec_id slot of a page that does
        RecordOffset,  // 32 bits: of one of the block's records
        Site,          // a record of this kind
        Exit,
    };
    enum class Part : std::uint8_t { Hot, Cold, Records };

    // `offset`: in bytes from the beginning of the part.
    Relocation(Kind kind, Part part, std::size_t offset)
        : bits_{static_cast<std::uint32_t>(kind) | static_cast<std::uint32_t>(part) << 3 |
                static_cast<std::uint32_t>(offset) << 5} {
        CHECK(offset < std::size_t{1} << 27, "a block of more than 128 MiB");
    }
    Kind kind() const { return static_cast<Kind>(bits_ & 7); }
    Part part() const { return static_cast<Part>(bits_ >> 3 & 3); }
    std::size_t offset() const { return bits_ >> 5; }

private:
    std::uint32_t bits_;
};

// Of all blocks that can be copied, until the cache is emptied.
class Relocations {
public:
    void begin_block() { begin_ = all_.size(); }
    void add(Relocation relocation) { all_.push_back(relocation); }
    // Of the block that was begun last: where they are, and how many.
    std::uint32_t first() const { return static_cast<std::uint32_t>(begin_); }
    std::uint32_t count() const { return static_cast<std::uint32_t>(all_.size() - begin_); }
    void forget_block() { all_.resize(begin_, {Relocation::Kind::Site, Relocation::Part::Hot, 0}); }

    std::span<const Relocation> of(std::uint32_t first, std::uint32_t count) const {
        return std::span{all_}.subspan(first, count);
    }
    void clear() { all_.clear(); }

private:
    std::vector<Relocation> all_;
    std::size_t begin_ = 0;
};

}  // namespace undercroft::translate
