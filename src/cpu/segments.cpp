// SPDX-License-Identifier: Apache-2.0
// Loading segment registers: MOV, POP and LSS/LFS/LGS to ES, SS, DS, FS, GS; segment bases; SWAPGS.
//
// Source: Intel SDM vol. 2B MOV, SWAPGS, WRFSBASE; vol. 3A section 5.4. A null selector clears the base of FS
// and GS, as Intel does and AMD since CPUID 0x80000021.EAX[6]: guests that expect the base to stay cannot
// tell, because the kernels that know of it load a non-null selector first.
#include "cpu/descriptor_table.hpp"
#include "cpu/flat_segments.hpp"
#include "cpu/instructions.hpp"

namespace undercroft {
namespace {

bool load_stack_segment(Vcpu& vcpu, std::uint16_t selector, Trap& trap) noexcept {
    unsigned rpl = selector & 3;
    if (is_null(selector)) {
        bool allowed = vcpu.code_64bit() && vcpu.cpl != 3 && rpl == vcpu.cpl;
        if (!allowed) return raise(trap, Vector::GP, 0);
        vcpu.seg(SegmentName::SS) = null_segment(selector);
        return true;
    }
    std::uint64_t raw = 0;
    if (!read_descriptor(vcpu, selector, 0, raw, trap)) return false;
    Segment segment = loaded_segment(raw, selector);
    if (rpl != vcpu.cpl || !is_writable_data(segment) || segment.dpl() != vcpu.cpl) {
        return raise(trap, Vector::GP, selector_error(selector));
    }
    if (!segment.present()) return raise(trap, Vector::SS, selector_error(selector));
    if (!mark_accessed(vcpu, selector, raw, trap)) return false;
    vcpu.seg(SegmentName::SS) = segment;
    return true;
}

bool load_data_segment(Vcpu& vcpu, SegmentName name, std::uint16_t selector, Trap& trap) noexcept {
    if (is_null(selector)) {
        vcpu.seg(name) = null_segment(selector);
        return true;
    }
    unsigned rpl = selector & 3;
    std::uint64_t raw = 0;
    if (!read_descriptor(vcpu, selector, 0, raw, trap)) return false;
    Segment segment = loaded_segment(raw, selector);
    bool any_level = segment.is_code() && is_conforming(segment);
    bool right_level = any_level || (rpl <= segment.dpl() && vcpu.cpl <= segment.dpl());
    if (!is_readable(segment) || !right_level) return raise(trap, Vector::GP, selector_error(selector));
    if (!segment.present()) return raise(trap, Vector::NP, selector_error(selector));
    if (!mark_accessed(vcpu, selector, raw, trap)) return false;
    vcpu.seg(name) = segment;
    return true;
}

}  // namespace

bool load_segment(Vcpu& vcpu, SegmentName name, std::uint16_t selector, Trap& trap) noexcept {
    if (name == SegmentName::CS) return raise(trap, Vector::UD);
    if (!protected_mode(vcpu)) {
        vcpu.seg(name).selector = selector;
        vcpu.seg(name).base = std::uint64_t{selector} << 4;
    } else if (name == SegmentName::SS) {
        if (!load_stack_segment(vcpu, selector, trap)) return false;
    } else if (!load_data_segment(vcpu, name, selector, trap)) {
        return false;
    }
    if (name == SegmentName::SS) vcpu.interrupt_shadow = 1;
    return true;
}

bool swapgs(Vcpu& vcpu, Trap& trap) noexcept {
    if (!vcpu.code_64bit()) return raise(trap, Vector::UD);
    if (!require_cpl0(vcpu, trap)) return false;
    std::uint64_t& base = vcpu.seg(SegmentName::GS).base;
    std::uint64_t old = base;
    base = vcpu.kernel_gs_base;
    vcpu.kernel_gs_base = old;
    return true;
}

bool may_use_fsgsbase(Vcpu& vcpu, Trap& trap) noexcept {
    bool good = vcpu.code_64bit() && (vcpu.paging.cr4 & CR4::FSGSBASE) != 0;
    return good ? true : raise(trap, Vector::UD);
}

bool write_segment_base(Vcpu& vcpu, SegmentName name, std::uint64_t base, Trap& trap) noexcept {
    if (!may_use_fsgsbase(vcpu, trap)) return false;
    if (!is_canonical(base)) return raise(trap, Vector::GP, 0);
    vcpu.seg(name).base = base;
    return true;
}

}  // namespace undercroft
