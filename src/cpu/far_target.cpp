// SPDX-License-Identifier: Apache-2.0
#include "cpu/far_target.hpp"

#include "cpu/descriptor_table.hpp"

namespace undercroft {
namespace {

constexpr std::uint64_t system_type(std::uint64_t raw) { return Bits<44, 40>::get(raw); }  // S and type

void set_level(FarTarget& target, std::uint16_t selector, std::uint8_t cpl) noexcept {
    target.cpl = cpl;
    target.code.selector = static_cast<std::uint16_t>((selector & 0xfffc) | cpl);
}

bool resolve_code(Vcpu& vcpu, std::uint16_t selector, std::uint64_t raw, FarTarget& target,
                  Trap& trap) noexcept {
    Segment& code = target.code;
    unsigned rpl = selector & 3;
    target.descriptor = raw;
    code = loaded_segment(raw, selector);
    bool right_level =
        is_conforming(code) ? code.dpl() <= vcpu.cpl : rpl <= vcpu.cpl && code.dpl() == vcpu.cpl;
    if (!code.is_code() || !right_level || has_reserved_size(vcpu, code)) {
        return raise(trap, Vector::GP, selector_error(selector));
    }
    if (!code.present()) return raise(trap, Vector::NP, selector_error(selector));
    set_level(target, selector, vcpu.cpl);
    return true;
}

bool read_gate(Vcpu& vcpu, std::uint16_t selector, Gate& gate, Trap& trap) noexcept {
    std::uint32_t error = selector_error(selector);
    std::uint64_t address = 0;
    if (!locate_descriptor(vcpu, selector, 16, address)) return raise(trap, Vector::GP, error);
    if (!read_system(vcpu, address, gate, trap)) return false;
    auto dpl = static_cast<unsigned>(Gate::DPL::get(gate.low));
    bool reserved = Bits<44, 40>::get(gate.high) != 0;
    if (dpl < vcpu.cpl || (selector & 3u) > dpl || reserved) return raise(trap, Vector::GP, error);
    return Gate::P::get(gate.low) != 0 ? true : raise(trap, Vector::NP, error);
}

bool resolve_gate(Vcpu& vcpu, FarBranch branch, std::uint16_t gate_selector, FarTarget& target,
                  Trap& trap) noexcept {
    Gate gate{};
    if (!read_gate(vcpu, gate_selector, gate, trap)) return false;
    auto selector = static_cast<std::uint16_t>(Gate::Selector::get(gate.low));
    if (is_null(selector)) return raise(trap, Vector::GP, 0);
    if (!read_descriptor(vcpu, selector, 0, target.descriptor, trap)) return false;
    Segment& code = target.code;
    code = loaded_segment(target.descriptor, selector);
    bool inward = !is_conforming(code) && code.dpl() < vcpu.cpl;
    bool good = code.is_64bit_code() && !has_reserved_size(vcpu, code) && code.dpl() <= vcpu.cpl &&
                !(inward && branch == FarBranch::Jump);
    if (!good) return raise(trap, Vector::GP, selector_error(selector));
    if (!code.present()) return raise(trap, Vector::NP, selector_error(selector));
    set_level(target, selector, inward ? static_cast<std::uint8_t>(code.dpl()) : vcpu.cpl);
    target.rip = gate.offset();
    target.through_gate = true;
    return true;
}

}  // namespace

bool resolve_far_target(Vcpu& vcpu, FarBranch branch, std::uint16_t selector, std::uint64_t offset,
                        FarTarget& target, Trap& trap) noexcept {
    std::uint64_t raw = 0;
    if (is_null(selector)) return raise(trap, Vector::GP, 0);
    if (!read_descriptor(vcpu, selector, 0, raw, trap)) return false;
    bool is_call_gate = system_type(raw) == static_cast<unsigned>(SystemType::CallGate);
    target.rip = offset;
    if (vcpu.long_mode() && is_call_gate) {
        if (!resolve_gate(vcpu, branch, selector, target, trap)) return false;
    } else if (!resolve_code(vcpu, selector, raw, target, trap)) {
        return false;
    }
    return check_target(vcpu, target.code, target.rip, trap);
}

}  // namespace undercroft
