// SPDX-License-Identifier: Apache-2.0
// Sensitive instructions: those that behave otherwise in user code of the host's than in the guest's, without
// a trap. (Popek and Goldberg: what makes x86 not virtualizable by traps alone.)
//
// They tell of the host (CPUID, XGETBV, RDPID, RDTSCP, SGDT, SIDT, SMSW), depend on more state than the guest
// has (XSAVE, XRSTOR), enter the host by other ways than SYSCALL (INT 0x80, SYSENTER, VMCALL), or stop the
// process behind themselves by what looks like a fault (INT 4). Left out are those that ask for descriptors
// (SLDT, STR, LAR, LSL, VERR, VERW: data is full of bytes like theirs, and Linux systems have the same ones),
// and loads of segment registers: whoever takes the state back sees another selector.
//
// Where instructions begin cannot be known from bytes alone. Where the guest has been seen to execute, it is
// known, and decoding goes on from there to the next jump or return. Elsewhere, decoding that begins anywhere
// falls into step with what compilers and assemblers made within a few instructions, mostly: good enough to
// let code pass or to watch it, not to change it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace undercroft::direct {

// How many bytes before and behind it are of use to judge a piece of code.
inline constexpr std::size_t bytes_before = 80;
inline constexpr std::size_t bytes_behind = 15;

struct CodeView {
    std::span<const std::byte> before{};  // as far as they are known, like `behind`
    std::span<const std::byte> code;
    std::span<const std::byte> behind{};
    std::span<const std::uint16_t>
        starts{};  // offsets in `code` where instructions are known to begin; sorted

    std::byte operator[](std::size_t n) const {
        if (n < before.size()) return before[n];
        n -= before.size();
        return n < code.size() ? code[n] : behind[n - code.size()];
    }
    std::size_t size() const { return before.size() + code.size() + behind.size(); }
};

// Where those begin that begin within `code`, as offsets there.
struct SensitiveInstructions {
    std::vector<std::uint16_t> certain;
    std::vector<std::uint16_t> suspected;  // perhaps, if anything is executed there at all

    bool empty() const { return certain.empty() && suspected.empty(); }
    bool operator==(const SensitiveInstructions&) const = default;
};
SensitiveInstructions sensitive_instructions(const CodeView& view);

}  // namespace undercroft::direct
