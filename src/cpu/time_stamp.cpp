// SPDX-License-Identifier: Apache-2.0
// RDTSC, RDTSCP, RDPID, RDPMC.
//
// Source: Intel SDM vol. 2B. No performance counters are shown: RDPMC finds none, #GP(0).
#include "cpu/time_stamp.hpp"
#include "cpu/checks.hpp"
#include "cpu/instructions.hpp"

namespace undercroft {

bool rdtsc(Vcpu& vcpu, Trap& trap) noexcept {
    if ((vcpu.paging.cr4 & CR4::TSD) != 0 && vcpu.cpl > 0) return raise(trap, Vector::GP, 0);
    std::uint64_t now = guest_time_stamp(vcpu);
    vcpu.reg(Gpr::Rax) = now & 0xffffffff;
    vcpu.reg(Gpr::Rdx) = now >> 32;
    return true;
}

bool rdtscp(Vcpu& vcpu, Trap& trap) noexcept {
    if (!rdtsc(vcpu, trap)) return false;
    vcpu.reg(Gpr::Rcx) = vcpu.tsc_aux & 0xffffffff;
    return true;
}

bool rdpid(Vcpu& vcpu, std::uint64_t& value, Trap& trap) noexcept {
    static_cast<void>(trap);
    value = vcpu.tsc_aux & 0xffffffff;
    return true;
}

bool rdpmc(Vcpu& vcpu, Trap& trap) noexcept {
    static_cast<void>(vcpu);
    return raise(trap, Vector::GP, 0);
}

}  // namespace undercroft
