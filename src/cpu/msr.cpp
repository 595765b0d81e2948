// SPDX-License-Identifier: Apache-2.0
// RDMSR and WRMSR.
//
// The processor's own registers are here; constant ones that a vendor's kernels read stand in
// constant_msr.cpp; the local APIC's, kvmclock's and other devices' belong to the environment. What nobody
// knows is #GP(0) and one line in the log. Source: Intel SDM vol. 2B RDMSR, WRMSR, vol. 4; AMD APM vol. 2
// appendix A. Left out: IA32_DEBUGCTL's features (reads zero; LBR and BTF may be written and do nothing).
#include "cpu/checks.hpp"
#include "cpu/constant_msr.hpp"
#include "cpu/cpuid.hpp"
#include "cpu/environment.hpp"
#include "cpu/instructions.hpp"
#include "cpu/time_stamp.hpp"

namespace undercroft {
namespace {

enum class Written : std::uint8_t { Done, Refused, NotMine };

bool read_own(const Vcpu& vcpu, Msr index, std::uint64_t& value) noexcept {
    switch (index) {
        case Msr::IA32_TSC: value = guest_time_stamp(vcpu); return true;
        case Msr::IA32_SYSENTER_CS: value = vcpu.sysenter_cs; return true;
        case Msr::IA32_SYSENTER_ESP: value = vcpu.sysenter_esp; return true;
        case Msr::IA32_SYSENTER_EIP: value = vcpu.sysenter_eip; return true;
        case Msr::IA32_DEBUGCTL: value = 0; return true;
        case Msr::IA32_PAT: value = vcpu.pat; return true;
        case Msr::IA32_EFER: value = vcpu.paging.efer; return true;
        case Msr::IA32_STAR: value = vcpu.star; return true;
        case Msr::IA32_LSTAR: value = vcpu.lstar; return true;
        case Msr::IA32_CSTAR: value = vcpu.cstar; return true;
        case Msr::IA32_FMASK: value = vcpu.fmask; return true;
        case Msr::IA32_FS_BASE: value = vcpu.seg(SegmentName::FS).base; return true;
        case Msr::IA32_GS_BASE: value = vcpu.seg(SegmentName::GS).base; return true;
        case Msr::IA32_KERNEL_GS_BASE: value = vcpu.kernel_gs_base; return true;
        case Msr::IA32_TSC_AUX: value = vcpu.tsc_aux; return true;
        case Msr::IA32_MISC_ENABLE: value = vcpu.misc_enable; return !vcpu.cpuid->is_amd();
        default: return false;
    }
}

Written store_canonical(std::uint64_t& to, std::uint64_t value) noexcept {
    if (!is_canonical(value)) return Written::Refused;
    to = value;
    return Written::Done;
}

Written write_efer(Vcpu& vcpu, std::uint64_t value) noexcept {
    constexpr std::uint64_t writable = EFER::SCE | EFER::LME | EFER::NXE;
    if ((value & ~(writable | EFER::LMA)) != 0) return Written::Refused;
    std::uint64_t changed = (vcpu.paging.efer ^ value) & writable;
    if ((changed & EFER::LME) != 0 && vcpu.paging.paging()) return Written::Refused;
    vcpu.paging.efer =
        (vcpu.paging.efer & EFER::LMA) | (value & writable);  // LMA follows LME and CR0.PG only
    if ((changed & EFER::NXE) != 0) vcpu.mmu->flush_all();
    return Written::Done;
}

Written write_pat(Vcpu& vcpu, std::uint64_t value) noexcept {
    for (unsigned i = 0; i < 8; ++i) {
        std::uint64_t type = value >> (i * 8) & 0xff;
        if (type > 7 || type == 2 || type == 3) return Written::Refused;
    }
    vcpu.pat = value;
    return Written::Done;
}

Written write_tsc_aux(Vcpu& vcpu, std::uint64_t value) noexcept {
    if (value >> 32 != 0 && !vcpu.cpuid->is_amd()) return Written::Refused;
    vcpu.tsc_aux = value & 0xffffffff;
    return Written::Done;
}

Written write_own(Vcpu& vcpu, Msr index, std::uint64_t value) noexcept {
    switch (index) {
        case Msr::IA32_TSC:
            vcpu.tsc_offset = value - vcpu.environment->host_time_stamp();
            return Written::Done;
        case Msr::IA32_SYSENTER_CS: vcpu.sysenter_cs = value & 0xffffffff; return Written::Done;
        case Msr::IA32_SYSENTER_ESP: return store_canonical(vcpu.sysenter_esp, value);
        case Msr::IA32_SYSENTER_EIP: return store_canonical(vcpu.sysenter_eip, value);
        case Msr::IA32_DEBUGCTL: return value <= 3 ? Written::Done : Written::Refused;
        case Msr::IA32_PAT: return write_pat(vcpu, value);
        case Msr::IA32_EFER: return write_efer(vcpu, value);
        case Msr::IA32_STAR: vcpu.star = value; return Written::Done;
        case Msr::IA32_LSTAR: return store_canonical(vcpu.lstar, value);
        case Msr::IA32_CSTAR: return store_canonical(vcpu.cstar, value);
        case Msr::IA32_FMASK: vcpu.fmask = value & 0xffffffff; return Written::Done;
        case Msr::IA32_FS_BASE: return store_canonical(vcpu.seg(SegmentName::FS).base, value);
        case Msr::IA32_GS_BASE: return store_canonical(vcpu.seg(SegmentName::GS).base, value);
        case Msr::IA32_KERNEL_GS_BASE: return store_canonical(vcpu.kernel_gs_base, value);
        case Msr::IA32_TSC_AUX: return write_tsc_aux(vcpu, value);
        case Msr::IA32_MISC_ENABLE:
            if (vcpu.cpuid->is_amd()) return Written::NotMine;
            vcpu.misc_enable = value;
            return Written::Done;
        default: return Written::NotMine;
    }
}

}  // namespace

bool rdmsr(Vcpu& vcpu, Trap& trap) noexcept {
    if (!require_cpl0(vcpu, trap)) return false;
    auto index = static_cast<std::uint32_t>(vcpu.reg(Gpr::Rcx));
    std::uint64_t value = 0;
    if (!read_own(vcpu, Msr{index}, value)) {
        if (const ConstantMsr* constant = find_constant_msr(index, vcpu.cpuid->is_amd())) {
            value = constant->value;
        } else if (auto device = vcpu.environment->read_msr(vcpu, index)) {
            value = *device;
        } else {
            vcpu.environment->report(vcpu, Unusual::UnknownMsrRead, index);
            return raise(trap, Vector::GP, 0);
        }
    }
    vcpu.reg(Gpr::Rax) = value & 0xffffffff;
    vcpu.reg(Gpr::Rdx) = value >> 32;
    return true;
}

bool wrmsr(Vcpu& vcpu, Trap& trap) noexcept {
    if (!require_cpl0(vcpu, trap)) return false;
    auto index = static_cast<std::uint32_t>(vcpu.reg(Gpr::Rcx));
    std::uint64_t value = vcpu.reg(Gpr::Rdx) << 32 | (vcpu.reg(Gpr::Rax) & 0xffffffff);
    Written written = write_own(vcpu, Msr{index}, value);
    if (written == Written::Done) return true;
    if (written == Written::NotMine) {
        const ConstantMsr* constant = find_constant_msr(index, vcpu.cpuid->is_amd());
        if (constant != nullptr) {
            if (constant->writes == ConstantMsr::Writes::Ignored) return true;
        } else {
            if (vcpu.environment->write_msr(vcpu, index, value)) return true;
            vcpu.environment->report(vcpu, Unusual::UnknownMsrWrite, index);
        }
    }
    return raise(trap, Vector::GP, 0);
}

}  // namespace undercroft
