// SPDX-License-Identifier: Apache-2.0
// LAR, LSL, VERR, VERW.
//
// Source: Intel SDM vol. 2A LAR, LSL; vol. 2B VERR. A selector that may not be looked at clears ZF; reading
// the table may still page-fault.
#include "cpu/descriptor_table.hpp"
#include "cpu/instructions.hpp"

namespace undercroft {
namespace {

// Tables of the manual: one bit per system-descriptor type.
constexpr unsigned bit(SystemType type) { return 1u << static_cast<unsigned>(type); }
constexpr unsigned lsl_in_long_mode =
    bit(SystemType::Ldt) | bit(SystemType::TssAvailable) | bit(SystemType::TssBusy);
constexpr unsigned lar_in_long_mode = lsl_in_long_mode | bit(SystemType::CallGate);
constexpr unsigned lsl_in_protected_mode = 0x0a0e;  // 1, 2, 3, 9, 11
constexpr unsigned lar_in_protected_mode = 0x1a3e;  // and 4, 5, 12

bool is_valid_type(const Vcpu& vcpu, SegmentQuery query, const Segment& segment) noexcept {
    if (Segment::S::get(segment.attributes) != 0) {
        if (query == SegmentQuery::Verr) return is_readable(segment);
        if (query == SegmentQuery::Verw) return is_writable_data(segment);
        return true;
    }
    unsigned type = Segment::Type::get(segment.attributes);
    unsigned valid = 0;
    if (query == SegmentQuery::Lar) valid = vcpu.long_mode() ? lar_in_long_mode : lar_in_protected_mode;
    if (query == SegmentQuery::Lsl) valid = vcpu.long_mode() ? lsl_in_long_mode : lsl_in_protected_mode;
    return (valid >> type & 1) != 0;
}

bool is_visible(const Vcpu& vcpu, const Segment& segment) noexcept {
    if (segment.is_code() && is_conforming(segment)) return true;
    unsigned rpl = segment.selector & 3;
    return vcpu.cpl <= segment.dpl() && rpl <= segment.dpl();
}

void set_zero_flag(Vcpu& vcpu, bool value) noexcept {
    std::uint64_t flags = vcpu.arithmetic_flags();
    vcpu.set_arithmetic_flags(value ? flags | RFLAGS::ZF : flags & ~RFLAGS::ZF);
}

}  // namespace

bool query_segment(Vcpu& vcpu, SegmentQuery query, std::uint16_t selector, std::uint64_t& value,
                   Trap& trap) noexcept {
    if (!protected_mode(vcpu)) return raise(trap, Vector::UD);
    std::uint64_t address = 0;
    std::uint64_t raw = 0;
    if (is_null(selector) || !locate_descriptor(vcpu, selector, 8, address)) {
        set_zero_flag(vcpu, false);
        return true;
    }
    if (!read_system(vcpu, address, raw, trap)) return false;
    Segment segment = Descriptor::expand(raw, selector);
    bool good = is_valid_type(vcpu, query, segment) && is_visible(vcpu, segment);
    set_zero_flag(vcpu, good);
    if (good && query == SegmentQuery::Lar) value = raw >> 32 & 0x00f0ff00;
    if (good && query == SegmentQuery::Lsl) value = segment.limit;
    return true;
}

}  // namespace undercroft
