// SPDX-License-Identifier: Apache-2.0
// LGDT, LIDT, LLDT, LTR, and the stores of these under UMIP.
//
// Source: Intel SDM vol. 2A LGDT, LLDT, LTR. LLDT and LTR read 16-byte descriptors in long mode.
#include "cpu/descriptor_table.hpp"
#include "cpu/instructions.hpp"

namespace undercroft {
namespace {

struct SystemDescriptor {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    std::uint64_t address = 0;
};

// Checks that LLDT and LTR share: in the GDT, within its limit; in long mode with clean upper type bits.
bool read_system_descriptor(Vcpu& vcpu, std::uint16_t selector, SystemDescriptor& descriptor,
                            Trap& trap) noexcept {
    bool wide = vcpu.long_mode();
    std::uint32_t error = selector_error(selector);
    if ((selector & 4) != 0) return raise(trap, Vector::GP, error);
    if (!locate_descriptor(vcpu, selector, wide ? 16 : 8, descriptor.address))
        return raise(trap, Vector::GP, error);
    if (!read_system(vcpu, descriptor.address, descriptor.low, trap)) return false;
    if (!wide) return true;
    if (!read_system(vcpu, descriptor.address + 8, descriptor.high, trap)) return false;
    return Bits<44, 40>::get(descriptor.high) == 0 ? true : raise(trap, Vector::GP, error);
}

Segment expand(const SystemDescriptor& descriptor, std::uint16_t selector) noexcept {
    Segment segment = Descriptor::expand(descriptor.low, selector);
    segment.base |= descriptor.high << 32;
    return segment;
}

bool require_privileged_protected(const Vcpu& vcpu, Trap& trap) noexcept {
    if (!protected_mode(vcpu)) return raise(trap, Vector::UD);
    return require_cpl0(vcpu, trap);
}

}  // namespace

bool lldt(Vcpu& vcpu, std::uint16_t selector, Trap& trap) noexcept {
    if (!require_privileged_protected(vcpu, trap)) return false;
    if (is_null(selector)) {
        vcpu.ldtr.selector = selector;
        vcpu.ldtr.attributes = 0;
        return true;
    }
    SystemDescriptor descriptor;
    if (!read_system_descriptor(vcpu, selector, descriptor, trap)) return false;
    Segment segment = expand(descriptor, selector);
    bool is_ldt = (segment.attributes & 0x1f) == static_cast<unsigned>(SystemType::Ldt);
    if (!is_ldt) return raise(trap, Vector::GP, selector_error(selector));
    if (!segment.present()) return raise(trap, Vector::NP, selector_error(selector));
    if (!is_canonical(segment.base)) return raise(trap, Vector::GP, selector_error(selector));
    vcpu.ldtr = segment;
    return true;
}

bool ltr(Vcpu& vcpu, std::uint16_t selector, Trap& trap) noexcept {
    if (!require_privileged_protected(vcpu, trap)) return false;
    if (is_null(selector)) return raise(trap, Vector::GP, 0);
    SystemDescriptor descriptor;
    if (!read_system_descriptor(vcpu, selector, descriptor, trap)) return false;
    Segment segment = expand(descriptor, selector);
    bool is_available = (segment.attributes & 0x1f) == static_cast<unsigned>(SystemType::TssAvailable);
    if (!is_available) return raise(trap, Vector::GP, selector_error(selector));
    if (!segment.present()) return raise(trap, Vector::NP, selector_error(selector));
    if (!is_canonical(segment.base)) return raise(trap, Vector::GP, selector_error(selector));
    constexpr unsigned busy = 2;
    auto marked = static_cast<std::uint8_t>((segment.attributes & 0xff) | busy);
    if (!write_system(vcpu, descriptor.address + 5, marked, trap)) return false;
    segment.attributes |= busy;
    vcpu.tr = segment;
    return true;
}

bool load_table(Vcpu& vcpu, TableName name, std::uint16_t limit, std::uint64_t base, Trap& trap) noexcept {
    if (!require_cpl0(vcpu, trap)) return false;
    if (vcpu.code_64bit() && !is_canonical(base)) return raise(trap, Vector::GP, 0);
    TableRegister& table = name == TableName::Gdt ? vcpu.gdtr : vcpu.idtr;
    table = {.base = base, .limit = limit};
    return true;
}

bool may_store_system_register(Vcpu& vcpu, Trap& trap) noexcept {
    bool denied = (vcpu.paging.cr4 & CR4::UMIP) != 0 && vcpu.cpl > 0;
    return denied ? raise(trap, Vector::GP, 0) : true;
}

}  // namespace undercroft
