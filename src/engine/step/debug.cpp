// SPDX-License-Identifier: Apache-2.0
#include "engine/step/debug.hpp"

namespace undercroft {
namespace {

enum class Condition : std::uint8_t { Execute = 0, Write = 1, InputOutput = 2, ReadWrite = 3 };

constexpr bool wants(Condition condition, Access access) {
    switch (condition) {
        case Condition::Execute: return access == Access::Execute;
        case Condition::Write: return access == Access::Write;
        case Condition::ReadWrite: return access != Access::Execute;
        case Condition::InputOutput: return false;
    }
    return false;
}

}  // namespace

std::uint8_t breakpoints_met(const Vcpu& vcpu, std::uint64_t linear, unsigned size, Access access) {
    constexpr std::uint64_t lengths[4] = {1, 2, 8, 4};
    unsigned met = 0;
    std::uint64_t dr7 = vcpu.debug.dr7;
    for (unsigned i = 0; i < 4; i++) {
        if ((dr7 >> (2 * i) & 3) == 0) continue;
        if (!wants(static_cast<Condition>(dr7 >> (16 + 4 * i) & 3), access)) continue;
        std::uint64_t length = access == Access::Execute ? 1 : lengths[dr7 >> (18 + 4 * i) & 3];
        std::uint64_t start = vcpu.debug.address[i] & ~(length - 1);
        bool overlap = linear - start < length || start - linear < size;
        if (overlap) met |= 1u << i;
    }
    return static_cast<std::uint8_t>(met);
}

}  // namespace undercroft
