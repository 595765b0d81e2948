// SPDX-License-Identifier: Apache-2.0
#include "cpu/descriptor_table.hpp"

namespace undercroft {

bool set_accessed(Vcpu& vcpu, std::uint16_t selector, std::uint64_t raw, Trap& trap) noexcept {
    std::uint64_t address = 0;
    if (!locate_descriptor(vcpu, selector, 8, address))
        return raise(trap, Vector::GP, selector_error(selector));
    auto access = static_cast<std::uint8_t>(raw >> 40 | 1);
    return write_system(vcpu, address + 5, access, trap);
}

}  // namespace undercroft
