// SPDX-License-Identifier: Apache-2.0
// InstructionFetcher: the instruction at RIP, from the decode cache where its bytes are still the same.
//
// A cached instruction is valid if the bytes that are in memory now equal those it was decoded from, so
// nobody has to tell the cache of writes to code. The page that RIP was in last is remembered until the MMU
// makes the next flush.

#pragma once

#include "cpu/vcpu.hpp"
#include "engine/step/decode.hpp"
#include "engine/step/instruction.hpp"
#include "engine/step/native_code.hpp"
#include "x86/trap.hpp"

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace undercroft {

class InstructionFetcher {
public:
    static constexpr unsigned cache_bits = 16;
    static constexpr std::size_t cache_size = std::size_t{1} << cache_bits;

    explicit InstructionFetcher(NativeCode& native);

    // The instruction at vcpu.rip, valid until the next call; null: `trap` is the fault.
    const Instruction* fetch(Vcpu& vcpu, Trap& trap);

    std::uint64_t decoded() const { return decoded_; }
    std::uint64_t unknown() const { return unknown_; }

private:
    // The page last executed from. `state` sums up the MMU's flushes. Where its bytes lie may change with
    // every write.
    struct Page {
        const Mmu* mmu = nullptr;
        std::uint64_t linear = ~0ull;
        std::uint64_t state = 0;
        GuestPhysical physical;
        bool user = false;
    };

    bool find_page(Vcpu& vcpu, std::uint64_t linear, Trap& trap);
    const Instruction* fetch_across_pages(Vcpu& vcpu, std::uint64_t linear, CodeSize code_size, Trap& trap);
    const Instruction* decode(Vcpu& vcpu, std::uint64_t linear, CodeSize code_size,
                              std::span<const std::uint8_t> bytes, Trap& trap, bool& incomplete);
    Instruction& slot(std::uint64_t linear) {
        return cache_.get()[(linear ^ linear >> cache_bits) & (cache_size - 1)];
    }
    void clear();
    struct Free {
        void operator()(void* memory) const { std::free(memory); }
    };

    NativeCode& native_;
    Decoder decoder_;
    Page page_;
    const class CpuidTable* configured_for_ = nullptr;
    bool configured_ = false;
    std::uint64_t generation_ = 0;              // of native_, when the cached stubs were made
    std::unique_ptr<Instruction, Free> cache_;  // from calloc: costs no memory before use; all-zero: empty
    std::uint64_t decoded_ = 0;
    std::uint64_t unknown_ = 0;
};

}  // namespace undercroft
